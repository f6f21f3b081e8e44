#include "cli/text_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/text_format.h"
#include "cli/text_page_parts.h"
#include "text/html.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kBlockBytes = 1500;      // a block ends with the first line end behind so many bytes
constexpr size_t kMostBlockBytes = 6000;  // or here, at a space where there is one
constexpr size_t kColoredBytes = 32768;   // coloured without scripts; each costs about 40 bytes of page
constexpr int kColors = 17;
constexpr double kMostBits = 8;  // per byte: the end of the colour scale, what a model that knows nothing pays
constexpr size_t kMostHistogramBars = 24;

// One character with the marks that follow it, or one byte that belongs to none.
struct Cell {
  size_t start = 0, end = 0;
  std::string markup;  // what is shown
};

std::string escape_markup(const CodePoint& unit) {
  const auto value = static_cast<uint32_t>(unit.value);
  return unit.valid && value >= 0x80 ? fmt::format("<i>U+{:04X}</i>", value) : fmt::format("<i>\\x{:02X}</i>", value);
}

Cell cell_at(std::string_view document, size_t start, size_t limit) {
  const CodePoint unit = decode_utf8(document, start);
  Cell cell{.start = start, .end = start + unit.size, .markup = {}};
  if (!unit.valid || is_hidden_character(unit.value)) {
    cell.markup = escape_markup(unit);
    return cell;
  }
  if (unit.value != '\n') {
    while (cell.end < limit) {
      const CodePoint next = decode_utf8(document, cell.end);
      if (!next.valid || !(is_mark(next.value) || next.value == 0x200C || next.value == 0x200D)) break;
      cell.end += next.size;
    }
  }
  cell.markup = escape_html(document.substr(start, cell.end - start));
  return cell;
}

struct Block {
  size_t start = 0, end = 0;
  bool continues = false;  // cut inside a line
};

std::vector<Block> blocks_of(std::string_view document) {
  std::vector<Block> blocks;
  for (size_t start = 0; start < document.size();) {
    // Searches stay inside the block, so that a text without line ends takes no longer.
    const std::string_view rest = document.substr(start, kMostBlockBytes);
    size_t size = rest.find('\n', kBlockBytes - 1);
    if (size == std::string_view::npos) size = rest.rfind('\n');  // an earlier line end keeps lines whole
    bool continues = false;
    if (size == std::string_view::npos && start + rest.size() == document.size()) {
      size = rest.size();
    } else if (size != std::string_view::npos) {
      ++size;
    } else {
      const size_t space = rest.rfind(' ');
      const bool has_space = space != std::string_view::npos && space >= kBlockBytes;
      size = has_space ? space + 1 : utf8_boundary_before(document, start + rest.size()) - start;
      continues = true;
    }
    const size_t end = start + size;
    blocks.push_back({start, end, continues});
    start = end;
  }
  return blocks;
}

int color_of(double share) { return std::clamp(static_cast<int>(std::lround(share * (kColors - 1))), 0, kColors - 1); }

// Walks along the cells of the coloured blocks: which position and which patches a byte belongs to.
class ColoredText {
 public:
  explicit ColoredText(const TextPageContent& content) : content_(content), patch_(content.levels.size(), 0) {}

  // Cells must come in the order of the text.
  std::string markup(const Cell& cell) {
    const std::vector<uint64_t>& ends = content_.position_ends;
    while (position_ < ends.size() && ends[position_] <= cell.start) ++position_;
    double bits = 0;
    uint64_t bytes = 0;
    size_t last = position_;
    for (size_t p = position_; p < ends.size() && (p == position_ || ends[p - 1] < cell.end); ++p) {
      if (!content_.bits.empty()) bits += content_.bits[p];
      bytes += ends[p] - (p == 0 ? 0 : ends[p - 1]);
      last = p;
    }
    std::string classes;
    if (!content_.bits.empty() && bytes > 0) {
      classes = fmt::format("k{}", color_of(bits / static_cast<double>(bytes) / kMostBits));
    }
    size_t highest = 0;
    for (size_t level = 0; level < content_.levels.size(); ++level) {
      const std::vector<uint64_t>& patch_ends = content_.levels[level].ends;
      size_t& patch = patch_[level];
      while (patch < patch_ends.size() && patch_ends[patch] <= cell.start) ++patch;
      if (patch < patch_ends.size() && patch_ends[patch] <= cell.end) highest = level + 1;
    }
    if (highest == 0 && bytes > last - position_ + 1 && ends[last] <= cell.end) classes += " z";  // ends a token
    if (highest > 0) classes += fmt::format(" e{}", std::min<size_t>(highest, 4));
    std::string title;
    for (size_t at = cell.start; at < cell.end; ++at) {
      title += fmt::format("{}{:02X}", title.empty() ? "" : " ", static_cast<unsigned char>(content_.document[at]));
    }
    if (!content_.bits.empty()) title += fmt::format(": {:.2f} bits", bits);
    if (!content_.ids.empty()) {
      title += fmt::format(", {} {}", escape_html_name(content_.position), fmt::join(content_.ids[position_], " "));
    }
    return fmt::format("<b class=\"{}\" title=\"{}\">{}</b>", classes, title, cell.markup);
  }

