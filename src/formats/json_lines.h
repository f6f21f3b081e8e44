#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <variant>

namespace verbatim {

// A value of a metrics line. Numbers that are not finite become null, because JSON knows none.
using JsonLineValue = std::variant<std::nullptr_t, bool, int64_t, double, std::string>;
using JsonLineField = std::pair<std::string, JsonLineValue>;

// Appends lines to a file of JSON lines (metrics.jsonl): one flat object per line, keys in the order given.
//
//   JsonLinesWriter metrics("runs/first/metrics.jsonl");
//   metrics.write({{"global_step", int64_t{100}}, {"loss/train", 2.5}, {"phase", "warmup"}});
//
// A line is handed to the system whole and at once, so that a program that follows the file sees whole lines. When a
// crash cut the last line of an existing file, that piece is removed first. Strings that are not valid UTF-8 get U+FFFD
// in place of what is not.
class JsonLinesWriter {
 public:
  // Throws std::system_error when the file cannot be opened or created.
  explicit JsonLinesWriter(std::filesystem::path path);
  JsonLinesWriter(const JsonLinesWriter&) = delete;
  JsonLinesWriter& operator=(const JsonLinesWriter&) = delete;
  ~JsonLinesWriter();

  // Throws std::system_error (disk full); the file then ends with the line before.
  void write(std::span<const JsonLineField> fields);
  void write(std::initializer_list<JsonLineField> fields);
  // Makes the lines written so far durable (fsync): before a checkpoint that counts on them.
  void sync();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// Removes the lines with "global_step" > step, and a last line that a crash cut: what a run does that resumes from an
// older checkpoint. Lines without the key stay. The file is replaced atomically; a missing file is fine. Returns the
// number of removed lines. Throws InputError for a line that is not a JSON object.
size_t truncate_after_step(const std::filesystem::path& path, int64_t step);

}  // namespace verbatim
