#include "generate/streamed_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> shown(StreamedText& text, const std::vector<std::string>& pieces) {
  std::vector<std::string> result;
  for (const std::string& piece : pieces) result.push_back(text.push(piece));
  result.push_back(text.finish());
  return result;
}

TEST(streamed_text, shows_characters_when_they_are_complete) {
  StreamedText text({}, 0);
  EXPECT_THAT(shown(text, {"a", "\xE2", "\x82", "\xAC", "b"}), ElementsAre("a", "", "", "\xE2\x82\xAC", "b", ""));
}

TEST(streamed_text, loses_nothing_of_invalid_bytes) {
  StreamedText text({}, 0);
  EXPECT_THAT(shown(text, {"\xFF", "\xE2", "x", "\xF0\x9F"}), ElementsAre("\xFF", "", "\xE2x", "", "\xF0\x9F"));
}

TEST(streamed_text, ends_before_a_stop_string_that_crosses_pieces) {
  StreamedText text({"###"}, 0);
  EXPECT_THAT(shown(text, {"ab#", "#", "c#", "##", "later"}), ElementsAre("ab", "", "##c", "", "", ""));
  EXPECT_EQ(text.end(), StreamedText::End::kStopString);
  EXPECT_EQ(text.stop_string(), "###");
  EXPECT_EQ(text.text(), "ab##c");
}

TEST(streamed_text, gives_back_the_beginning_of_a_stop_string_that_does_not_come) {
  StreamedText text({"stop"}, 0);
  EXPECT_THAT(shown(text, {"a st", "o"}), ElementsAre("a ", "", "sto"));
  EXPECT_EQ(text.end(), StreamedText::End::kNone);
}

TEST(streamed_text, takes_the_stop_string_that_is_complete_first) {
  for (const std::vector<std::string>& pieces : {std::vector<std::string>{"xabc"}, {"x", "a", "b", "c"}}) {
    StreamedText text({"abc", "b"}, 0);
    shown(text, pieces);
    EXPECT_EQ(text.text(), "xa");
    EXPECT_EQ(text.stop_string(), "b");
  }
}

TEST(streamed_text, stays_within_its_limit_and_whole_characters) {
  StreamedText text({}, 4);
  EXPECT_THAT(shown(text, {"abc", "\xC3", "\xA9", "d"}), ElementsAre("abc", "", "", "", ""));
  EXPECT_EQ(text.end(), StreamedText::End::kMaxBytes);
  EXPECT_EQ(text.text(), "abc");
  StreamedText exact({}, 5);
  shown(exact, {"abc\xC3\xA9 more"});
  EXPECT_EQ(exact.text(), "abc\xC3\xA9");
}

TEST(streamed_text, does_not_depend_on_the_pieces) {
  Random random(3);
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    constexpr std::string_view kAlphabet = "ab#\xE2\x82\xAC\xC3\xA9\xFF";
    for (uint64_t i = random.below(40); i > 0; --i) bytes.push_back(kAlphabet[random.below(kAlphabet.size())]);
    const std::vector<std::string> stops{"#a", "ab#", "\x82\xAC"};
    const size_t limit = random.below(2) == 0 ? 0 : 1 + random.below(30);
    StreamedText whole(stops, limit);
    std::string at_once = whole.push(bytes);
    at_once += whole.finish();
    StreamedText split(stops, limit);
    std::string joined;
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = std::min<size_t>(1 + random.below(4), bytes.size() - at);
      joined += split.push(std::string_view(bytes).substr(at, size));
      at += size;
    }
    joined += split.finish();
    ASSERT_EQ(joined, at_once) << "round " << round;
    ASSERT_EQ(joined, split.text());
    ASSERT_EQ(split.end(), whole.end());
    ASSERT_EQ(split.stop_string(), whole.stop_string());
  }
}

}  // namespace
}  // namespace verbatim