 private:
  const TextPageContent& content_;
  size_t position_ = 0;
  std::vector<size_t> patch_;  // of each level
};

std::string block_markup(const TextPageContent& content, const Block& block, ColoredText& colored) {
  const bool in_color = block.end <= kColoredBytes;
  std::string markup = fmt::format("<div class=\"block{}\" dir=\"auto\" data-from=\"{}\" data-to=\"{}\">",
                                   block.continues ? " continues" : "", block.start, block.end);
  for (size_t at = block.start; at < block.end;) {
    const Cell cell = cell_at(content.document, at, block.end);
    markup += in_color ? colored.markup(cell) : cell.markup;
    at = cell.end;
  }
  return markup + "</div>\n";
}

std::vector<uint64_t> lengths_of(const std::vector<uint64_t>& ends) {
  std::vector<uint64_t> lengths(ends.size());
  std::adjacent_difference(ends.begin(), ends.end(), lengths.begin());
  return lengths;
}

// How many patches have which length, as bars.
std::string histogram(const std::vector<uint64_t>& ends) {
  std::vector<uint64_t> lengths = lengths_of(ends);
  if (lengths.empty()) return "";
  std::sort(lengths.begin(), lengths.end());
  // The longest hundredth goes into the last bar, so that one odd patch does not flatten the others.
  const uint64_t usual = lengths[(lengths.size() - 1) * 99 / 100];
  const uint64_t width = (usual + kMostHistogramBars - 1) / kMostHistogramBars;
  std::vector<uint64_t> counts(static_cast<size_t>((usual + width - 1) / width));
  for (const uint64_t length : lengths) ++counts[std::min<size_t>((length - 1) / width, counts.size() - 1)];
  const uint64_t most = *std::max_element(counts.begin(), counts.end());
  constexpr int kBar = 7, kHeight = 28;
  std::string bars;
  for (size_t i = 0; i < counts.size(); ++i) {
    const uint64_t from = i * width + 1;
    const uint64_t to = i + 1 == counts.size() ? lengths.back() : (i + 1) * width;
    const double height =
        counts[i] == 0 ? 0 : std::max(1.0, kHeight * static_cast<double>(counts[i]) / static_cast<double>(most));
    const std::string range = to > from ? fmt::format("{} to {}", from, to) : fmt::format("{}", from);
    bars += fmt::format(
        "<g><title>{} bytes: {} patches</title><rect class=\"hit\" x=\"{}\" y=\"0\" width=\"{}\" height=\"{}\"/>"
        "<rect x=\"{}\" y=\"{:.1f}\" width=\"{}\" height=\"{:.1f}\"/></g>",
        range, counts[i], i * kBar, kBar, kHeight, i * kBar, kHeight - height, kBar - 1, height);
  }
  return fmt::format(
      "<span class=\"histogram\"><span>1</span><svg width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\" "
      "aria-label=\"patch lengths from 1 to {2} bytes\">{3}</svg><span>{4}{2}</span></span>",
      counts.size() * kBar, kHeight, usual, bars, lengths.back() > usual ? "≥ " : "");
}

std::string figure(std::string_view name, std::string_view value) {
  return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", name, value);
}

std::string header(const TextPageContent& content, double bits) {
  const auto bytes = static_cast<double>(content.document.size());
  std::string text = fmt::format("<header>\n<h1 dir=\"auto\">{}</h1>\n<dl>\n", escape_html_name(content.title));
  if (!content.bits.empty()) {
    text += figure("bits per byte", bytes > 0 ? fmt::format("{:.3f}", bits / bytes) : "none");
    text += figure("bits in total", fmt::format("{:.1f}, and {:.1f} for the end", bits, content.end_bits));
  }
  text += figure("bytes", fmt::format("{}", content.document.size()));
  if (content.position_ends.size() != content.document.size()) {
    text += figure(escape_html_name(content.position + "s"),
                   fmt::format("{}, {:.2f} bytes each", content.position_ends.size(),
                               bytes / static_cast<double>(std::max<size_t>(content.position_ends.size(), 1))));
  }
  text += figure("model", escape_html_name(content.model));
  text += figure("family", escape_html_name(content.family));
  text += figure("parameters", format_count(static_cast<double>(content.parameters)));
  text += figure("levels of patches", content.levels.empty() ? "none" : fmt::format("{}", content.levels.size()));
  text += "</dl>\n";
  if (content.bits.empty() && !content.document.empty()) {
    text += "<p class=\"note\">Settings without trained weights: the text is cut by rule, without bits.</p>\n";
  }
  if (!content.levels.empty()) {
    text += "<div class=\"wide\"><table>\n<thead><tr><th>level</th><th>cuts</th><th>patches</th><th>bytes each</th>";
    if (!content.bits.empty()) text += "<th>bits each</th>";
    text += "<th>lengths in bytes</th></tr></thead>\n<tbody>\n";
    for (size_t i = 0; i < content.levels.size(); ++i) {
      const PageLevel& level = content.levels[i];
      const auto patches = static_cast<double>(std::max<size_t>(level.ends.size(), 1));
      text += fmt::format("<tr><td><span class=\"mark e{}\"></span>{}</td><td>{}</td><td>{}</td><td>{:.2f}</td>",
                          std::min<size_t>(i + 1, 4), i + 1, escape_html_name(level.rule), level.ends.size(),
                          bytes / patches);
      if (!content.bits.empty()) text += fmt::format("<td>{:.2f}</td>", bits / patches);
      text += fmt::format("<td>{}</td></tr>\n", histogram(level.ends));
    }
    text += "</tbody>\n</table></div>\n";
  }
  return text + "</header>\n";
}

