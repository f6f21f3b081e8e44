#include "pictures/embedding_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "pictures/groups.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::ThrowsMessage;
using namespace std::string_literals;

// The text between `from` and the next `to`.
std::string between(const std::string& page, const std::string& from, const std::string& to) {
  const size_t begin = page.find(from);
  if (begin == std::string::npos) return "";
  const size_t end = page.find(to, begin + from.size());
  return page.substr(begin + from.size(), end - begin - from.size());
}

nlohmann::json data_of(const std::string& page) {
  return nlohmann::json::parse(between(page, R"(<script type="application/json" id="data">)", "</script>"));
}

size_t count_of(const std::string& page, const std::string& part) {
  size_t count = 0;
  for (size_t at = page.find(part); at != std::string::npos; at = page.find(part, at + part.size())) ++count;
  return count;
}

// Points of these texts; their vectors are in three groups.
EmbeddingPageContent content_of(const std::vector<std::string>& texts) {
  EmbeddingPageContent content{.title = "some blocks", .vectors_ND = grouped_rows(texts.size(), 3, 5), .width = 5};
  for (const std::string& text : texts) content.points.push_back({.text = text, .script = script_of(text)});
  return content;
}

const EmbeddingPageOptions kQuick{.neighbours = 2, .neighbour_embedding = {.iterations = 50}};

std::string page_of(const std::vector<std::string>& texts) { return embedding_page(content_of(texts), kQuick); }

TEST(embedding_page, has_every_point_once) {
  std::vector<std::string> texts;
  for (int i = 100; i < 160; ++i) texts.push_back("block-" + std::to_string(i));
  const std::string page = page_of(texts);
  for (const std::string& text : texts) EXPECT_EQ(count_of(page, text), 1U) << text;
  const nlohmann::json data = data_of(page);
  EXPECT_THAT(data.at("text"), SizeIs(60));
  EXPECT_THAT(data.at("script"), SizeIs(60));
  EXPECT_THAT(data.at("near"), SizeIs(60));
  EXPECT_THAT(data.at("plots"), SizeIs(2));
  for (const nlohmann::json& plot : data.at("plots")) {
    EXPECT_THAT(plot.at("x"), SizeIs(60));
    EXPECT_THAT(plot.at("y"), SizeIs(60));
  }
}

TEST(embedding_page, lets_no_text_be_markup) {
  const std::string wild = R"(</script><script>alert("x")</script><!-- ' & " \)";
  EmbeddingPageContent content = content_of({wild, "b", "c"});
  content.title = "<img src=x onerror=alert(1)> & \"title\" '";
  content.unit = "\"<unit>";
  content.facts = {{.name = "<b>fact", .value = "</dl>\xFF\n<i>"}};
  const std::string page = embedding_page(content, kQuick);
  EXPECT_EQ(count_of(page, "<script"), 2U);
  EXPECT_EQ(count_of(page, "</script>"), 2U);
  EXPECT_EQ(count_of(page, "</dl>"), 1U);
  EXPECT_THAT(page, Not(HasSubstr("alert(\"x\")")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, Not(HasSubstr("<unit")));
  EXPECT_THAT(page, Not(HasSubstr("<!--")));
  EXPECT_THAT(page, HasSubstr("<dt>&lt;b&gt;fact</dt><dd>&lt;/dl&gt;\xEF\xBF\xBD &lt;i&gt;</dd>"));
  EXPECT_EQ(data_of(page).at("text").at(0), nlohmann::json::array({wild}));
}

TEST(embedding_page, makes_everything_visible) {
  const nlohmann::json texts =
      data_of(page_of({"a\xFF\xC3z"s, "ab\0\0\0"s, "\0\nx\t\x1B"s, "\xE2\x80\xAE\xC3\xA9\xE4\xBA\xBA"s, ""s}))
          .at("text");
  EXPECT_EQ(texts.at(0), nlohmann::json::array({"a", "\\xFF", "", "\\xC3", "z"}));
  EXPECT_EQ(texts.at(1), nlohmann::json::array({"ab", "···", ""}));
  EXPECT_EQ(texts.at(2), nlohmann::json::array({"", "·", "", "↵", "x", "⇥", "", "\\x1B", ""}));
  EXPECT_EQ(texts.at(3), nlohmann::json::array({"", "U+202E", "é人"}));
  EXPECT_EQ(texts.at(4), nlohmann::json::array({""}));
}

TEST(embedding_page, is_ascii_where_its_numbers_stand) {
  const std::string data = between(page_of({"é人\xFF", "я", "c"}), R"(id="data">)", "</script>");
  EXPECT_TRUE(std::all_of(data.begin(), data.end(), [](char c) { return c >= 0x20 && c < 0x7F; }));
}

