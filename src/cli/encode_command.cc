#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <iterator>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/text_format.h"
#include "cli/marked_text.h"
#include "cli/model_argument.h"
#include "cli/tensor_options.h"
#include "cli/terminal.h"
#include "cli/text_page.h"
#include "evaluate/position_report.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

constexpr double kBitsPerNat = 1.4426950408889634;

// Where a page is asked for, TEXT may be the name of a file: nobody looks at a page about a file's name.
void take_file(EncodeFlags& flags) {
  std::error_code error;
  if (!flags.file.empty() || flags.text == "-" || !std::filesystem::is_regular_file(flags.text, error)) return;
  if (flags.html.empty()) {
    spdlog::warn("shown is the text {}; --file {} shows what the file of that name holds", quote_bytes(flags.text, 60),
                 flags.text);
    return;
  }
  flags.file = std::exchange(flags.text, "-");
}

std::string text_argument(const EncodeFlags& flags) {
  if (!flags.file.empty()) return read_file(flags.file);
  if (flags.text != "-") return flags.text;
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

Record record_of(const TextPart& part, size_t index, std::string_view document) {
  Record record;
  record.set("index", index).set("start", part.start).set("end", part.end);
  record.set_text(document.substr(part.start, part.end - part.start));
  if (!part.ids.empty()) record.set("ids", std::vector<int64_t>(part.ids.begin(), part.ids.end()));
  if (part.bits.has_value()) record.set("bits", *part.bits);
  if (part.boundary_probability.has_value()) record.set("boundary_probability", *part.boundary_probability);
  return record;
}

// A page about a text from a command line is called by its beginning.
std::string title_of(const EncodeFlags& flags, std::string_view document) {
  if (!flags.file.empty()) return flags.file.filename().string();
  constexpr size_t kMostBytes = 60;
  const std::string_view start = document.substr(0, document.find('\n'));
  if (start.size() <= kMostBytes) return std::string(start);
  return std::string(start.substr(0, utf8_boundary_before(start, kMostBytes))) + " ...";
}

void write_page(const EncodeFlags& flags, const ModelArgument& argument, std::string_view document,
                const PositionNats& scored, CommandContext& context) {
  LanguageModel& model = *argument.model;
  const PositionNats* nats = argument.has_weights && !model.is_autoencoder() ? &scored : nullptr;
  const std::string& family = model.settings().family;
  TextPageContent content{.title = title_of(flags, document),
                          .model = flags.model.string(),
                          .family = family,
                          .position = family == "token"   ? "token"
                                      : family == "tfree" ? "word"
                                                          : "byte",
                          .parameters = model.parameter_count(),
                          .document = document};
  content.position_ends.assign(scored.positions.ends.begin(), scored.positions.ends.end());
  if (scored.positions.size() != document.size()) {
    for (size_t i = 0; i < scored.positions.size(); ++i) {
      content.ids.push_back(model.encoder().table_ids(scored.positions.ids_of(i)));
    }
  }
  if (nats != nullptr) {
    for (const double value : scored.nats) content.bits.push_back(value * kBitsPerNat);
    content.end_bits = scored.end_nats * kBitsPerNat;
  }
  std::vector<LevelBoundaries> levels = report_boundaries(model, document, scored.positions, nats);
  std::vector<std::vector<uint64_t>> ends = patch_ends(levels, scored.positions, document);
  const BackboneSettings* backbone = &model.settings().backbone;
  for (size_t i = 0; i < levels.size(); ++i) {
    PageLevel level{.rule = backbone->boundary, .begins_patch = levels[i].begins_patch, .ends = std::move(ends[i])};
    // Rules are certain.
    if (level.begins_patch) level.probability = std::move(levels[i].probability);
    content.levels.push_back(std::move(level));
    backbone = backbone->inner.data();
  }
  const std::string page = text_page(content);
  write_file_atomically(flags.html, page);
  context.output.record(Record()
                            .set("html", flags.html.string())
                            .set("page_bytes", page.size())
                            .set("bytes", document.size())
                            .set("levels", levels.size()));
}

void write_text(const std::vector<TextPart>& parts, const std::vector<std::vector<uint64_t>>& nesting,
                std::string_view document, bool table, double end_bits, Output& output) {
  if (!table) {
    const bool has_colors = isatty(STDOUT_FILENO) == 1 && wants_colors();
    if (nesting.size() > 1) {
      output.text(marked_text(nesting, document, has_colors) + "\n" +
                  nesting_legend(nesting, document.size(), has_colors));
    } else {
      std::vector<uint64_t> ends;
      ends.reserve(parts.size());
      for (const TextPart& part : parts) ends.push_back(part.end);
      output.text(marked_text({ends}, document, /*has_colors=*/false) + "\n");
    }
    output.text(
        fmt::format("{} bytes in {} parts, {:.2f} bytes each", document.size(), parts.size(),
                    static_cast<double>(document.size()) / static_cast<double>(std::max<size_t>(parts.size(), 1))));
  } else {
    for (size_t i = 0; i < parts.size(); ++i) {
      const TextPart& part = parts[i];
      std::string line = fmt::format("{:>6} {:>8} {:>8}", i, part.start, part.end);
      if (part.bits.has_value()) line += fmt::format(" {:>9.3f}", *part.bits);
      if (part.boundary_probability.has_value()) line += fmt::format(" {:>5.2f}", *part.boundary_probability);
      line += "  " + visible_text(document.substr(part.start, part.end - part.start));
      if (!part.ids.empty()) line += fmt::format("  [{}]", fmt::join(part.ids, ", "));
      output.text(line + "\n");
    }
    output.text(fmt::format("{} bytes in {} parts", document.size(), parts.size()));
  }
  double bits = 0;
  for (const TextPart& part : parts) bits += part.bits.value_or(0);
  if (!parts.empty() && parts.front().bits.has_value()) {
    output.text(fmt::format("; {:.1f} bits, {:.3f} per byte; the end {:.1f} bits", bits,
                            bits / static_cast<double>(document.size()), end_bits));
  }
  output.text("\n");
}

int run_encode(EncodeFlags flags, CommandContext& context) {
  if (flags.level.has_value() && flags.bytes) throw UsageError("--level and --bytes exclude each other");
  if (!flags.file.empty() && flags.text != "-") throw UsageError("TEXT and --file exclude each other");
  if (!flags.html.empty() && (flags.level.has_value() || flags.bytes || flags.table)) {
    throw UsageError("a page shows everything: leave out --level, --bytes and --table");
  }
  take_file(flags);
  const std::string document = text_argument(flags);
  if (!flags.html.empty()) check_page_size(document.size(), flags.file.empty() ? "the text" : flags.file.string());
  // Rules cut text without weights; a model that learns its boundaries says that it needs them.
  const ModelArgument argument = open_model_or_shapes(flags.model, {});
  LanguageModel& model = *argument.model;

  PositionNats scored;
  const PositionNats* nats = nullptr;
  if (argument.has_weights && !model.is_autoencoder()) {
    scored = score_positions(model, document, {.window_bytes = argument.training_window.value_or(kDefaultWindow)});
    nats = &scored;
  } else {
    scored.positions = model.segmenter().segment(document, DocumentPart::kStart);
  }
  if (!flags.html.empty()) {
    write_page(flags, argument, document, scored, context);
    context.output.flush();
    return 0;
  }
  const bool patches = !flags.bytes && (flags.level.has_value() || count_levels(model.backbone()) > 0);
  const std::vector<TextPart> parts =
      patches ? report_patches(model, document, scored.positions, nats, flags.level.value_or(1))
              : report_positions(model, document, scored.positions, nats);
  for (size_t i = 0; i < parts.size() && context.output.is_json(); ++i) {
    context.output.json(record_of(parts[i], i, document));
  }
  if (!context.output.is_json()) {
    const bool nested = patches && !flags.level.has_value();
    const std::vector<std::vector<uint64_t>> nesting =
        nested ? patch_ends(report_boundaries(model, document, scored.positions, nats), scored.positions, document)
               : std::vector<std::vector<uint64_t>>();
    write_text(parts, nesting, document, flags.table || flags.bytes, scored.end_nats * kBitsPerNat, context.output);
  }
  context.output.flush();
  return 0;
}

}  // namespace

CommandDefinition encode_command() { return define_encode(run_encode); }

}  // namespace verbatim
