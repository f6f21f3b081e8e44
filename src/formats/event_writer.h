#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace verbatim {

// Appends scalars and texts to a TensorBoard event file, events.out.tfevents.<time>.<host>, in `folder`.
class EventWriter {
 public:
  explicit EventWriter(const std::filesystem::path& folder);
  ~EventWriter();
  void scalar(std::string_view tag, int64_t step, double value);
  void text(std::string_view tag, int64_t step, std::string_view value);
  void flush();

 private:
  void record(std::string_view event);
  int descriptor_ = -1;
  std::string buffer_;
};

}  // namespace verbatim
