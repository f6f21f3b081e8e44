#include "cli/text_page.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/error.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Of a model of bytes; the bits are made up, different at each byte.
TextPageContent bytes_content(std::string_view document) {
  TextPageContent content{.title = "a text",
                          .model = "run",
                          .family = "patch",
                          .position = "byte",
                          .parameters = 1234,
                          .document = document,
                          .end_bits = 3.5};
  for (size_t i = 0; i < document.size(); ++i) {
    content.position_ends.push_back(i + 1);
    content.bits.push_back(0.1 + 0.37 * static_cast<double>(i % 13));
  }
  return content;
}

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

std::string decode_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t held = 0;
  int bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    held = held << 6 | static_cast<uint32_t>(digits.find(c));
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(held >> bits & 0xFF);
  }
  return bytes;
}

// Names of the elements that are open at the end, or a message about the first one that closes wrongly.
std::vector<std::string> unbalanced(const std::string& page) {
  const std::set<std::string> without_end = {"!DOCTYPE", "meta", "input"};
  std::vector<std::string> open;
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at)) {
    const size_t end = page.find('>', at);
    if (end == std::string::npos) return {"a tag without its end"};
    const std::string tag = page.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    at = end;
    if (tag.find('<') != std::string::npos) return {"a tag inside a tag: " + tag.substr(0, 60)};
    if (name[0] == '/') {
      if (open.empty() || "/" + open.back() != name) return {"closes wrongly: " + name};
      open.pop_back();
    } else if (without_end.count(name) == 0 && tag.back() != '/') {
      open.push_back(name);
      // What is inside these is no markup.
      if (name == "script" || name == "style") at = page.find("</" + name, end);
    }
  }
  return open;
}

// What a browser shows of the text without its script: tags removed, references replaced.
std::string shown_text(const std::string& page) {
  const std::string markup = between(page, "<div id=\"text\">\n", "</div>\n<aside");
  std::string text;
  for (size_t at = 0; at < markup.size();) {
    if (markup[at] == '<') {
      const size_t end = markup.find('>', at);
      // The line end behind a block is the page's, not the text's.
      const bool ends_block = markup.compare(at, 7, "</div>\n") == 0;
      at = end + (ends_block ? 2 : 1);
    } else if (markup[at] == '&') {
      const size_t end = markup.find(';', at);
      const std::string name = markup.substr(at, end - at + 1);
      text += name == "&lt;" ? "<" : name == "&gt;" ? ">" : name == "&amp;" ? "&" : name == "&quot;" ? "\"" : "'";
      at = end + 1;
    } else {
      text += markup[at++];
    }
  }
  return text;
}

TEST(text_page, has_balanced_elements_and_refers_to_nothing_outside) {
  TextPageContent content = bytes_content("The cat, sat.\nDone <b>&amp;");
  content.levels = {{.rule = "space", .ends = {4, 9, content.document.size()}},
                    {.rule = "fixed:2", .ends = {9, content.document.size()}}};
  const std::string page = text_page(content);
  EXPECT_THAT(unbalanced(page), IsEmpty());
  for (const char* reference : {"http:", "https:", "src=", "href=", "@import", "url("}) {
    EXPECT_THAT(page, Not(HasSubstr(reference))) << reference;
  }
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_TRUE(is_valid_utf8(page));
}

TEST(text_page, shows_the_text_as_it_is) {
  const std::string text =
      "Zwei Zeilen:\n\t\"\xC3\x9C"
      "ber\" & <\xE4\xBD\xA0\xE5\xA5\xBD> 'x'\n\n\xD8\xB3\xD9\x84\xD8\xA7\xD9\x85";
  EXPECT_EQ(shown_text(text_page(bytes_content(text))), text);
}

TEST(text_page, keeps_every_byte_in_its_data) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  for (size_t size = text.size() - 3; size <= text.size(); ++size) {
    const std::string part = text.substr(0, size);
    EXPECT_EQ(decode_base64(data_of(text_page(bytes_content(part))).at("text").get<std::string>()), part);
  }
}

