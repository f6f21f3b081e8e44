#include "corpus/input.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/hash.h"

namespace verbatim {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlockBytes = size_t{1} << 18;  // stays in the second-level cache between its users
constexpr uint64_t kLongestJsonLine = uint64_t{1} << 30;
constexpr uint64_t kLongestBlankLine = uint64_t{1} << 20;  // longer ones count as text, so that memory stays bounded
constexpr size_t kSkippedSample = 5;

enum class Compression { kNone, kGzip, kZstd };

struct NameKind {
  Compression compression = Compression::kNone;
  bool known = false;
  bool json_lines = false;
};

NameKind kind_of(const fs::path& path) {
  NameKind kind;
  fs::path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") {
    kind.compression = name.extension() == ".gz" ? Compression::kGzip : Compression::kZstd;
    name = name.stem();
  }
  const std::string extension = name.extension().string();
  kind.json_lines = extension == ".jsonl" || extension == ".ndjson";
  kind.known =
      kind.json_lines || extension == ".txt" || extension == ".text" || extension == ".md" || extension == ".markdown";
  return kind;
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

void add_file(const fs::path& path, InputList& list) {
  std::error_code error;
  const uint64_t bytes = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  if (error) throw_system(error.value(), "reading", path.string());
  list.files.push_back({.path = path, .bytes = bytes});
}

void skip_file(const fs::path& path, InputList& list) {
  ++list.skipped_files;
  if (list.skipped_sample.size() < kSkippedSample) list.skipped_sample.push_back(path.string());
}

// Links to folders are not followed: they may lead back up.
void add_folder(const fs::path& folder, const InputOptions& options, InputList& list) {
  std::error_code error;
  std::vector<fs::directory_entry> entries;
  for (fs::directory_iterator it(folder, error), last; it != last; it.increment(error)) {
    if (error) break;
    entries.push_back(*it);
  }
  if (error) throw_system(error.value(), "listing", folder.string());
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.path().native() < b.path().native(); });
  for (const fs::directory_entry& entry : entries) {
    const fs::path& path = entry.path();
    std::error_code ignored;
    if (is_hidden(path)) {
      skip_file(path, list);
    } else if (entry.is_directory(ignored)) {
      if (entry.is_symlink(ignored)) {
        skip_file(path, list);
      } else {
        add_folder(path, options, list);
      }
    } else if (entry.is_regular_file(ignored) && (options.all_files || kind_of(path).known)) {
      add_file(path, list);
    } else {
      skip_file(path, list);
    }
  }
}

void add_input(const std::string& input, const InputOptions& options, InputList& list) {
  if (input == "-") {
    list.files.push_back({.path = "-", .bytes = 0});
    return;
  }
  std::error_code error;
  const fs::file_status status = fs::status(input, error);
  if (fs::is_directory(status)) {
    add_folder(input, options, list);
    return;
  }
  if (fs::exists(status)) {
    add_file(input, list);
    return;
  }
  if (status.type() != fs::file_type::not_found) throw_system(error.value(), "reading", input);
  if (input.find_first_of("*?[") == std::string::npos) throw_input("{}: no such file or folder", input);

  glob_t matches{};
  const int failed = ::glob(input.c_str(), GLOB_NOSORT, nullptr, &matches);
  std::vector<std::string> names(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  ::globfree(&matches);
  if (failed != 0 || names.empty()) throw_input("{}: no file matches this pattern", input);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (fs::is_directory(name)) {
      add_folder(name, options, list);
    } else {
      add_file(name, list);
    }
  }
}

