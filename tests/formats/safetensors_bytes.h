#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace verbatim::testing {

// A safetensors file put together by hand: the header exactly as given, whatever it says.
inline std::string safetensors_bytes(std::string_view header, std::string_view data, uint64_t header_bytes) {
  std::string file;
  for (int shift = 0; shift < 64; shift += 8) file.push_back(static_cast<char>(header_bytes >> shift));
  file.append(header);
  file.append(data);
  return file;
}

inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  return safetensors_bytes(header, data, header.size());
}

inline std::span<const std::byte> as_byte_span(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace verbatim::testing
