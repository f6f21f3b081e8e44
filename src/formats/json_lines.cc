#include "formats/json_lines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "base/file.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;

std::string json_text(std::string_view text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string value_text(const JsonLineValue& value) {
  return std::visit(
      [](const auto& x) -> std::string {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, std::nullptr_t>) {
          return "null";
        } else if constexpr (std::is_same_v<T, double>) {
          if (!std::isfinite(x)) return "null";
          // The shortest digits that give the same double again; ".0" keeps it a float for readers with types.
          std::string text = fmt::format("{}", x);
          if (text.find_first_of(".e") == std::string::npos) text += ".0";
          return text;
        } else if constexpr (std::is_same_v<T, std::string>) {
          return json_text(x);
        } else {
          return fmt::format("{}", x);
        }
      },
      value);
}

// The length of the file up to and with its last line end.
off_t whole_lines(int descriptor, off_t size, const std::filesystem::path& path) {
  std::array<char, 4096> block;
  while (size > 0) {
    const auto length = std::min<off_t>(size, block.size());
    const ssize_t received = ::pread(descriptor, block.data(), static_cast<size_t>(length), size - length);
    if (received < 0 && errno == EINTR) continue;
    if (received != length) throw_system(received < 0 ? errno : EIO, "read", path.string());
    const size_t end = std::string_view(block.data(), static_cast<size_t>(length)).rfind('\n');
    if (end != std::string_view::npos) return size - length + static_cast<off_t>(end) + 1;
    size -= length;
  }
  return 0;
}

// The value of "global_step"; false when the line has none. Throws InputError for what is not an object.
bool find_step(std::string_view line, double& step, const std::filesystem::path& path, size_t line_number) {
  const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    throw_input("{}:{}: expected a JSON object on the line, got something else; remove the line or move the file away",
                path.string(), line_number);
  }
  const auto found = object.find("global_step");
  if (found == object.end() || !found->is_number()) return false;
  step = found->get<double>();
  return true;
}

}  // namespace

JsonLinesWriter::JsonLinesWriter(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw_system(errno, "open", path_.string());
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) throw_system(errno, "examine", path_.string());
    if (!S_ISREG(status.st_mode)) return;  // a pipe or a terminal has no last line to repair
    const off_t end = whole_lines(descriptor_, status.st_size, path_);
    if (end < status.st_size && ::ftruncate(descriptor_, end) != 0) throw_system(errno, "shorten", path_.string());
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

JsonLinesWriter::~JsonLinesWriter() { ::close(descriptor_); }

void JsonLinesWriter::write(std::initializer_list<JsonLineField> fields) {
  write(std::span(fields.begin(), fields.size()));
}

void JsonLinesWriter::write(std::span<const JsonLineField> fields) {
  std::string line = "{";
  for (const auto& [key, value] : fields) {
    if (line.size() > 1) line += ", ";
    line += json_text(key);
    line += ": ";
    line += value_text(value);
  }
  line += "}\n";
  // One call for the whole line; a second one only when the system took a part, which happens when the disk is full.
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written >= 0) {
      done += static_cast<size_t>(written);
      continue;
    }
    if (errno == EINTR) continue;
    const int code = errno;
    struct stat status {};
    if (done > 0 && ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode)) {
      // Should this fail as well, the next writer repairs the file.
      (void)!::ftruncate(descriptor_, status.st_size - static_cast<off_t>(done));
    }
    throw_system(code, "write", path_.string());
  }
}

void JsonLinesWriter::sync() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL) throw_system(errno, "flush to disk", path_.string());
}

size_t truncate_after_step(const std::filesystem::path& path, int64_t step) {
  if (!std::filesystem::exists(path)) return 0;
  const MappedFile file(path, MappedFile::Access::kSequential);
  const std::string_view text = file.text();
  AtomicFile kept(path);
  size_t num_removed = 0;
  size_t line_number = 0;
  size_t start = 0;
  while (start < text.size()) {
    ++line_number;
    const size_t end = text.find('\n', start);
    if (end == std::string_view::npos) {
      ++num_removed;
      break;
    }
    const std::string_view line = text.substr(start, end - start);
    start = end + 1;
    double line_step = 0;
    if (find_step(line, line_step, path, line_number) && line_step > static_cast<double>(step)) {
      ++num_removed;
    } else {
      kept.write(line);
      kept.write("\n");
    }
  }
  if (num_removed > 0) kept.commit();
  return num_removed;
}

}  // namespace verbatim