// The stored bytes of a file, counted and hashed on the way.
class StoredBytes final : public BlockReader {
 public:
  StoredBytes(const fs::path& path, const ReadCallbacks& callbacks)
      : name_(path == "-" ? "standard input" : path.string()), callbacks_(callbacks), buffer_(kBlockBytes, '\0') {
    if (path == "-") {
      descriptor_ = STDIN_FILENO;
    } else {
      descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
      if (descriptor_ < 0 && errno == ENOENT) throw_input("{}: no such file", name_);
      if (descriptor_ < 0) throw_system(errno, "opening", name_);
      ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    if (callbacks_.hash) hash_.emplace();
  }
  StoredBytes(const StoredBytes&) = delete;
  StoredBytes& operator=(const StoredBytes&) = delete;
  ~StoredBytes() override {
    if (descriptor_ != STDIN_FILENO) ::close(descriptor_);
  }

  std::string_view next() override {
    if (!peeked_.empty()) return std::exchange(peeked_, {});
    ssize_t got = ::read(descriptor_, buffer_.data(), buffer_.size());
    while (got < 0 && errno == EINTR) {
      if (callbacks_.progress) callbacks_.progress(0);  // a chance to stop while a pipe or terminal is silent
      got = ::read(descriptor_, buffer_.data(), buffer_.size());
    }
    if (got < 0 && errno == EISDIR) throw_input("{} is a folder, expected a file", name_);
    if (got < 0) throw_system(errno, "reading", name_);
    const std::string_view block(buffer_.data(), static_cast<size_t>(got));
    bytes_ += block.size();
    if (hash_) hash_->update(block);
    if (callbacks_.progress && !block.empty()) callbacks_.progress(block.size());
    return block;
  }

  // The first block, which next() gives again.
  std::string_view peek() { return peeked_ = next(); }

  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string sha256() { return hash_ ? to_hex(hash_->finish()) : std::string(); }

 private:
  std::string name_;
  const ReadCallbacks& callbacks_;
  std::string buffer_;
  std::string_view peeked_;
  std::optional<Sha256> hash_;
  uint64_t bytes_ = 0;
  int descriptor_ = -1;
};

// Members may follow each other, as `cat a.gz b.gz` makes them; zero bytes after the last one are padding.
class GzipReader final : public BlockReader {
 public:
  explicit GzipReader(StoredBytes& stored) : stored_(stored), buffer_(kBlockBytes, '\0') {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw std::bad_alloc();
  }
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;
  ~GzipReader() override { inflateEnd(&stream_); }

  std::string_view next() override {
    stream_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
    stream_.avail_out = static_cast<uInt>(buffer_.size());
    while (stream_.avail_out == buffer_.size()) {
      if (stream_.avail_in == 0 && !refill()) {
        if (inside_) throw_input("{}: the gzip data end too early; the file is cut short", stored_.name());
        break;
      }
      if (!inside_) {
        if (any_ && *stream_.next_in == 0) {
          ++stream_.next_in;
          --stream_.avail_in;
          continue;
        }
        inflateReset(&stream_);
        inside_ = any_ = true;
      }
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_STREAM_END) {
        inside_ = false;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        throw_input("{}: damaged gzip data before byte {} ({})", stored_.name(), stored_.bytes() - stream_.avail_in,
                    stream_.msg != nullptr ? stream_.msg : "unknown error");
      }
    }
    return {buffer_.data(), buffer_.size() - stream_.avail_out};
  }

 private:
  bool refill() {
    const std::string_view block = stored_.next();
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
    stream_.avail_in = static_cast<uInt>(block.size());
    return !block.empty();
  }

  StoredBytes& stored_;
  std::string buffer_;
  z_stream stream_{};
  bool inside_ = false;  // a member has begun and not ended
  bool any_ = false;
};

class ZstdReader final : public BlockReader {
 public:
  explicit ZstdReader(StoredBytes& stored)
      : stored_(stored), context_(ZSTD_createDCtx(), ZSTD_freeDCtx), buffer_(kBlockBytes, '\0') {
    if (context_ == nullptr) throw std::bad_alloc();
  }

