#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <memory>

#include "base/error.h"
#include "base/text_format.h"
#include "cli/model_argument.h"
#include "cli/tensor_options.h"
#include "evaluate/position_report.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

std::string text_argument(const EncodeFlags& flags) {
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

// A part on one line of a terminal: control characters and bytes that are no text become visible.
std::string visible(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const CodePoint unit = decode_utf8(bytes, at);
    if (!unit.valid || unit.value < 0x20 || unit.value == 0x7F) {
      text += unit.value == '\n'   ? "\\n"
              : unit.value == '\t' ? "\\t"
                                   : fmt::format("\\x{:02X}", static_cast<unsigned>(unit.value));
    } else {
      text += bytes.substr(at, unit.size);
    }
    at += unit.size;
  }
  return text;
}

// The text itself with a middle dot between its parts; line ends stay, so that it can be read. A part that ends inside
// a character gets its dot behind the character (--table shows where exactly).
std::string dotted(const std::vector<TextPart>& parts, std::string_view document) {
  constexpr std::string_view kDot = "\xC2\xB7";
  std::string text;
  size_t part = 0;
  for (size_t at = 0; at < document.size();) {
    const CodePoint unit = decode_utf8(document, at);
    text += unit.valid && unit.value == '\n' ? std::string("\n") : visible(document.substr(at, unit.size));
    at += unit.size;
    bool part_ends = false;
    for (; part < parts.size() && parts[part].end <= at; ++part) part_ends = true;
    if (part_ends && at < document.size()) text += kDot;
  }
  return text;
}

void write_text(const std::vector<TextPart>& parts, std::string_view document, bool table, double end_bits,
                Output& output) {
  if (!table) {
    output.text(dotted(parts, document) + "\n");
    output.text(
        fmt::format("{} bytes in {} parts, {:.2f} bytes each", document.size(), parts.size(),
                    static_cast<double>(document.size()) / static_cast<double>(std::max<size_t>(parts.size(), 1))));
  } else {
    for (size_t i = 0; i < parts.size(); ++i) {
      const TextPart& part = parts[i];
      std::string line = fmt::format("{:>6} {:>8} {:>8}", i, part.start, part.end);
      if (part.bits.has_value()) line += fmt::format(" {:>9.3f}", *part.bits);
      if (part.boundary_probability.has_value()) line += fmt::format(" {:>5.2f}", *part.boundary_probability);
      line += "  " + visible(document.substr(part.start, part.end - part.start));
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

int run_encode(const EncodeFlags& flags, CommandContext& context) {
  if (flags.level.has_value() && flags.bytes) throw UsageError("--level and --bytes exclude each other");
  const ModelArgument argument = open_model_or_config(flags.model);
  LanguageModel& model = *argument.model;
  const std::string document = text_argument(flags);

  PositionNats scored;
  const PositionNats* nats = nullptr;
  if (argument.has_weights) {
    scored = score_positions(model, document, {.window_bytes = argument.training_window.value_or(kDefaultWindow)});
    nats = &scored;
  } else {
    scored.positions = model.segmenter().segment(document, DocumentPart::kStart);
  }
  const bool patches = !flags.bytes && (flags.level.has_value() || count_levels(model.backbone()) > 0);
  const std::vector<TextPart> parts =
      patches ? report_patches(model, document, scored.positions, nats, flags.level.value_or(1))
              : report_positions(model, document, scored.positions, nats);
  for (size_t i = 0; i < parts.size() && context.output.is_json(); ++i) {
    context.output.json(record_of(parts[i], i, document));
  }
  if (!context.output.is_json()) {
    constexpr double kBitsPerNat = 1.4426950408889634;
    write_text(parts, document, flags.table || flags.bytes, scored.end_nats * kBitsPerNat, context.output);
  }
  context.output.flush();
  return 0;
}

}  // namespace

CommandDefinition encode_command() { return define_encode(run_encode); }

}  // namespace verbatim