TEST(text_page, takes_no_markup_from_text_or_names) {
  const std::string evil = "</script><script>alert(1)</script><!-- \" onload='x' \xE2\x80\xA8 ]]>";
  TextPageContent content = bytes_content(evil);
  content.title = content.model = content.family = content.position = evil;
  content.ids.assign(evil.size(), {7});
  content.levels = {{.rule = evil, .ends = {evil.size()}}};
  const std::string page = text_page(content);
  EXPECT_THAT(unbalanced(page), IsEmpty());
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("<!--")));
  // In the data it is the inside of a string.
  EXPECT_THAT(page.substr(0, page.find("<script")), Not(HasSubstr("onload='")));
  EXPECT_EQ(data_of(page).at("levels").at(0).at("rule"), evil);
}

TEST(text_page, makes_hidden_characters_and_lone_bytes_visible) {
  // NUL, return, a lone byte, a lead byte without its rest, the line separator, a change of direction, a C1 control.
  const std::string text(
      "a\0\r\xFF\xE4\xBD"
      "b\xE2\x80\xA8\xE2\x80\xAE\xC2\x85",
      15);
  const std::string page = text_page(bytes_content(text));
  EXPECT_EQ(shown_text(page), "a\\x00\\x0D\\xFF\\xE4\\xBDbU+2028U+202EU+0085");
  EXPECT_TRUE(is_valid_utf8(page));
  EXPECT_EQ(page.find('\0'), std::string::npos);
  EXPECT_EQ(page.find('\r'), std::string::npos);
}

TEST(text_page, has_bits_that_sum_to_the_total) {
  std::string text(5000, 'x');
  TextPageContent content = bytes_content(text);
  for (size_t i = 0; i < text.size(); ++i) content.bits[i] = 0.0004;  // each rounds to 0 thousandths
  content.bits[17] = 8.5;
  const std::string page = text_page(content);
  const auto millibits = data_of(page).at("millibits").get<std::vector<int64_t>>();
  ASSERT_EQ(millibits.size(), text.size());
  // 4999 * 0.0004 + 8.5 = 10.4996
  EXPECT_EQ(std::accumulate(millibits.begin(), millibits.end(), int64_t{0}), 10500);
  EXPECT_THAT(page, HasSubstr("<dd>0.002</dd>"));  // 10.4996 / 5000
  EXPECT_THAT(page, HasSubstr("10.5, and 3.5 for the end"));
}

TEST(text_page, says_where_each_level_looked_and_cut) {
  TextPageContent content = bytes_content("abcdef");
  content.levels = {
      {.rule = "learned", .probability = {.1F, .2F, .9F, .004F, .8F, .3F}, .begins_patch = true, .ends = {2, 4, 6}},
      {.rule = "learned", .probability = {-1, -1, .25F, -1, .75F, -1}, .begins_patch = true, .ends = {4, 6}}};
  const std::string page = text_page(content);
  const nlohmann::json levels = data_of(page).at("levels");
  ASSERT_EQ(levels.size(), 2U);
  EXPECT_THAT(levels[0].at("lengths").get<std::vector<int>>(), ElementsAre(2, 2, 2));
  EXPECT_THAT(levels[0].at("percent").get<std::vector<int>>(), ElementsAre(10, 20, 90, 0, 80, 30));
  EXPECT_THAT(levels[1].at("lengths").get<std::vector<int>>(), ElementsAre(4, 2));
  EXPECT_THAT(levels[1].at("rows").get<std::vector<int>>(), ElementsAre(3, 2));
  EXPECT_THAT(levels[1].at("percent").get<std::vector<int>>(), ElementsAre(25, 75));
  // Behind "b" the first level cuts, behind "d" both.
  const auto expect_mark = [&](const std::string& mark, const std::string& hex, const std::string& sign) {
    EXPECT_THAT(
        between(page, "<div id=\"text\">", "</main>"),
        ::testing::ContainsRegex("class=\"k[0-9]+" + mark + "\" title=\"" + hex + ": [0-9.]+ bits\">" + sign + "</b>"));
  };
  expect_mark("", "61", "a");
  expect_mark(" e1", "62", "b");
  expect_mark(" e2", "64", "d");
  EXPECT_THAT(page, HasSubstr("<td>3.00</td>"));  // bytes in a patch of the second level
}