  std::string_view next() override {
    ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size && !pending_) {
        const std::string_view block = stored_.next();
        if (block.empty()) {
          if (inside_) throw_input("{}: the zstd data end too early; the file is cut short", stored_.name());
          break;
        }
        in_ = {block.data(), block.size(), 0};
      }
      const size_t result = ZSTD_decompressStream(context_.get(), &out, &in_);
      if (ZSTD_isError(result) != 0) {
        throw_input("{}: damaged zstd data before byte {} ({})", stored_.name(), stored_.bytes() - (in_.size - in_.pos),
                    ZSTD_getErrorName(result));
      }
      inside_ = result != 0;
      pending_ = inside_ && out.pos == out.size;  // more may wait inside the decoder
    }
    return {buffer_.data(), out.pos};
  }

 private:
  StoredBytes& stored_;
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context_;
  std::string buffer_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool inside_ = false;
  bool pending_ = false;
};

Compression compression_of(std::string_view first_bytes) {
  if (first_bytes.starts_with("\x1F\x8B")) return Compression::kGzip;
  if (first_bytes.starts_with("\x28\xB5\x2F\xFD")) return Compression::kZstd;
  return Compression::kNone;
}

// Takes blocks, gives the texts of JSON lines.
class JsonLines {
 public:
  JsonLines(const std::string& name, const InputOptions& options, DocumentSink& sink, InputReport& report)
      : name_(name), options_(options), sink_(sink), report_(report) {}

  void feed(std::string_view block) {
    while (!block.empty()) {
      const size_t end = block.find('\n');
      const std::string_view part = block.substr(0, end);
      if (held_.size() + part.size() > kLongestJsonLine) {
        throw_input("{}:{}: the line is longer than 1 GiB; is this JSON lines?", name_, line_number_);
      }
      if (end == std::string_view::npos) {
        held_.append(part);
        return;
      }
      if (held_.empty()) {
        line(part);
      } else {
        held_.append(part);
        line(held_);
        held_.clear();
      }
      ++line_number_;
      block.remove_prefix(end + 1);
    }
  }

  void finish() {
    if (!held_.empty()) line(held_);
  }

 private:
  void line(std::string_view text) {
    if (line_number_ == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) return;
    const auto error =
        options_.convert_line ? options_.convert_line(text, value_) : read_json_member(text, options_.field, value_);
    if (error) {
      const std::string message = fmt::format("{}:{}:{}: {}", name_, line_number_, error->column + 1, error->message);
      if (!options_.lenient) {
        throw_input("{}; mend the line, {}or skip such lines with --lenient", message,
                    options_.convert_line ? "" : "name another member with --field, ");
      }
      if (report_.malformed_lines++ == 0) report_.first_malformed = message;
      return;
    }
    ++report_.documents;
    sink_.document(value_);
  }

  const std::string& name_;
  const InputOptions& options_;
  DocumentSink& sink_;
  InputReport& report_;
  uint64_t line_number_ = 1;
  std::string held_;
  std::string value_;
};

}  // namespace

InputList find_inputs(const std::vector<std::string>& inputs, const InputOptions& options) {
  InputList list;
  for (const std::string& input : inputs) add_input(input, options, list);
  for (const InputFile& file : list.files) {
    std::error_code ignored;
    if (file.bytes == 0 && !fs::is_regular_file(file.path, ignored)) {
      list.total_bytes = 0;
      break;
    }
    list.total_bytes += file.bytes;
  }
  return list;
}

InputReport read_documents(const InputFile& file, const InputOptions& options, DocumentSink& sink,
                           const ReadCallbacks& callbacks) {
  StoredBytes stored(file.path, callbacks);
  const NameKind kind = kind_of(file.path);
  Compression compression = kind.compression;
  std::error_code ignored;
  if (!fs::is_regular_file(file.path, ignored)) compression = compression_of(stored.peek());

  std::unique_ptr<BlockReader> unpacked;
  if (compression == Compression::kGzip) unpacked = std::make_unique<GzipReader>(stored);
  if (compression == Compression::kZstd) unpacked = std::make_unique<ZstdReader>(stored);
  BlockReader& blocks = unpacked != nullptr ? *unpacked : static_cast<BlockReader&>(stored);

  InputReport report;
  const auto feed_all = [&](auto& consumer) {
    for (std::string_view block = blocks.next(); !block.empty(); block = blocks.next()) consumer.feed(block);
    consumer.finish();
  };
  const bool json_lines =
      options.format == InputFormat::kJsonLines || (options.format == InputFormat::kByName && kind.json_lines);
  if (json_lines) {
    JsonLines lines(stored.name(), options, sink, report);
    feed_all(lines);
  } else {
    TextSplitter splitter(options, sink);
    feed_all(splitter);
    report.documents = splitter.documents();
  }
  report.bytes = stored.bytes();
  report.sha256 = stored.sha256();
  return report;
}

