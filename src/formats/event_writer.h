#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace verbatim {

// Appends scalars and texts to a TensorBoard event file, events.out.tfevents.<time>.<host>, in `folder`, which is
// created when missing. Every writer starts a file of its own; TensorBoard shows all files of a folder as one run, so a
// resumed run simply makes a second writer.
//
//   EventWriter events("runs/first/tb");
//   events.scalar("loss/train", 100, 2.5);
//
// Records wait in memory until 64 KiB have come together, flush() is called or the writer ends. A file cut in the
// middle of a record by a crash stays readable up to there. Tags and texts that are not valid UTF-8 get U+FFFD in place
// of what is not.
class EventWriter {
 public:
  explicit EventWriter(const std::filesystem::path& folder);
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;
  ~EventWriter();

  // Stored as a 32-bit float, as the format wants it.
  void scalar(std::string_view tag, int64_t step, double value);
  // Shown as Markdown in the text tab.
  void text(std::string_view tag, int64_t step, std::string_view value);
  // Hands the waiting records to the system. Throws std::system_error, for instance when the disk is full.
  void flush();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  void record(std::string_view event);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::string buffer_;
};

}  // namespace verbatim
