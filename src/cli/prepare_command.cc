#include <spdlog/spdlog.h>

#include <atomic>
#include <cctype>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/text_format.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/progress.h"
#include "corpus/prepare.h"
#include "tokenizers/bpe_trainer.h"

namespace verbatim {
namespace {

struct PrepareFlags {
  std::vector<std::string> inputs;
  std::vector<std::string> valid;
  std::filesystem::path out;
  double valid_fraction = 0.05;
  std::string format = "auto";
  std::string field = "text";
  std::string split = "none";
  bool lenient = false;
  bool all_files = false;
  bool force = false;
  bool instruct = false;
  std::string chat_template = "plain";
  std::string train_tokenizer = "none";
  int64_t vocab_size = 8192;
};

constexpr uint64_t kTokenizerChunk = uint64_t{1} << 20;
constexpr uint64_t kTokenizerBytes = 1'000'000'000;  // more text hardly changes the merges and takes long to count

// The documents, long ones cut at line breaks so that threads share them; of a large corpus every n-th stretch only.
std::vector<std::string_view> tokenizer_text(const MemoryMap& train) {
  std::vector<std::string_view> chunks;
  for (uint64_t i = 0; i < train.document_count(); ++i) {
    std::string_view rest = train.document(i);
    while (rest.size() > kTokenizerChunk) {
      const size_t line_break = rest.rfind('\n', kTokenizerChunk - 1);
      const size_t size = line_break == std::string_view::npos ? kTokenizerChunk : line_break + 1;
      chunks.push_back(rest.substr(0, size));
      rest.remove_prefix(size);
    }
    chunks.push_back(rest);
  }
  const uint64_t nth = train.total_bytes() / kTokenizerBytes + 1;
  if (nth > 1) {
    spdlog::info("the tokenizer is trained on one in {} stretches of the text", nth);
    size_t kept = 0;
    for (size_t i = 0; i < chunks.size(); i += nth) chunks[kept++] = chunks[i];
    chunks.resize(kept);
  }
  return chunks;
}

BpeTrainerOptions tokenizer_options(const PrepareFlags& flags) { return {.vocabulary_size = flags.vocab_size}; }

// Learns a tokenizer from the training documents and writes it into the folder.
void train_tokenizer(const PrepareFlags& flags, const MemoryMap& train, const std::filesystem::path& folder) {
  const std::vector<std::string_view> chunks = tokenizer_text(train);
  Progress progress({.label = "train tokenizer", .unit = "pieces", .total = static_cast<int64_t>(chunks.size())});
  std::atomic<int64_t> done = 0;
  const std::thread::id main_thread = std::this_thread::get_id();
  const std::string json = train_bpe(tokenizer_options(flags), chunks.size(), [&](uint64_t i) {
    throw_if_interrupted();
    const int64_t now = ++done;
    if (std::this_thread::get_id() == main_thread) progress.update(now);
    return chunks[i];
  });
  progress.finish();
  write_file_atomically(folder / "tokenizer.json", json);
}

// "\n", "\t", "\r", "\0", "\\" and "\xNN" stand for the bytes they usually stand for.
std::string unescape(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      bytes.push_back(text[i]);
      continue;
    }
    const char c = text[++i];
    if (c == 'x' && i + 2 < text.size() && std::isxdigit(static_cast<unsigned char>(text[i + 1])) != 0 &&
        std::isxdigit(static_cast<unsigned char>(text[i + 2])) != 0) {
      bytes.push_back(static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16)));
      i += 2;
    } else if (c == 'n') {
      bytes.push_back('\n');
    } else if (c == 't') {
      bytes.push_back('\t');
    } else if (c == 'r') {
      bytes.push_back('\r');
    } else if (c == '0') {
      bytes.push_back('\0');
    } else if (c == '\\') {
      bytes.push_back('\\');
    } else {
      throw UsageError(fmt::format("--split {}: unknown escape \\{}; known are \\n \\t \\r \\0 \\\\ \\xNN", text, c));
    }
  }
  return bytes;
}

// Options that mean nothing for conversations are refused rather than passed over.
void check_instruct(const PrepareFlags& flags) {
  const PrepareFlags defaults;
  if (!flags.instruct) {
    if (flags.chat_template != defaults.chat_template) throw UsageError("--chat-template needs --instruct");
    return;
  }
  const auto refuse = [](std::string_view option, std::string_view reason) {
    throw UsageError(fmt::format("{} does not go with --instruct: {}", option, reason));
  };
  if (flags.split != defaults.split) refuse("--split", "a line is a conversation");
  if (flags.field != defaults.field) refuse("--field", "the members of a conversation are known");
  if (flags.format == "text") refuse("--format text", "conversations are JSON lines");
  if (flags.train_tokenizer != defaults.train_tokenizer) {
    refuse("--train-tokenizer", "take the one that was trained with the text");
  }
}