TEST(embedding_page, refers_to_nothing_outside) {
  const std::string page = page_of({"a", "b", "c"});
  for (const char* reference : {"src=", "href=", "@import", "url(", "fetch(", "https:"}) {
    EXPECT_THAT(page, Not(HasSubstr(reference)));
  }
  EXPECT_EQ(count_of(page, "http:"), count_of(page, "http://www.w3.org/2000/svg"));  // a name, not an address
}

TEST(embedding_page, lists_scripts_by_how_many_points_they_have) {
  const nlohmann::json data = data_of(page_of({"мир", "word", "слово", "人人", "да", "text"}));
  ASSERT_THAT(data.at("scripts"), SizeIs(3));
  EXPECT_EQ(data.at("scripts").at(0).at("name"), "Cyrillic");
  EXPECT_EQ(data.at("scripts").at(1).at("name"), "Latin");
  EXPECT_EQ(data.at("scripts").at(2).at("name"), "Han");
  EXPECT_EQ(data.at("script"), nlohmann::json::array({0, 1, 0, 2, 0, 1}));
  EXPECT_EQ(data.at("bytes"), nlohmann::json::array({6, 4, 10, 6, 4, 4}));
}

TEST(embedding_page, gives_each_script_a_marker_of_its_own) {
  EmbeddingPageContent content;
  const size_t scripts = static_cast<size_t>(Script::kCount);
  for (size_t i = 0; i < scripts; ++i) content.points.push_back({.text = "x", .script = static_cast<Script>(i)});
  content.vectors_ND = grouped_rows(scripts, 3, 5);
  content.width = 5;
  std::set<std::pair<int, int>> markers;
  const nlohmann::json data = data_of(embedding_page(content, kQuick));
  for (const nlohmann::json& script : data.at("scripts")) {
    markers.emplace(script.at("hue").get<int>(), script.at("shape").get<int>());
    EXPECT_LT(script.at("hue").get<int>(), 8);
    EXPECT_LT(script.at("shape").get<int>(), 7);
  }
  EXPECT_THAT(markers, SizeIs(scripts));
}

// Rows (1, 0), (3, 4), (0, 1): cosines 0.6, 0 and 0.8.
TEST(embedding_page, tells_nearest_points_with_their_cosines) {
  EmbeddingPageContent content = content_of({"a", "b", "c"});
  content.vectors_ND = {1, 0, 3, 4, 0, 1};
  content.width = 2;
  const nlohmann::json near = data_of(embedding_page(content, kQuick)).at("near");
  EXPECT_EQ(near, nlohmann::json::array({{1, 6000, 2, 0}, {2, 8000, 0, 6000}, {1, 8000, 0, 0}}));
}

// Four points at (+-2, 0) and (0, +-1), so 80 % and 20 % of the variance.
TEST(embedding_page, has_the_components_and_their_shares) {
  EmbeddingPageContent content = content_of({"a", "b", "c", "d"});
  content.vectors_ND = {2, 0, -2, 0, 0, 1, 0, -1};
  content.width = 2;
  const std::string page = embedding_page(content, kQuick);
  const nlohmann::json data = data_of(page);
  const nlohmann::json& plot = data.at("plots").at(0);
  const double step = plot.at("step").get<double>();
  EXPECT_NEAR(plot.at("x").at(0).get<double>() * step, 2, 1e-4);
  EXPECT_NEAR(plot.at("x").at(1).get<double>() * step, -2, 1e-4);
  EXPECT_NEAR(plot.at("y").at(2).get<double>() * step, 1, 1e-4);
  EXPECT_NEAR(plot.at("y").at(3).get<double>() * step, -1, 1e-4);
  EXPECT_NEAR(data.at("shares").at(0).get<double>(), 0.8, 1e-9);
  EXPECT_NEAR(data.at("shares").at(1).get<double>(), 0.2, 1e-9);
  EXPECT_THAT(page, HasSubstr("together they hold 100.0 %"));
}

TEST(embedding_page, takes_one_point) {
  const nlohmann::json data = data_of(page_of({"alone"}));
  EXPECT_EQ(data.at("near"), nlohmann::json::array({nlohmann::json::array()}));
  EXPECT_EQ(data.at("plots").at(1).at("x"), nlohmann::json::array({0}));
}

TEST(embedding_page, refuses_what_it_cannot_show) {
  EXPECT_THAT([] { (void)embedding_page({.title = "nothing"}); },
              ThrowsMessage<InputError>(HasSubstr("at least one block")));
  EmbeddingPageContent content = content_of({"a", "b"});
  content.vectors_ND[7] = NAN;
  EXPECT_THAT([&] { (void)embedding_page(content); }, ThrowsMessage<InputError>(HasSubstr("row 1, column 2 is nan")));
}

}  // namespace
}  // namespace verbatim
