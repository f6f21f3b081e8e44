#include "text/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "text/reference/utf8_reference.h"

namespace verbatim {
namespace {

const reference::Utf8Reference& slow() {
  static const reference::Utf8Reference instance;
  return instance;
}

void expect_same_as_reference(const std::string& text) {
  const Utf8Result got = validate_utf8(text);
  const Utf8Result want = slow().validate(text);
  ASSERT_EQ(got.error, want.error) << testing::PrintToString(text);
  ASSERT_EQ(got.position, want.position) << testing::PrintToString(text);
  const CodePoint a = decode_utf8(text, 0);
  const CodePoint b = slow().decode(text, 0);
  ASSERT_EQ(a.size, b.size) << testing::PrintToString(text);
  ASSERT_EQ(a.valid, b.valid) << testing::PrintToString(text);
  ASSERT_EQ(a.value, b.value) << testing::PrintToString(text);
  ASSERT_EQ(complete_prefix_length(text), slow().complete_prefix_length(text)) << testing::PrintToString(text);
}

TEST(utf8, agrees_with_the_enumeration_on_all_strings_of_one_and_two_bytes) {
  std::string text(1, 0);
  for (int a = 0; a < 256; ++a) {
    text.assign(1, static_cast<char>(a));
    expect_same_as_reference(text);
    for (int b = 0; b < 256; ++b) {
      text.assign(1, static_cast<char>(a));
      text.push_back(static_cast<char>(b));
      expect_same_as_reference(text);
    }
  }
}

// Three and four bytes: all lead bytes above ASCII, all second bytes, and for the rest the values at which a rule
// changes.
TEST(utf8, agrees_with_the_enumeration_on_strings_of_three_and_four_bytes) {
  const std::vector<int> edges = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE1, 0xF4, 0xFF};
  std::string text;
  for (int a = 0xBE; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      for (const int c : edges) {
        text = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c)};
        expect_same_as_reference(text);
        if (HasFatalFailure()) return;
        for (const int d : edges) {
          text = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c), static_cast<char>(d)};
          expect_same_as_reference(text);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(utf8, names_each_of_the_six_errors_with_its_position) {
  const struct {
    std::string text;
    Utf8Error error;
    size_t position;
  } cases[] = {
      {"plain ASCII, long enough for the fast path\xFF", Utf8Error::kHeaderBits, 42},
      {"ab\xE2\x96", Utf8Error::kTooShort, 2},
      {"ab\xE2\x96z", Utf8Error::kTooShort, 2},
      {"\xC3\xA4\x80", Utf8Error::kTooLong, 2},
      {"\xC0\x80", Utf8Error::kOverlong, 0},
      {"a\xF4\x90\x80\x80", Utf8Error::kTooLarge, 1},
      {"abc\xED\xA0\x80", Utf8Error::kSurrogate, 3},
      {"gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80", Utf8Error::kNone, 11},
      {"", Utf8Error::kNone, 0},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(validate_utf8(c.text).error, c.error) << c.text;
    EXPECT_EQ(validate_utf8(c.text).position, c.position) << c.text;
    EXPECT_EQ(is_valid_utf8(c.text), c.error == Utf8Error::kNone);
    EXPECT_FALSE(describe(c.error).empty());
  }
}

TEST(utf8, encodes_what_it_decodes_for_every_scalar_value) {
  std::string text;
  for (char32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    text.clear();
    append_utf8(text, value);
    const CodePoint code_point = decode_utf8(text, 0);
    ASSERT_TRUE(code_point.valid);
    ASSERT_EQ(code_point.value, value);
    ASSERT_EQ(code_point.size, text.size());
  }
  EXPECT_EQ(encode_utf8(0x20AC), "\xE2\x82\xAC");
}

TEST(utf8, refuses_to_encode_surrogates_and_values_that_are_too_large) {
  EXPECT_THROW((void)encode_utf8(0xD800), InternalError);
  EXPECT_THROW((void)encode_utf8(0x110000), InternalError);
}

TEST(utf8, walks_through_invalid_bytes_one_by_one) {
  const std::string text = "a\xFF\xC3\xA4\xE2\x82z\xE2\x82\xAC";
  std::vector<size_t> positions;
  std::vector<bool> valid;
  for (const Utf8Unit& unit : Utf8Units(text)) {
    positions.push_back(unit.position);
    valid.push_back(unit.code_point.valid);
  }
  EXPECT_EQ(positions, (std::vector<size_t>{0, 1, 2, 4, 5, 6, 7}));
  EXPECT_EQ(valid, (std::vector<bool>{true, false, true, false, false, true, true}));
  EXPECT_EQ(count_utf8_units(text), 7u);
  EXPECT_EQ(replace_invalid_utf8(text), "a\xEF\xBF\xBD\xC3\xA4\xEF\xBF\xBD\xEF\xBF\xBDz\xE2\x82\xAC");
}

TEST(utf8, finds_the_boundaries_around_every_position) {
  Random random(7);
  const char* parts[] = {"a",        "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\x80", "\xF0\x9F", "\xFF",
                         "\xE2\x96", " "};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (uint64_t n = random.below(12); n > 0; --n) text += parts[random.below(std::size(parts))];
    std::vector<bool> is_boundary(text.size() + 1, false);
    is_boundary[text.size()] = true;
    for (const Utf8Unit& unit : Utf8Units(text)) is_boundary[unit.position] = true;
    for (size_t position = 0; position <= text.size(); ++position) {
      size_t before = position;
      while (!is_boundary[before]) --before;
      size_t after = position;
      while (!is_boundary[after]) ++after;
      ASSERT_EQ(utf8_boundary_before(text, position), before) << testing::PrintToString(text) << " at " << position;
      ASSERT_EQ(utf8_boundary_after(text, position), after) << testing::PrintToString(text) << " at " << position;
    }
  }
}

TEST(utf8, a_stream_shows_whole_characters_only_and_is_never_blocked) {
  // Shown parts put together are the text, whatever the text is; a valid text is never cut inside a character.
  Random random(11);
  for (int round = 0; round < 500; ++round) {
    const bool valid = round % 2 == 0;
    std::string text;
    for (uint64_t n = 1 + random.below(20); n > 0; --n) {
      if (valid) {
        static constexpr char32_t kValues[] = {U'a', 0xE4, 0x20AC, 0x1F600, 0x10FFFF, 0x800, 0xFFFF};
        append_utf8(text, kValues[random.below(std::size(kValues))]);
      } else {
        text.push_back(static_cast<char>(random.below(256)));
      }
    }
    std::string pending;
    std::string shown;
    for (const char byte : text) {
      pending.push_back(byte);
      const size_t ready = complete_prefix_length(pending);
      ASSERT_LE(pending.size() - ready, 3u);
      if (valid) {
        ASSERT_TRUE(is_valid_utf8(pending.substr(0, ready)));
      }
      shown += pending.substr(0, ready);
      pending.erase(0, ready);
    }
    EXPECT_EQ(shown + pending, text);
    if (valid) {
      EXPECT_TRUE(pending.empty());
    }
  }
}

}  // namespace
}  // namespace verbatim
