#include "text/html.h"

#include <gtest/gtest.h>

namespace verbatim {
namespace {

TEST(html, escapes_what_would_be_markup) {
  EXPECT_EQ(escape_html(R"(<b class="x">'&amp;'</b>)"), "&lt;b class=&quot;x&quot;&gt;&#39;&amp;amp;&#39;&lt;/b&gt;");
}

TEST(html, keeps_other_bytes) { EXPECT_EQ(escape_html("\xC3\xA9\xFF\n"), "\xC3\xA9\xFF\n"); }

TEST(html, makes_a_name_one_valid_line) {
  EXPECT_EQ(escape_html_name(std::string_view("a\nb\0c\xFF<", 7)), "a b c\xEF\xBF\xBD&lt;");
}

TEST(html, cannot_end_the_script_element) {
  EXPECT_EQ(escape_script_json(R"(["</script>"])"), R"(["\u003c/script>"])");
}

TEST(html, knows_what_cannot_be_seen) {
  for (const char32_t hidden :
       std::initializer_list<char32_t>{0x0, 0x1B, 0x7F, 0xAD, 0x200B, 0x202E, 0xFEFF, 0x1FFFF}) {
    EXPECT_TRUE(is_hidden_character(hidden)) << std::hex << static_cast<uint32_t>(hidden);
  }
  for (const char32_t seen : std::initializer_list<char32_t>{0x09, 0x0A, 0x20, 0x41, 0xE9, 0x200D, 0x4E00, 0x1F600}) {
    EXPECT_FALSE(is_hidden_character(seen)) << std::hex << static_cast<uint32_t>(seen);
  }
}

}  // namespace
}  // namespace verbatim
