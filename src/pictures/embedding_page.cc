#include "pictures/embedding_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "pictures/embedding_page_parts.h"
#include "pictures/nearest.h"
#include "pictures/principal_components.h"
#include "text/html.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kPlotSteps = 100000;   // coordinates are integers up to this: a pixel at a zoom of 100
constexpr double kCosineSteps = 10000;  // so are cosines

// Which of the page's eight hues (-1: grey) and seven shapes a script has. No two share both, and scripts that often
// come together share neither.
enum Shape { kCircle, kSquare, kUpTriangle, kDiamond, kDownTriangle, kPlus, kTimes };

struct Marker {
  int hue = -1;
  Shape shape = kCircle;
};

enum Hue { kBlue, kRed, kGreen, kPurple, kOrange, kTeal, kPink, kOlive };

constexpr std::array<Marker, static_cast<size_t>(Script::kCount)> kMarkers = {{
    {},                        // kOther
    {kBlue, kCircle},          // kLatin
    {kTeal, kUpTriangle},      // kGreek
    {kRed, kSquare},           // kCyrillic
    {kPurple, kDownTriangle},  // kArmenian
    {kOrange, kTimes},         // kHebrew
    {kGreen, kDiamond},        // kArabic
    {kOrange, kUpTriangle},    // kDevanagari
    {kPink, kSquare},          // kBengali
    {kOlive, kDiamond},        // kGurmukhi
    {kBlue, kDownTriangle},    // kGujarati
    {kRed, kPlus},             // kOriya
    {kGreen, kCircle},         // kTamil
    {kPurple, kSquare},        // kTelugu
    {kTeal, kTimes},           // kKannada
    {kPink, kDiamond},         // kMalayalam
    {kOlive, kDownTriangle},   // kSinhala
    {kTeal, kCircle},          // kThai
    {kBlue, kPlus},            // kLao
    {kRed, kDiamond},          // kTibetan
    {kGreen, kTimes},          // kMyanmar
    {kPurple, kCircle},        // kGeorgian
    {kOlive, kSquare},         // kHangul
    {kOrange, kPlus},          // kEthiopic
    {kPink, kDownTriangle},    // kKhmer
    {kGreen, kUpTriangle},     // kMongolian
    {kPink, kCircle},          // kKana
    {kPurple, kDiamond},       // kHan
}};

// A text as it is shown: plain pieces and signs for what cannot be seen take turns, beginning with a plain one.
std::vector<std::string> visible_pieces(std::string_view text) {
  std::vector<std::string> pieces(1);
  const auto add_sign = [&](std::string sign) {
    pieces.push_back(std::move(sign));
    pieces.emplace_back();
  };
  for (const Utf8Unit& unit : Utf8Units(text)) {
    const auto value = static_cast<uint32_t>(unit.code_point.value);
    if (!unit.code_point.valid) {
      add_sign(fmt::format("\\x{:02X}", value));
    } else if (value == 0) {
      // Padding is long: one sign holds a dot for each.
      if (pieces.size() > 2 && pieces.back().empty() && pieces[pieces.size() - 2].starts_with("·")) {
        pieces[pieces.size() - 2] += "·";
      } else {
        add_sign("·");
      }
    } else if (value == '\n') {
      add_sign("↵");
    } else if (value == '\t') {
      add_sign("⇥");
    } else if (is_hidden_character(unit.code_point.value)) {
      add_sign(value < 0x80 ? fmt::format("\\x{:02X}", value) : fmt::format("U+{:04X}", value));
    } else {
      pieces.back() += text.substr(unit.position, unit.code_point.size);
    }
  }
  return pieces;
}

// Coordinates [N, 2] as integers, x and y apart, with the length of a step.
Json plot_data(std::string_view id, const std::vector<float>& points_N2) {
  double largest = 0;
  for (const float value : points_N2) largest = std::max(largest, std::abs(static_cast<double>(value)));
  const double step = largest > 0 ? largest / kPlotSteps : 1;
  Json x = Json::array(), y = Json::array();
  for (size_t i = 0; i < points_N2.size(); i += 2) {
    x.push_back(std::llround(points_N2[i] / step));
    y.push_back(std::llround(points_N2[i + 1] / step));
  }
  return {{"id", id}, {"step", step}, {"x", std::move(x)}, {"y", std::move(y)}};
}