TEST(text_page, colours_by_bits_per_byte) {
  TextPageContent content{.title = "t", .model = "m", .family = "token", .position = "token", .document = "abcd"};
  content.position_ends = {3, 4};
  content.ids = {{17}, {5}};
  content.bits = {3, 20};
  const std::string page = text_page(content);
  // 1 bit per byte is step 2 of 16 on a scale to 8; more than 8 stay at its end.
  EXPECT_THAT(page, HasSubstr(R"(<b class="k2" title="61: 3.00 bits, token 17">a</b>)"));
  EXPECT_THAT(page, HasSubstr(R"(<b class="k2 z" title="63: 3.00 bits, token 17">c</b>)"));
  EXPECT_THAT(page, HasSubstr(R"(<b class="k16" title="64: 20.00 bits, token 5">d</b>)"));
  EXPECT_THAT(data_of(page).at("lengths").get<std::vector<int>>(), ElementsAre(3, 1));
  EXPECT_EQ(data_of(page).at("ids").dump(), "[[17],[5]]");
}

TEST(text_page, goes_without_bits) {
  TextPageContent content = bytes_content("one two");
  content.bits.clear();
  content.levels = {{.rule = "space", .ends = {4, 7}}};
  const std::string page = text_page(content);
  EXPECT_THAT(unbalanced(page), IsEmpty());
  EXPECT_FALSE(data_of(page).contains("millibits"));
  EXPECT_THAT(page, HasSubstr("without trained weights"));
  EXPECT_THAT(page, Not(HasSubstr("id=\"legend\"")));
}

TEST(text_page, shows_an_empty_text_and_one_byte) {
  TextPageContent empty = bytes_content("");
  empty.levels = {{.rule = "space", .ends = {}}};
  EXPECT_THAT(unbalanced(text_page(empty)), IsEmpty());
  EXPECT_THAT(text_page(empty), HasSubstr("The text is empty."));
  EXPECT_EQ(data_of(text_page(empty)).at("text"), "");
  const std::string page = text_page(bytes_content("\x80"));
  EXPECT_EQ(shown_text(page), "\\x80");
  EXPECT_EQ(data_of(page).at("text"), "gA==");
}

TEST(text_page, cuts_long_texts_into_blocks_that_tile_them) {
  std::string text;
  for (int line = 0; line < 400; ++line) text += fmt::format("line {} of many\n", line);
  for (int word = 0; word < 3000; ++word) text += fmt::format("word{} ", word);  // one long line
  for (int i = 0; i < 5000; ++i) text += "\xE4\xBD\xA0";                         // without a space
  const std::string page = text_page(bytes_content(text));
  EXPECT_THAT(unbalanced(page), IsEmpty());
  EXPECT_EQ(shown_text(page), text);
  size_t reached = 0;
  for (size_t at = page.find("data-from=\""); at != std::string::npos; at = page.find("data-from=\"", at + 1)) {
    const size_t from = std::stoul(page.substr(at + 11)), to = std::stoul(page.substr(page.find("data-to=\"", at) + 9));
    EXPECT_EQ(from, reached);
    EXPECT_LE(to - from, 6000U);
    reached = to;
  }
  EXPECT_EQ(reached, text.size());
}

TEST(text_page, refuses_more_than_a_browser_can_show) {
  const std::string text(kMostPageBytes + 1, 'x');
  try {
    check_page_size(text.size(), "letter.txt");
    FAIL() << "took " << text.size() << " bytes";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("letter.txt has 1048577 bytes, a page takes at most 1048576; cut it"));
  }
  EXPECT_THROW((void)text_page(bytes_content(text)), InputError);
}

}  // namespace
}  // namespace verbatim