PrepareOptions to_options(const PrepareFlags& flags) {
  check_instruct(flags);
  PrepareOptions options;
  options.inputs = flags.inputs;
  options.valid_inputs = flags.valid;
  options.out = flags.out;
  options.force = flags.force;
  options.valid_fraction = flags.valid_fraction;
  options.input.format = flags.format == "text"    ? InputFormat::kText
                         : flags.format == "jsonl" ? InputFormat::kJsonLines
                                                   : InputFormat::kByName;
  options.input.field = flags.field;
  if (flags.instruct) {
    options.chat_template =
        flags.chat_template == name_of(ChatTemplate::kTFree) ? ChatTemplate::kTFree : ChatTemplate::kPlain;
  }
  options.input.lenient = flags.lenient;
  options.input.all_files = flags.all_files;
  if (flags.split == "lines") {
    options.input.split = SplitRule::kLines;
  } else if (flags.split == "blank-lines") {
    options.input.split = SplitRule::kBlankLines;
  } else if (flags.split != "none") {
    options.input.split = SplitRule::kSeparator;
    options.input.separator = unescape(flags.split);
  }
  return options;
}

void say_what_was_left_out(const PrepareSummary& summary) {
  if (summary.skipped_files > 0) {
    std::string sample;
    for (const std::string& name : summary.skipped_sample) sample += (sample.empty() ? "" : ", ") + name;
    spdlog::warn(
        "{} files in folders were skipped, for they are hidden or of an unknown kind ({}{}); --all-files reads "
        "them as text",
        summary.skipped_files, sample, summary.skipped_files > summary.skipped_sample.size() ? ", ..." : "");
  }
  if (summary.malformed_lines > 0) {
    spdlog::warn("{} malformed JSON lines were skipped, the first: {}", summary.malformed_lines,
                 summary.first_malformed);
  }
  if (summary.duplicate_documents > 0) {
    spdlog::info("{} documents ({}) were left out: the same text came before{}", summary.duplicate_documents,
                 format_bytes(summary.duplicate_bytes), summary.held_out_duplicates > 0 ? " or is held out" : "");
  }
  if (summary.empty_documents > 0) spdlog::info("{} empty documents were left out", summary.empty_documents);
  if (summary.invalid_utf8_documents > 0) {
    spdlog::info("{} documents are not valid UTF-8; they are kept as they are", summary.invalid_utf8_documents);
  }
  if (summary.split == SplitMethod::kTail) {
    spdlog::info("too few documents to hold some out by hash: the tail of the largest one is the validation part");
  }
  if (summary.split == SplitMethod::kLastDocuments) {
    spdlog::info("too few conversations to hold some out by hash: the last ones are the validation part");
  }
  if (summary.split == SplitMethod::kNone) spdlog::warn("there is no validation part");
}

// Each --valid takes one path; those that follow it are inputs. Easily forgotten, and it spoils every measurement.
void warn_of_trained_valid_text(const PrepareFlags& flags) {
  if (flags.valid.empty()) return;
  for (const std::string& input : flags.inputs) {
    const std::string name = std::filesystem::path(input).filename().string();
    const bool looks_held_out = name.find("valid") != std::string::npos || name.find("test") != std::string::npos;
    if (looks_held_out) {
      spdlog::warn("{} is part of the training text; to hold it out give it a --valid of its own", input);
    }
  }
}

int run_prepare(const PrepareFlags& flags, CommandContext& context) {
  warn_of_trained_valid_text(flags);
  using Clock = std::chrono::steady_clock;
  const auto started = Clock::now();
  const auto seconds_since_start = [&] { return std::chrono::duration<double>(Clock::now() - started).count(); };
  const bool with_tokenizer = flags.train_tokenizer != "none";
  std::optional<Progress> progress(std::in_place, ProgressOptions{.label = "prepare", .unit = "bytes"});
  double seconds = 0;  // without the tokenizer

  PrepareOptions options = to_options(flags);
  if (with_tokenizer) (void)BpeTrainer(tokenizer_options(flags));  // refuses a wrong size now and not after hours
  options.before_publishing = [&](const MemoryMap& train, const std::filesystem::path& folder) {
    progress->finish();
    progress.reset();
    seconds = seconds_since_start();
    if (with_tokenizer) train_tokenizer(flags, train, folder);
  };
  const PrepareSummary summary = prepare_corpus(options, [&](const PrepareProgress& state) {
    throw_if_interrupted();
    progress->set_total(static_cast<int64_t>(state.total_bytes));
    progress->update(static_cast<int64_t>(state.bytes_read));
  });
  say_what_was_left_out(summary);
  Record record;
  record.set("out", flags.out.string())
      .set("kind", flags.instruct ? "instruct" : "text")
      .set("documents", summary.train.documents + summary.valid.documents)
      .set("bytes", summary.train.bytes + summary.valid.bytes)
      .set("train_documents", summary.train.documents)
      .set("train_bytes", summary.train.bytes)
      .set("train_sha256", summary.train.sha256)
      .set("valid_documents", summary.valid.documents)
      .set("valid_bytes", summary.valid.bytes)
      .set("valid_sha256", summary.valid.sha256)
      .set("split_method", name_of(summary.split))
      .set("duplicate_documents", summary.duplicate_documents)
      .set("held_out_duplicates", summary.held_out_duplicates)
      .set("empty_documents", summary.empty_documents)
      .set("invalid_utf8_documents", summary.invalid_utf8_documents)
      .set("malformed_lines", summary.malformed_lines)
      .set("skipped_files", summary.skipped_files)
      .set("sources", summary.sources.size())
      .set("bytes_read", summary.bytes_read)
      .set("seconds", seconds)
      .set("bytes_per_second", static_cast<double>(summary.bytes_read) / seconds);
  if (with_tokenizer) record.set("tokenizer", (flags.out / "tokenizer.json").string());
  context.output.record(record);
  return 0;
}

}  // namespace

