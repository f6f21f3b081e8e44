#include "tokenizers/literal_matcher.h"

#include <gtest/gtest.h>

namespace verbatim {
namespace {

TEST(literal_matcher, takes_the_leftmost_and_there_the_longest_match) {
  LiteralMatcher matcher;
  EXPECT_TRUE(matcher.empty());
  EXPECT_EQ(matcher.find("abc", 0).begin, std::string_view::npos);
  matcher.add("bc", 1);
  matcher.add("bcd", 2);
  matcher.add("cdefg", 3);
  matcher.add("bc", 9);
  const auto match = matcher.find("abcdefg", 0);
  EXPECT_EQ(match.begin, 1u);
  EXPECT_EQ(match.size, 3u);
  EXPECT_EQ(match.value, 2);
  EXPECT_EQ(matcher.find("abcdefg", 2).value, 3);
  EXPECT_EQ(matcher.find("abce", 0).value, 1);
  EXPECT_EQ(matcher.find("abcdefg", 3).begin, std::string_view::npos);
  EXPECT_EQ(matcher.find("", 0).begin, std::string_view::npos);
}

}  // namespace
}  // namespace verbatim
