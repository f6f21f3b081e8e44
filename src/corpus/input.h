#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/json_line.h"

namespace verbatim {

// What a file is taken for. kByName: JSON lines for .jsonl and .ndjson, text for everything else.
enum class InputFormat { kByName, kText, kJsonLines };

// How a text file becomes documents (JSON lines are one document each).
enum class SplitRule {
  kNone,        // the file is one document
  kLines,       // each line is one, without its line break
  kBlankLines,  // blocks between lines that hold nothing but spaces and tabs, without the last line break of the block
  kSeparator,   // what lies between two occurrences of a separator string
};

struct InputOptions {
  InputFormat format = InputFormat::kByName;
  std::string field = "text";  // member of a JSON line that holds the text
  // Makes the document of a JSON line (the whole line), in place of `field`.
  std::function<std::optional<JsonLineError>(std::string_view line, std::string& document)> convert_line;
  SplitRule split = SplitRule::kNone;
  std::string separator;   // for kSeparator; any bytes, not empty
  bool lenient = false;    // skip and count malformed JSON lines instead of stopping
  bool all_files = false;  // folders: read every file as text, not only those with a known extension
};

// One thing to read. Compression (.gz, .zst) shows in the name; for standard input ("-") and pipes in the first bytes.
struct InputFile {
  std::filesystem::path path;
  uint64_t bytes = 0;  // as stored; 0 when unknown
};

struct InputList {
  std::vector<InputFile> files;
  uint64_t total_bytes = 0;                 // 0 when the size of one is unknown
  uint64_t skipped_files = 0;               // in folders: hidden, or of an unknown kind
  std::vector<std::string> skipped_sample;  // names of the first few
};

// Turns files, folders (everything below, in the order of their bytes), patterns with * ? [] and "-" into a list.
// Known extensions in folders: .txt .text .md .markdown .jsonl .ndjson, each also with .gz or .zst. A file that is
// named itself is always read. Throws InputError for what does not exist, matches nothing or cannot be read.
[[nodiscard]] InputList find_inputs(const std::vector<std::string>& inputs, const InputOptions& options);

// Receives documents. A document is any number of append() calls and one end(); the views last for the call only.
class DocumentSink {
 public:
  virtual ~DocumentSink() = default;
  virtual void append(std::string_view bytes) = 0;
  virtual void end() = 0;
  // A whole document at once.
  virtual void document(std::string_view bytes) {
    append(bytes);
    end();
  }
};

// What reading one input came to.
struct InputReport {
  uint64_t bytes = 0;            // as stored
  std::string sha256;            // of the stored bytes; empty when not asked for
  uint64_t documents = 0;        // given to the sink, empty ones included
  uint64_t malformed_lines = 0;  // skipped (lenient)
  std::string first_malformed;   // where the first of them is and what is wrong
};

struct ReadCallbacks {
  std::function<void(uint64_t stored_bytes)> progress;  // after each block, the bytes of that block; may throw to stop
  bool hash = false;                                    // compute InputReport::sha256
};

// Reads one input in blocks and gives its documents to `sink`: memory does not depend on the size of the file or of a
// document, except that a JSON line must fit in 1 GiB. Throws InputError with file, line and column for malformed JSON
// lines, and with the file for damaged compression.
InputReport read_documents(const InputFile& file, const InputOptions& options, DocumentSink& sink,
                           const ReadCallbacks& callbacks = {});

// Bytes of a file, decompressed, in blocks.
class BlockReader {
 public:
  virtual ~BlockReader() = default;
  // The next bytes, valid until the next call; empty at the end.
  virtual std::string_view next() = 0;
};

// Cuts text that arrives in blocks into documents, the same ones however the blocks fall.
class TextSplitter {
 public:
  TextSplitter(const InputOptions& options, DocumentSink& sink) : options_(options), sink_(sink) {}
  void feed(std::string_view block);
  void finish();
  [[nodiscard]] uint64_t documents() const { return documents_; }

 private:
  void feed_lines(std::string_view block);
  void feed_blank_lines(std::string_view block);
  void feed_separator(std::string_view block);
  void append(std::string_view bytes);
  void end_document();

  const InputOptions& options_;
  DocumentSink& sink_;
  uint64_t documents_ = 0;
  bool open_ = false;       // the current document has got bytes
  std::string held_;        // seen, but not yet known to belong to the document
  bool line_blank_ = true;  // the current line holds only spaces so far
};

}  // namespace verbatim
