#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/input.h"
#include "corpus/instruct.h"
#include "corpus/memory_map.h"

namespace verbatim {

struct PrepareOptions {
  std::vector<std::string> inputs;        // files, folders, patterns, "-"
  std::vector<std::string> valid_inputs;  // held-out text; when given, nothing of `inputs` is held out
  std::filesystem::path out;              // folder to create
  bool force = false;                     // replace a prepared folder that is there already
  double valid_fraction = 0.05;           // of the documents, by hash; 0 for no validation part
  InputOptions input;
  // Conversations instead of text: all inputs are JSON lines in the forms of convert_chat_line, each becomes a document
  // of pieces (instruct.h). `input.format`, `input.field` and `input.split` do not count then.
  std::optional<ChatTemplate> chat_template;
  // Runs when everything is written and before it appears under its final name: adds files to the folder that is to
  // become `out`, for instance a tokenizer trained on `train`.
  std::function<void(const MemoryMap& train, const std::filesystem::path& folder)> before_publishing;
};

struct PartSummary {
  uint64_t documents = 0;
  uint64_t bytes = 0;
  std::string sha256;  // of the .bin file
};

struct SourceSummary {
  std::string path;
  bool held_out = false;  // came from valid_inputs
  InputReport report;
};

// How the validation part came about.
enum class SplitMethod { kHash, kTail, kLastDocuments, kFiles, kNone };
[[nodiscard]] std::string_view name_of(SplitMethod method);

struct PrepareSummary {
  PartSummary train;
  PartSummary valid;
  SplitMethod split = SplitMethod::kHash;
  uint64_t bytes_read = 0;           // as stored, of all sources
  uint64_t duplicate_documents = 0;  // left out: the same bytes came earlier
  uint64_t duplicate_bytes = 0;
  uint64_t held_out_duplicates = 0;     // of these: left out of the training part because they are in valid_inputs
  uint64_t empty_documents = 0;         // left out
  uint64_t invalid_utf8_documents = 0;  // kept as they are
  uint64_t malformed_lines = 0;         // skipped (lenient)
  std::string first_malformed;
  uint64_t skipped_files = 0;  // in folders: hidden or of an unknown kind
  std::vector<std::string> skipped_sample;
  std::vector<SourceSummary> sources;
};

struct PrepareProgress {
  uint64_t bytes_read = 0;
  uint64_t total_bytes = 0;  // 0 when unknown
  uint64_t documents = 0;
};

// Reads all inputs once and writes OUT/train.*, OUT/valid.* (memory_map.h) and OUT/corpus.json.
//
// - Documents with the same bytes as an earlier one are left out and counted; so are empty ones.
// - A document goes to the validation part when its 128-bit hash, read as a number in [0, 1), is below valid_fraction:
//   the same document lands on the same side in every run, whatever else is prepared with it. Documents longer than
//   16 MiB, which are never held in memory, go to the training part.
// - When that leaves a part empty, or the validation part with less than a quarter or more than four times its share of
//   the bytes (few or one huge document), the tail of the largest document becomes the validation part instead: the
//   last valid_fraction of all bytes, at most half of that document, cut at a line break if one is near, otherwise
//   between two characters. Conversations are never cut: the last valid_fraction of them, at least one, is held out.
// - With valid_inputs, those files are the validation part, and documents of `inputs` that occur in them are left out.
//
// Everything is written to a hidden folder beside OUT, flushed to disk, and renamed: OUT appears complete or not at
// all. What a killed run left behind is removed by the next run for the same OUT. Memory: 21 to 64 bytes a document,
// and 16 MiB.
//
// `progress` runs after every block read; when it throws, nothing is left behind. Throws InputError for mistakes in
// options and inputs, also when OUT exists (see `force`), when another run is writing it, and when there is no text.
PrepareSummary prepare_corpus(const PrepareOptions& options,
                              const std::function<void(const PrepareProgress&)>& progress = {});

// The content of corpus.json.
[[nodiscard]] std::string corpus_json(const PrepareOptions& options, const PrepareSummary& summary);

}  // namespace verbatim