// What the script needs, see there.
std::string page_data(const EmbeddingPageContent& content, const EmbeddingPageOptions& options,
                      const PrincipalComponents& components, const NeighbourEmbedding& embedding) {
  std::array<size_t, static_cast<size_t>(Script::kCount)> counts{};
  for (const EmbeddingPoint& point : content.points) ++counts.at(static_cast<size_t>(point.script));
  std::vector<size_t> present;  // the most frequent first
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) present.push_back(i);
  }
  std::stable_sort(present.begin(), present.end(), [&](size_t a, size_t b) { return counts[a] > counts[b]; });
  std::array<size_t, static_cast<size_t>(Script::kCount)> place{};
  Json scripts = Json::array();
  for (const size_t i : present) {
    place[i] = scripts.size();
    scripts.push_back(
        {{"name", name_of(static_cast<Script>(i))}, {"hue", kMarkers[i].hue}, {"shape", kMarkers[i].shape}});
  }

  Json texts = Json::array(), script = Json::array(), bytes = Json::array(), near = Json::array();
  for (const EmbeddingPoint& point : content.points) {
    texts.push_back(visible_pieces(point.text));
    script.push_back(place[static_cast<size_t>(point.script)]);
    bytes.push_back(point.text.size());
  }
  for (const std::vector<NearRow>& rows : nearest_rows(content.vectors_ND, content.width, options.neighbours)) {
    Json list = Json::array();
    for (const NearRow& row : rows) {
      list.push_back(row.row);
      list.push_back(std::lround(row.cosine * kCosineSteps));
    }
    near.push_back(std::move(list));
  }
  const Json data{
      {"unit", content.unit},
      {"scripts", std::move(scripts)},
      {"plots",
       {plot_data("components", components.coordinates_NK), plot_data("neighbours", embedding.coordinates_N2)}},
      {"shares", components.shares_K},
      {"script", std::move(script)},
      {"bytes", std::move(bytes)},
      {"text", std::move(texts)},
      {"near", std::move(near)}};
  return escape_script_json(data.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace));
}

std::string figure(std::string_view name, std::string_view value) {
  return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape_html_name(name), escape_html_name(value));
}

std::string header(const EmbeddingPageContent& content) {
  std::string text = fmt::format("<header>\n<h1 dir=\"auto\">{}</h1>\n<dl>\n", escape_html_name(content.title));
  text += figure(content.unit + "s", fmt::format("{}", content.points.size()));
  text += figure("dimensions", fmt::format("{}", content.width));
  for (const EmbeddingFact& fact : content.facts) text += figure(fact.name, fact.value);
  return text + "</dl>\n</header>\n";
}

std::string plot(std::string_view id, std::string_view name, std::string_view caption) {
  return fmt::format(
      "<figure id=\"{0}\">\n<div class=\"title\"><h2>{1}</h2><span class=\"zoom\">"
      "<button type=\"button\" data-zoom=\"0.667\" title=\"zoom out (-)\" aria-label=\"zoom out\">&minus;</button>"
      "<button type=\"button\" data-zoom=\"1.5\" title=\"zoom in (+)\" aria-label=\"zoom in\">+</button>"
      "<button type=\"button\" data-zoom=\"0\" title=\"show all (0)\">all</button></span></div>\n"
      "<div class=\"plot\"><canvas tabindex=\"0\" role=\"application\" aria-label=\"{1}. Arrow keys go from point to "
      "point, plus and minus zoom, Escape ends.\"></canvas><p class=\"tip\" hidden aria-hidden=\"true\"></p></div>\n"
      "<figcaption>{2}</figcaption>\n</figure>\n",
      id, name, caption);
}

}  // namespace

std::string embedding_page(const EmbeddingPageContent& content, const EmbeddingPageOptions& options) {
  if (content.points.empty()) throw_input("a page of embeddings needs at least one {}, got none", content.unit);
  VERBATIM_ASSERT(content.vectors_ND.size() == content.points.size() * content.width, "{} values for {} points of {}",
                  content.vectors_ND.size(), content.points.size(), content.width);
  // The slow one first: it refuses what is too much before anything else is done.
  const NeighbourEmbedding embedding =
      neighbour_embedding(content.vectors_ND, content.width, options.neighbour_embedding);
  const PrincipalComponents components = principal_components(content.vectors_ND, content.width);

  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{} - Verbatim</title>\n<style>{}</style>\n</head>\n"
      "<body>\n",
      escape_html_name(content.title), kEmbeddingPageStyle);
  page += header(content);
  page +=
      "<noscript><p class=\"note\">The pictures are drawn by the script of this page, which is switched off.</p>"
      "</noscript>\n"
      "<div class=\"bar\" hidden>\n<div id=\"legend\" role=\"group\" aria-label=\"scripts that are shown\"></div>\n"
      "<label>find <input type=\"search\" id=\"find\" autocomplete=\"off\" spellcheck=\"false\"></label>"
      "<output id=\"found\" for=\"find\"></output>\n</div>\n<main>\n";
  page += plot("components", "Principal components",
               fmt::format("The two directions in which the vectors differ most; together they hold {:.1f} % of the "
                           "variance. What is far apart here is far apart; what is close may still differ in other "
                           "directions.",
                           100 * (components.shares_K[0] + components.shares_K[1])));
  page += plot("neighbours", "Neighbours (t-SNE)",
               fmt::format("Neighbours stay neighbours, at a perplexity of {:.3g}. Distances between groups and their "
                           "sizes mean little.",
                           embedding.perplexity));
  page += "<aside id=\"details\" aria-live=\"polite\"></aside>\n</main>\n";
  page +=
      fmt::format("<script type=\"application/json\" id=\"data\">{}</script>\n<script>{}</script>\n</body>\n</html>\n",
                  page_data(content, options, components, embedding), kEmbeddingPageScript);
  return page;
}

}  // namespace verbatim
