#include "corpus/prepare.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "corpus/staging_folder.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLongDocument = uint64_t{1} << 24;
constexpr size_t kShortDocument = 2048;
constexpr size_t kWaitingDocuments = 32;
constexpr uint64_t kLongDocumentSeed = 0x6C6F6E67;  // a long document never has the hash of a short one by construction
constexpr uint64_t kLineSearch = uint64_t{1} << 16;  // how far the tail's cut may move to find a line break
constexpr std::string_view kFirstParts = "first";

// Zeroed memory on large pages where the system has them: a random access into a large table on small pages spends more
// time on finding the page than on the memory.
class HashTable {
 public:
  HashTable() = default;
  explicit HashTable(size_t size) : size_(size) {
    void* memory = ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    ::madvise(memory, bytes(), MADV_HUGEPAGE);
    places_ = static_cast<Hash128*>(memory);
  }
  HashTable(HashTable&& other) noexcept : places_(std::exchange(other.places_, nullptr)), size_(other.size_) {}
  HashTable& operator=(HashTable&& other) noexcept {
    std::swap(places_, other.places_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~HashTable() {
    if (places_ != nullptr) ::munmap(places_, bytes());
  }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  Hash128& operator[](size_t i) { return places_[i]; }
  const Hash128& operator[](size_t i) const { return places_[i]; }
  [[nodiscard]] const Hash128* begin() const { return places_; }
  [[nodiscard]] const Hash128* end() const { return places_ + size_; }

 private:
  [[nodiscard]] size_t bytes() const { return size_ * sizeof(Hash128); }

  Hash128* places_ = nullptr;
  size_t size_ = 0;
};

// A set of hashes with open addressing: 16 bytes a place, at most three quarters full.
class HashSet {
 public:
  // False when it was there already.
  bool insert(Hash128 hash) {
    if (4 * (size_ + 1) > 3 * places_.size()) grow();
    Hash128& place = find(places_, hash);
    if (!is_free(place)) return false;
    place = marked(hash);
    ++size_;
    return true;
  }
  // Starts fetching the place of a hash from memory. Without it, short documents wait for memory most of the time.
  void prefetch(Hash128 hash) const {
    if (!places_.empty()) __builtin_prefetch(&places_[first_place(places_, marked(hash))]);
  }
  [[nodiscard]] bool contains(Hash128 hash) { return !places_.empty() && !is_free(find(places_, hash)); }

 private:
  static bool is_free(const Hash128& place) { return place.low == 0; }
  static Hash128 marked(Hash128 hash) { return {.low = hash.low | 1, .high = hash.high}; }

  static uint64_t first_place(const HashTable& places, Hash128 hash) {
    return (hash.high ^ hash.low >> 32) & (places.size() - 1);
  }

  static Hash128& find(HashTable& places, Hash128 hash) {
    hash = marked(hash);
    const uint64_t mask = places.size() - 1;
    uint64_t i = first_place(places, hash);
    while (!is_free(places[i]) && !(places[i] == hash)) i = (i + 1) & mask;
    return places[i];
  }

  void grow() {
    HashTable larger(std::max<size_t>(4096, 2 * places_.size()));
    for (const Hash128& hash : places_) {
      if (!is_free(hash)) find(larger, hash) = hash;
    }
    places_ = std::move(larger);
  }

  HashTable places_;
  size_t size_ = 0;
};

struct Part {
  explicit Part(const fs::path& prefix) : writer(prefix) {}

  void add(std::string_view document) {
    writer.add(document);
    hash.update(document);
  }
  PartSummary commit() {
    writer.commit();
    return {.documents = writer.document_count(), .bytes = writer.total_bytes(), .sha256 = to_hex(hash.finish())};
  }

  MemoryMapWriter writer;
  Sha256 hash;
};

// Takes documents as they come, drops those that came before, and gives each to its part.
class Builder final : public DocumentSink {
 public:
  Builder(const fs::path& folder, double valid_fraction, PrepareSummary& summary)
      : train_(folder / "train"), valid_(folder / "valid"), valid_fraction_(valid_fraction), summary_(summary) {}

  // From now on documents come from held-out files.
  void set_held_out(bool held_out) {
    flush();
    held_out_ = held_out;
  }

  // Gives the documents that wait to their parts.
  void flush() {
    std::string_view bytes = waiting_bytes_;
    for (const Waiting& waiting : waiting_) {
      place(bytes.substr(0, waiting.size), waiting.hash);
      bytes.remove_prefix(waiting.size);
    }
    waiting_.clear();
    waiting_bytes_.clear();
  }

  void append(std::string_view bytes) override {
    while (buffer_.size() + bytes.size() > kLongDocument) {
      const size_t taken = kLongDocument - buffer_.size();
      buffer_.append(bytes, 0, taken);
      bytes.remove_prefix(taken);
      // Chunks end between characters, so that each can be checked by itself; where they end depends on the text only.
      begin_long();
      write_chunk(complete_prefix_length(buffer_));
    }
    buffer_.append(bytes);
  }

  void end() override {
    if (!long_) {
      place(buffer_);
    } else {
      write_chunk(buffer_.size());
      end_long();
    }
    buffer_.clear();
  }

  void document(std::string_view bytes) override {
    if (!buffer_.empty() || long_ || bytes.size() > kLongDocument) {
      append(bytes);
      end();
    } else {
      place(bytes);
    }
  }

  void commit() {
    summary_.train = train_.commit();
    summary_.valid = valid_.commit();
  }

  [[nodiscard]] uint64_t documents() const { return train_.writer.document_count() + valid_.writer.document_count(); }

 private:
  // A short document whose hash is known and whose place in the set is on its way from memory.
  struct Waiting {
    Hash128 hash;
    size_t size;
  };

  void place(std::string_view document) {
    if (document.empty()) {
      ++summary_.empty_documents;
      return;
    }
    const Hash128 hash = hash128(document);
    if (document.size() > kShortDocument) {
      flush();
      place(document, hash);
      return;
    }
    hashes_.prefetch(hash);
    waiting_.push_back({.hash = hash, .size = document.size()});
    waiting_bytes_.append(document);
    if (waiting_.size() == kWaitingDocuments) flush();
  }

  void place(std::string_view document, Hash128 hash) {
    if (!is_new(hash, document.size())) return;
    if (!is_valid_utf8(document)) ++summary_.invalid_utf8_documents;
    const double fraction = static_cast<double>(hash.high >> 11) * 0x1p-53;
    Part& part = held_out_ || fraction < valid_fraction_ ? valid_ : train_;
    part.add(document);
  }

  bool is_new(Hash128 hash, uint64_t size) {
    if (held_out_) {
      if (held_out_hashes_.insert(hash)) return true;
    } else if (held_out_hashes_.contains(hash)) {
      ++summary_.held_out_duplicates;
    } else if (hashes_.insert(hash)) {
      return true;
    }
    ++summary_.duplicate_documents;
    summary_.duplicate_bytes += size;
    return false;
  }

  Part& long_part() { return held_out_ ? valid_ : train_; }

  void begin_long() {
    if (long_) return;
    flush();
    long_ = true;
    long_bytes_ = 0;
    long_is_utf8_ = true;
    chunk_hashes_.clear();
    hash_before_ = long_part().hash;
    long_part().writer.begin_document();
  }

  void write_chunk(size_t size) {
    const std::string_view chunk = std::string_view(buffer_).substr(0, size);
    chunk_hashes_.push_back(hash128(chunk));
    long_is_utf8_ = long_is_utf8_ && is_valid_utf8(chunk);
    long_part().writer.append(chunk);
    long_part().hash.update(chunk);
    long_bytes_ += size;
    buffer_.erase(0, size);
  }

  void end_long() {
    long_ = false;
    const std::string_view hashes(reinterpret_cast<const char*>(chunk_hashes_.data()),
                                  chunk_hashes_.size() * sizeof(Hash128));
    if (is_new(hash128(hashes, kLongDocumentSeed), long_bytes_)) {
      long_part().writer.end_document();
      if (!long_is_utf8_) ++summary_.invalid_utf8_documents;
    } else {
      long_part().writer.discard_document();
      long_part().hash = hash_before_;
    }
  }

  Part train_;
  Part valid_;
  double valid_fraction_;
  PrepareSummary& summary_;
  HashSet hashes_;
  HashSet held_out_hashes_;
  bool held_out_ = false;
  std::vector<Waiting> waiting_;
  std::string waiting_bytes_;
  std::string buffer_;  // the current document, or the current chunk of a long one
  bool long_ = false;
  bool long_is_utf8_ = true;
  uint64_t long_bytes_ = 0;
  std::vector<Hash128> chunk_hashes_;
  Sha256 hash_before_;
};

void check_options(const PrepareOptions& options) {
  if (options.inputs.empty())
    throw_input("nothing to prepare: name at least one file, folder or pattern, or - for stdin");
  if (options.out.empty()) throw_input("no folder to write to: name one with --out");
  if (!(options.valid_fraction >= 0 && options.valid_fraction <= 0.5)) {
    throw_input("validation fraction {}: expected a number between 0 and 0.5", options.valid_fraction);
  }
  if (options.input.split == SplitRule::kSeparator && options.input.separator.empty()) {
    throw_input("the separator of documents is empty");
  }
  if (options.input.field.empty()) throw_input("the name of the JSON member with the text is empty");
  const auto stdin_count = std::count(options.inputs.begin(), options.inputs.end(), "-") +
                           std::count(options.valid_inputs.begin(), options.valid_inputs.end(), "-");
  if (stdin_count > 1) throw_input("standard input (-) can be read only once");
}

void check_output(const PrepareOptions& options) {
  const fs::path& out = options.out;
  if (!fs::exists(fs::symlink_status(out))) return;
  const std::string name = out.string();
  if (!fs::is_directory(out)) throw_input("{} exists and is no folder; choose another name for --out", name);
  if (fs::is_empty(out)) return;
  if (!fs::exists(out / "corpus.json")) {
    throw_input("{} is not empty and was not made by prepare; choose another folder for --out", name);
  }
  if (!options.force) {
    throw_input("{} holds a prepared corpus already; replace it with --force or choose another folder for --out", name);
  }
  static const std::set<std::string> kOurs = {"train.bin",   "train.idx",      "train.meta.json",
                                              "valid.bin",   "valid.idx",      "valid.meta.json",
                                              "corpus.json", "tokenizer.json", std::string(StagingFolder::kLockName)};
  for (const fs::directory_entry& entry : fs::directory_iterator(out)) {
    const std::string file = entry.path().filename().string();
    if (!kOurs.contains(file)) {
      throw_input("{} also holds {}, which is not part of a prepared corpus and would be lost; move it away first",
                  name, file);
    }
  }
}

// Where the tail of `text` that has about `size` bytes begins; 0 when the text cannot be divided.
uint64_t tail_begin(std::string_view text, uint64_t size) {
  const uint64_t nominal = text.size() - size;
  const uint64_t line_break = nominal == 0 ? std::string_view::npos : text.rfind('\n', nominal - 1);
  if (line_break != std::string_view::npos && nominal - line_break <= kLineSearch) return line_break + 1;
  if (const uint64_t before = utf8_boundary_before(text, nominal); before > 0) return before;
  const uint64_t after = utf8_boundary_after(text, nominal);
  return after < text.size() ? after : 0;
}

// True when the hashes divided the bytes well enough.
bool split_stands(const PrepareSummary& summary, double fraction) {
  const auto valid = static_cast<double>(summary.valid.bytes);
  const auto total = static_cast<double>(summary.train.bytes + summary.valid.bytes);
  return summary.train.bytes > 0 && valid >= fraction / 4 * total && valid <= fraction * 4 * total &&
         summary.valid.bytes > 0;
}

// Moves both parts from `folder` into a folder in it, to be divided anew, and opens them.
std::array<MemoryMap, 2> move_parts_aside(const fs::path& folder) {
  const fs::path first = folder / kFirstParts;
  fs::create_directory(first);
  for (const char* part : {"train", "valid"}) {
    for (const char* suffix : {".bin", ".idx", ".meta.json"}) {
      const std::string name = std::string(part) + suffix;
      fs::rename(folder / name, first / name);
    }
  }
  return {MemoryMap::open(first / "train"), MemoryMap::open(first / "valid")};
}

// Puts all documents into the training part and the tail of the largest one into the validation part.
void split_tail(const fs::path& folder, double fraction, PrepareSummary& summary) {
  {
    const std::array<MemoryMap, 2> maps = move_parts_aside(folder);
    std::pair<size_t, uint64_t> largest{0, 0};  // map, document
    uint64_t largest_size = 0;
    for (size_t m = 0; m < maps.size(); ++m) {
      for (uint64_t i = 0; i < maps[m].document_count(); ++i) {
        if (maps[m].document(i).size() > largest_size) {
          largest = {m, i};
          largest_size = maps[m].document(i).size();
        }
      }
    }
    const auto wanted = static_cast<uint64_t>(
        std::llround(fraction * static_cast<double>(maps[0].total_bytes() + maps[1].total_bytes())));
    const uint64_t tail_size = std::clamp<uint64_t>(wanted, 1, std::max<uint64_t>(1, largest_size / 2));
    Part train(folder / "train");
    Part valid(folder / "valid");
    for (size_t m = 0; m < maps.size(); ++m) {
      for (uint64_t i = 0; i < maps[m].document_count(); ++i) {
        std::string_view document = maps[m].document(i);
        if (largest == std::pair{m, i}) {
          if (const uint64_t begin = tail_begin(document, tail_size); begin > 0) {
            valid.add(document.substr(begin));
            document = document.substr(0, begin);
          }
        }
        train.add(document);
      }
    }
    summary.train = train.commit();
    summary.valid = valid.commit();
  }
  summary.split = summary.valid.documents > 0 ? SplitMethod::kTail : SplitMethod::kNone;
}

// The same for documents that must stay whole: the last ones are the validation part.
void split_last_documents(const fs::path& folder, double fraction, PrepareSummary& summary) {
  const std::array<MemoryMap, 2> maps = move_parts_aside(folder);
  const uint64_t count = maps[0].document_count() + maps[1].document_count();
  const auto wanted = static_cast<uint64_t>(std::llround(fraction * static_cast<double>(count)));
  const uint64_t held_out = std::min(std::max<uint64_t>(1, wanted), count - 1);
  Part train(folder / "train");
  Part valid(folder / "valid");
  uint64_t done = 0;
  for (const MemoryMap& map : maps) {
    for (uint64_t i = 0; i < map.document_count(); ++i) {
      (done++ < count - held_out ? train : valid).add(map.document(i));
    }
  }
  summary.train = train.commit();
  summary.valid = valid.commit();
  summary.split = held_out > 0 ? SplitMethod::kLastDocuments : SplitMethod::kNone;
}

const char* name_of(SplitRule rule) {
  switch (rule) {
    case SplitRule::kNone:
      return "none";
    case SplitRule::kLines:
      return "lines";
    case SplitRule::kBlankLines:
      return "blank-lines";
    case SplitRule::kSeparator:
      return "separator";
  }
  return "none";
}

const char* name_of(InputFormat format) {
  switch (format) {
    case InputFormat::kByName:
      return "by-name";
    case InputFormat::kText:
      return "text";
    case InputFormat::kJsonLines:
      return "jsonl";
  }
  return "by-name";
}

}  // namespace

std::string_view name_of(SplitMethod method) {
  switch (method) {
    case SplitMethod::kHash:
      return "hash";
    case SplitMethod::kTail:
      return "tail";
    case SplitMethod::kLastDocuments:
      return "last-documents";
    case SplitMethod::kFiles:
      return "files";
    case SplitMethod::kNone:
      return "none";
  }
  return "none";
}

std::string corpus_json(const PrepareOptions& options, const PrepareSummary& summary) {
  using Json = nlohmann::ordered_json;
  const auto part = [](const PartSummary& p) {
    return Json{{"documents", p.documents}, {"bytes", p.bytes}, {"sha256", p.sha256}};
  };
  Json sources = Json::array();
  for (const SourceSummary& source : summary.sources) {
    Json entry{{"path", source.path},
               {"bytes", source.report.bytes},
               {"sha256", source.report.sha256},
               {"documents", source.report.documents}};
    if (source.held_out) entry["held_out"] = true;
    if (source.report.malformed_lines > 0) entry["malformed_lines"] = source.report.malformed_lines;
    sources.push_back(std::move(entry));
  }
  Json rules = Json::object();
  if (!options.chat_template) {
    rules["format"] = name_of(options.input.format);
    rules["field"] = options.input.field;
    rules["split"] = name_of(options.input.split);
    if (options.input.split == SplitRule::kSeparator) rules["separator"] = options.input.separator;
  }
  rules["lenient"] = options.input.lenient;
  rules["all_files"] = options.input.all_files;
  rules["valid_fraction"] = options.valid_fraction;
  Json json{{"format", "verbatim corpus"}, {"version", 1}, {"kind", options.chat_template ? "instruct" : "text"}};
  if (options.chat_template) json["chat_template"] = name_of(*options.chat_template);
  json.update({{"documents", summary.train.documents + summary.valid.documents},
               {"bytes", summary.train.bytes + summary.valid.bytes},
               {"train", part(summary.train)},
               {"valid", part(summary.valid)},
               {"split_method", name_of(summary.split)},
               {"duplicate_documents", summary.duplicate_documents},
               {"duplicate_bytes", summary.duplicate_bytes},
               {"held_out_duplicates", summary.held_out_duplicates},
               {"empty_documents", summary.empty_documents},
               {"invalid_utf8_documents", summary.invalid_utf8_documents},
               {"malformed_lines", summary.malformed_lines},
               {"skipped_files", summary.skipped_files},
               {"options", rules},
               {"sources", sources}});
  // Names of files and separators may be any bytes; JSON cannot hold them all.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

PrepareSummary prepare_corpus(const PrepareOptions& options,
                              const std::function<void(const PrepareProgress&)>& progress) {
  check_options(options);
  check_output(options);
  InputOptions input = options.input;
  if (options.chat_template) {
    input.format = InputFormat::kJsonLines;
    input.convert_line = [chat_template = *options.chat_template](std::string_view line, std::string& document) {
      return convert_chat_line(line, chat_template, document);
    };
  }
  InputList held_out = find_inputs(options.valid_inputs, input);
  InputList inputs = find_inputs(options.inputs, input);

  PrepareSummary summary;
  for (const InputList* list : {&inputs, &held_out}) {
    summary.skipped_files += list->skipped_files;
    summary.skipped_sample.insert(summary.skipped_sample.end(), list->skipped_sample.begin(),
                                  list->skipped_sample.end());
  }
  const bool has_held_out = !options.valid_inputs.empty();
  const double fraction = has_held_out ? 0.0 : options.valid_fraction;

  StagingFolder staging(options.out);
  {
    Builder builder(staging.path(), fraction, summary);
    PrepareProgress state;
    if (inputs.total_bytes > 0 && (!has_held_out || held_out.total_bytes > 0)) {
      state.total_bytes = inputs.total_bytes + held_out.total_bytes;
    }
    const ReadCallbacks callbacks{.progress =
                                      [&](uint64_t bytes) {
                                        state.bytes_read += bytes;
                                        state.documents = builder.documents();
                                        if (progress) progress(state);
                                      },
                                  .hash = true};
    const auto read_all = [&](const InputList& list, bool is_held_out) {
      builder.set_held_out(is_held_out);
      for (const InputFile& file : list.files) {
        SourceSummary source{.path = file.path.string(),
                             .held_out = is_held_out,
                             .report = read_documents(file, input, builder, callbacks)};
        summary.bytes_read += source.report.bytes;
        if (summary.malformed_lines == 0) summary.first_malformed = source.report.first_malformed;
        summary.malformed_lines += source.report.malformed_lines;
        summary.sources.push_back(std::move(source));
      }
    };
    read_all(held_out, /*is_held_out=*/true);
    read_all(inputs, /*is_held_out=*/false);
    builder.flush();

    const auto refuse_empty = [&](std::string_view what) {
      throw_input("{} hold no text: {} files read, {} empty documents, {} files skipped{}{}", what,
                  summary.sources.size(), summary.empty_documents, summary.skipped_files,
                  summary.skipped_sample.empty() ? "" : " such as " + summary.skipped_sample.front(),
                  summary.skipped_files == 0 ? "" : "; name such files themselves or read all with --all-files");
    };
    if (builder.documents() == 0) refuse_empty("the inputs");
    builder.commit();
    if (has_held_out && summary.train.documents == 0) refuse_empty("the inputs, without what is held out,");
    if (has_held_out && summary.valid.documents == 0) refuse_empty("the held-out files");
  }
  summary.split = has_held_out ? SplitMethod::kFiles : fraction > 0 ? SplitMethod::kHash : SplitMethod::kNone;
  if (summary.split == SplitMethod::kHash && !split_stands(summary, fraction)) {
    (options.chat_template ? split_last_documents : split_tail)(staging.path(), fraction, summary);
    fs::remove_all(staging.path() / kFirstParts);
  }
  write_file_atomically(staging.path() / "corpus.json", corpus_json(options, summary));
  if (options.before_publishing) options.before_publishing(MemoryMap::open(staging.path() / "train"), staging.path());
  staging.publish();
  return summary;
}

}  // namespace verbatim