std::string legend(bool has_bits) {
  if (!has_bits) return "";
  std::string text = "<p class=\"legend\" id=\"legend\"><span>bits per byte</span>";
  for (int i = 0; i < kColors; ++i) {
    const double bits = kMostBits * i / (kColors - 1);
    text += i % 2 == 0
                ? fmt::format("<b class=\"k{}\">{}{}</b>", i, static_cast<int>(bits), i + 1 == kColors ? "+" : "")
                : fmt::format("<b class=\"k{}\"></b>", i);
  }
  return text + "</p>\n";
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) group = group << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    for (size_t i = 0; i < 4; ++i) text += i <= count ? kDigits[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

// Thousandths that sum to the thousandths of the sum: what is rounded away goes to the next.
std::vector<int64_t> thousandths(const std::vector<double>& values) {
  std::vector<int64_t> rounded(values.size());
  double sum = 0;
  int64_t before = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += values[i];
    const int64_t until = std::llround(sum * 1000);
    rounded[i] = until - before;
    before = until;
  }
  return rounded;
}

Json level_data(const PageLevel& level) {
  Json data{{"rule", level.rule}, {"begins", level.begins_patch}, {"lengths", lengths_of(level.ends)}};
  if (level.probability.empty()) return data;
  // Only positions where the level had a row, as distances, so that higher levels stay small.
  Json rows = Json::array(), percent = Json::array();
  int64_t before = -1;
  for (size_t i = 0; i < level.probability.size(); ++i) {
    if (level.probability[i] < 0) continue;
    rows.push_back(static_cast<int64_t>(i) - before);
    percent.push_back(std::lround(100 * level.probability[i]));
    before = static_cast<int64_t>(i);
  }
  data["rows"] = std::move(rows);
  data["percent"] = std::move(percent);
  return data;
}

// Everything the script needs. ASCII without "<", so that nothing in it can end the script element.
std::string page_data(const TextPageContent& content) {
  Json data{{"text", base64(content.document)}, {"position", content.position}};
  if (content.position_ends.size() != content.document.size()) data["lengths"] = lengths_of(content.position_ends);
  if (!content.ids.empty()) data["ids"] = content.ids;
  if (!content.bits.empty()) data["millibits"] = thousandths(content.bits);
  data["levels"] = Json::array();
  for (const PageLevel& level : content.levels) data["levels"].push_back(level_data(level));
  return escape_script_json(data.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace));
}

}  // namespace

void check_page_size(uint64_t bytes, std::string_view name) {
  if (bytes <= kMostPageBytes) return;
  throw_input("{} has {} bytes, a page takes at most {}; cut it, for instance with head -c {}", name, bytes,
              kMostPageBytes, kMostPageBytes);
}

std::string text_page(const TextPageContent& content) {
  check_page_size(content.document.size(), "the text");
  const double bits = std::accumulate(content.bits.begin(), content.bits.end(), 0.0);
  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{} - Verbatim</title>\n<style>{}</style>\n</head>\n"
      "<body>\n",
      escape_html_name(content.title), kTextPageStyle);
  page += header(content, bits);
  page += fmt::format("<div class=\"bar\">\n{}{}</div>\n", kTextPageControls, legend(!content.bits.empty()));
  page += "<main>\n<div id=\"text\">\n";
  ColoredText colored(content);
  for (const Block& block : blocks_of(content.document)) page += block_markup(content, block, colored);
  if (content.document.empty()) page += "<p class=\"note\">The text is empty.</p>\n";
  page += "</div>\n<aside id=\"details\" hidden aria-live=\"polite\"></aside>\n</main>\n";
  page +=
      fmt::format("<script type=\"application/json\" id=\"data\">{}</script>\n<script>{}</script>\n</body>\n</html>\n",
                  page_data(content), kTextPageScript);
  return page;
}

}  // namespace verbatim
