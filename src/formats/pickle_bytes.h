#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/text_format.h"

namespace verbatim::pickle {

// The bytes of a pickle, read from the front to the end, and messages that say where. What runs short is an InputError.
class Bytes {
 public:
  // `name`: of the file.
  Bytes(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  // The next opcode; messages name its place from here on.
  unsigned char read_opcode() {
    at_ = position_;
    return read_byte();
  }

  [[nodiscard]] std::string_view name() const { return name_; }
  [[nodiscard]] std::string where() const;
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    throw_input("{}: {}; nothing of the file was executed", where(), fmt::format(format, std::forward<Args>(args)...));
  }
  // For an opcode that is not read: what it would do.
  [[noreturn]] void refuse_opcode(unsigned char opcode) const;
  // Throws unless all bytes are read.
  void expect_end() const;

  [[nodiscard]] size_t left() const { return bytes_.size() - position_; }
  std::span<const std::byte> read(uint64_t size);
  unsigned char read_byte() { return std::to_integer<unsigned char>(read(1)[0]); }
  // An unsigned number of `size` bytes, little endian.
  uint64_t read_number(size_t size);
  // A signed number of `size` bytes, two's complement, little endian.
  int64_t read_long(uint64_t size);
  // Text in UTF-8.
  std::string_view read_text(uint64_t size);
  // Up to the next line break, which is taken too.
  std::string_view read_line();

  template <class Number>
  Number parse_number(std::string_view text) const {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
      refuse("expected a number of at most 64 bits, got {}", quote_bytes(text));
    }
    return number;
  }
  // Protocol 0 writes text in Latin-1 with \uXXXX and \UXXXXXXXX for the rest. In UTF-8.
  [[nodiscard]] std::string decode_escaped(std::string_view line) const;

 private:
  std::span<const std::byte> bytes_;
  std::string_view name_;
  size_t position_ = 0;
  size_t at_ = 0;  // of the opcode that is carried out
};

}  // namespace verbatim::pickle