CommandDefinition prepare_command() {
  auto flags = std::make_shared<PrepareFlags>();
  CommandDefinition command{
      .name = "prepare",
      .summary = "turns text into a corpus to train on",
      .usage = "INPUT... --out DIR",
      .examples = {{"verbatim prepare notes/ --out corpus", "every text and Markdown file below notes/"},
                   {"verbatim prepare 'wiki-*.jsonl.zst' --field body --out corpus", "one document per JSON line"},
                   {"xzcat dump.xz | verbatim prepare - --split '<|endoftext|>' --out corpus", "a stream"},
                   {"verbatim prepare notes/ --out corpus --train-tokenizer bpe --vocab-size 8192",
                    "with a tokenizer for the family token"},
                   {"verbatim prepare chats.jsonl --instruct --out chats", "conversations to learn answers from"},
                   {"verbatim prepare book.txt --valid letters.txt --out corpus", "with text of your choice held out"}},
      .notes =
          "Documents that occur twice are kept once. One in twenty is held out, chosen by its content, so that the "
          "choice is the same in every run; when there are too few documents for that, the tail of the largest one "
          "is held out. The folder appears when everything is written, or not at all."};
  OptionSet& options = command.options;
  options.positional("INPUT", flags->inputs,
                     {.help = "files, folders, patterns in quotes, or - for stdin; .txt .md .jsonl, also .gz and .zst",
                      .completes = Completes::kFile,
                      .required = true});
  options.option("-o,--out", flags->out,
                 {.help = "folder to create", .placeholder = "DIR", .completes = Completes::kFolder, .required = true});
  options.option(
      "--split", flags->split,
      {.help = "what divides a text file into documents: none, lines, blank-lines, or the words of a separator",
       .placeholder = "RULE"});
  options.option("--field", flags->field, {.help = "member of JSON lines that holds the text", .placeholder = "NAME"});
  options.flag("--instruct", flags->instruct,
               {.help = "the inputs are conversations, one in each JSON line: messages, conversations, prompt and "
                        "response, instruction and output, or lists of pieces"});
  options.option("--chat-template", flags->chat_template,
                 {.help = "with --instruct: how messages become text", .choices = {"plain", "tfree"}});
  options.option("--valid", flags->valid,
                 {.help = "hold out this file or folder instead of a choice of the input; one path each",
                  .placeholder = "PATH",
                  .completes = Completes::kFile});
  options.option("--valid-fraction", flags->valid_fraction,
                 {.help = "share of the documents to hold out", .minimum = 0, .maximum = 0.5});
  options.option("--train-tokenizer", flags->train_tokenizer,
                 {.help = "also train a tokenizer on the training part and write it to DIR/tokenizer.json",
                  .choices = {"none", "bpe"}});
  options.option("--vocab-size", flags->vocab_size,
                 {.help = "tokens of that tokenizer", .placeholder = "N", .minimum = 257});
  options.flag("--force", flags->force, {.help = "replace a prepared folder"});
  options.flag("--lenient", flags->lenient, {.help = "skip malformed JSON lines and count them", .advanced = true});
  options.flag("--all-files", flags->all_files,
               {.help = "in folders, read files of every kind as text", .advanced = true});
  options.option(
      "--format", flags->format,
      {.help = "what the inputs are, whatever their names", .choices = {"auto", "text", "jsonl"}, .advanced = true});
  command.run = [flags](CommandContext& context) { return run_prepare(*flags, context); };
  return command;
}

}  // namespace verbatim