void TextSplitter::feed(std::string_view block) {
  switch (options_.split) {
    case SplitRule::kNone:
      return append(block);
    case SplitRule::kLines:
      return feed_lines(block);
    case SplitRule::kBlankLines:
      return feed_blank_lines(block);
    case SplitRule::kSeparator:
      return feed_separator(block);
  }
}

void TextSplitter::finish() {
  switch (options_.split) {
    case SplitRule::kNone:
      return end_document();
    case SplitRule::kLines:
    case SplitRule::kSeparator:
      append(held_);
      break;
    case SplitRule::kBlankLines:
      if (!line_blank_) append(held_);
      break;
  }
  held_.clear();
  line_blank_ = true;
  if (open_) end_document();
}

void TextSplitter::append(std::string_view bytes) {
  if (bytes.empty()) return;
  sink_.append(bytes);
  open_ = true;
}

void TextSplitter::end_document() {
  sink_.end();
  ++documents_;
  open_ = false;
}

void TextSplitter::feed_lines(std::string_view block) {
  while (!block.empty()) {
    const size_t end = block.find('\n');
    std::string_view line = block.substr(0, end);
    if (end == std::string_view::npos) {
      append(held_);
      held_.clear();
      // A carriage return belongs to the line break if a newline follows in the next block.
      if (line.ends_with('\r')) {
        held_.assign(1, '\r');
        line.remove_suffix(1);
      }
      append(line);
      return;
    }
    if (!line.empty()) {
      append(held_);
      if (line.ends_with('\r')) line.remove_suffix(1);
    }
    held_.clear();
    if (open_) {
      append(line);
      end_document();
    } else {
      sink_.document(line);
      ++documents_;
    }
    block.remove_prefix(end + 1);
  }
}

void TextSplitter::feed_blank_lines(std::string_view block) {
  while (!block.empty()) {
    if (line_blank_) {
      const size_t word = std::min(block.find_first_not_of(" \t\r"), block.size());
      if (held_.size() + word <= kLongestBlankLine) {
        if (word == block.size()) {
          held_.append(block);
          return;
        }
        if (block[word] == '\n') {
          if (open_) end_document();
          held_.clear();
          block.remove_prefix(word + 1);
          continue;
        }
      }
      line_blank_ = false;
    }
    if (held_ == "\r" && block.front() == '\n') {
      held_.push_back('\n');
      line_blank_ = true;
      block.remove_prefix(1);
      continue;
    }
    append(held_);
    held_.clear();
    const size_t end = block.find('\n');
    std::string_view line = block.substr(0, end);
    if (line.ends_with('\r')) {
      held_.assign(1, '\r');
      line.remove_suffix(1);
    }
    append(line);
    if (end == std::string_view::npos) return;
    held_.push_back('\n');
    line_blank_ = true;
    block.remove_prefix(end + 1);
  }
}

void TextSplitter::feed_separator(std::string_view block) {
  held_.append(block);
  std::string_view rest = held_;
  for (size_t found = rest.find(options_.separator); found != std::string_view::npos;
       found = rest.find(options_.separator)) {
    append(rest.substr(0, found));
    end_document();
    rest.remove_prefix(found + options_.separator.size());
  }
  // The last bytes may be the beginning of a separator.
  const size_t keep = std::min(rest.size(), options_.separator.size() - 1);
  append(rest.substr(0, rest.size() - keep));
  held_.erase(0, held_.size() - keep);
}

}  // namespace verbatim
