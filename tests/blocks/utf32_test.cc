#include "blocks/utf32.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "blocks/golden.h"
#include "blocks/reference/plain_blocks.h"
#include "blocks/some_texts.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

using namespace std::string_literals;

std::string stream_of(std::string_view text, NulForm nul = NulForm::kZero) {
  std::string stream;
  append_utf32be(text, stream, nul);
  return stream;
}

std::string text_of(std::string_view stream, Escapes escapes = Escapes::kRestore) {
  std::string text;
  (void)append_text(stream, escapes, text);
  return text;
}

void expect_same_as_plain(const std::string& text) {
  for (const NulForm nul : {NulForm::kZero, NulForm::kEscaped}) {
    const std::u32string units = reference::plain_units(text, nul);
    ASSERT_EQ(to_units(text, nul), units) << testing::PrintToString(text);
    const std::string stream = stream_of(text, nul);
    ASSERT_EQ(stream, reference::plain_stream(units)) << testing::PrintToString(text);
    ASSERT_EQ(text_of(stream), text) << testing::PrintToString(text);
    size_t bytes = 0;
    for (const char32_t unit : units) bytes += text_bytes_of(unit);
    ASSERT_EQ(bytes, text.size());
    if (nul == NulForm::kEscaped) {
      ASSERT_EQ(units.find(U'\0'), std::u32string::npos);
    }
  }
}

TEST(utf32, has_the_streams_of_the_goldens) {
  SKIP_WITHOUT_GOLDEN();
  size_t texts = 0;
  for (const golden::Json& row : golden::read_lines("blocks.jsonl")) {
    const std::string text = row["text"];
    EXPECT_EQ(text.size(), row["utf8_bytes"]) << row["id"];
    EXPECT_EQ(to_units(text), golden::code_points(row["codepoints"])) << row["id"];
    const std::string stream = stream_of(text);
    EXPECT_EQ(stream, golden::from_hex(row["utf32be"])) << row["id"];
    EXPECT_EQ(stream.size(), row["utf32be_bytes"]) << row["id"];
    EXPECT_EQ(std::count(stream.begin(), stream.end(), '\0'), row["zero_bytes"].get<ptrdiff_t>()) << row["id"];
    EXPECT_EQ(text_of(stream), text) << row["id"];
    ++texts;
  }
  EXPECT_EQ(texts, 67u);
}

TEST(utf32, turns_streams_that_are_no_text_into_the_goldens) {
  SKIP_WITHOUT_GOLDEN();
  size_t rows = 0;
  for (const golden::Json& row : golden::read_lines("inverse.jsonl")) {
    const std::string stream = golden::from_hex(row["hex"]);
    std::string text;
    const uint64_t replaced = append_text(stream, Escapes::kReplace, text);
    EXPECT_EQ(to_units(text), golden::code_points(row["codepoints"])) << row["id"];
    EXPECT_EQ(replaced, static_cast<uint64_t>(std::count(row["codepoints"].begin(), row["codepoints"].end(), 0xFFFD)))
        << row["id"];
    EXPECT_EQ(to_units(published_text(stream)), golden::code_points(row["stripped"])) << row["id"];
    ++rows;
  }
  EXPECT_EQ(rows, 14u);
}

TEST(utf32, gives_every_scalar_value_four_bytes_and_gets_it_back) {
  std::string text;
  std::u32string units;
  for (char32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    append_utf8(text, value);
    units.push_back(value);
  }
  ASSERT_EQ(units.size(), 1112064u);
  const std::string stream = stream_of(text);
  ASSERT_EQ(stream, reference::plain_stream(units));
  ASSERT_EQ(text_of(stream), text);
  ASSERT_EQ(text_of(stream, Escapes::kReplace), text);
}

TEST(utf32, escapes_bytes_that_are_no_characters_one_by_one) {
  // A lone surrogate as some programs write it, an overlong slash, a character cut short, a stray byte.
  EXPECT_EQ(to_units("\xED\xA0\x80"), (std::u32string{0x1100ED, 0x1100A0, 0x110080}));
  EXPECT_EQ(to_units("\xC0\xAF"), (std::u32string{0x1100C0, 0x1100AF}));
  EXPECT_EQ(to_units("a\xE2\x82"), (std::u32string{'a', 0x1100E2, 0x110082}));
  EXPECT_EQ(to_units("\xFF\xC3\xA9"), (std::u32string{0x1100FF, 0xE9}));
  EXPECT_EQ(to_units("\0a"s), (std::u32string{0, 'a'}));
  EXPECT_EQ(to_units("\0a"s, NulForm::kEscaped), (std::u32string{0x110000, 'a'}));
  for (int byte = 0; byte < 256; ++byte) EXPECT_EQ(is_escape(0x110000 + byte), byte == 0 || byte >= 0x80) << byte;
  EXPECT_FALSE(is_escape(0x10FFFF));
  EXPECT_FALSE(is_escape(0x110100));
}

TEST(utf32, survives_every_byte_string) {
  for (const std::string& text : some_texts()) expect_same_as_plain(text);
  Random random(1);
  for (size_t i = 0; i < 2000; ++i) {
    expect_same_as_plain(random_text(random.below(200), random));
    if (HasFatalFailure()) FAIL() << "text " << i << " of seed 1";
  }
  // Longer than one part of a conversion, with a change of script at every distance from its end.
  for (size_t letters = 1000; letters < 1060; ++letters) {
    expect_same_as_plain(std::string(letters, 'a') + "\xD1\x8F\xE4\xB8\x96\xF0\x9F\x98\x80\xFFz");
  }
}

TEST(utf32, agrees_with_the_definition_on_any_units) {
  Random random(2);
  const char32_t edges[] = {0,        0x7F,     0x80,     0x7FF,    0x800,     0xD7FF,    0xD800,
                            0xDFFF,   0xE000,   0xFFFF,   0x10000,  0x10FFFF,  0x110000,  0x110001,
                            0x11007F, 0x110080, 0x1100FF, 0x110100, 0x1000061, 0xFFFFFFFF};
  for (size_t i = 0; i < 2000; ++i) {
    std::u32string units;
    for (uint64_t left = random.below(60); left > 0; --left) {
      units.append(random.below(20) == 0 ? 20 : 1,
                   random.below(2) == 0 ? edges[random.below(std::size(edges))] : U'a' + char32_t(random.below(26)));
    }
    std::string stream;
    append_utf32be(units, stream);
    ASSERT_EQ(stream, reference::plain_stream(units));
    stream.append(random.below(4), '\0');  // a rest of fewer than four bytes
    for (const Escapes escapes : {Escapes::kRestore, Escapes::kReplace}) {
      const reference::PlainText plain = reference::plain_text(stream, escapes);
      std::string text = "before ";
      ASSERT_EQ(append_text(stream, escapes, text), plain.replaced);
      ASSERT_EQ(text, "before " + plain.text);
      if (escapes == Escapes::kReplace) {
        ASSERT_TRUE(is_valid_utf8(text));
      }
    }
  }
}

TEST(utf32, counts_the_bytes_that_a_unit_stands_for) {
  for (char32_t unit = 0; unit <= 0x110200; ++unit) {
    ASSERT_EQ(text_bytes_of(unit),
              reference::plain_text(reference::plain_stream({&unit, 1}), Escapes::kRestore).text.size())
        << uint32_t{unit};
  }
  EXPECT_EQ(text_bytes_of(0xFFFFFFFF), 3u);
}

TEST(utf32, strips_nul_at_both_ends_only) {
  EXPECT_EQ(strip_nul("\0\0a\0b\0"s), "a\0b"s);
  EXPECT_EQ(strip_nul("\0\0"s), "");
  EXPECT_EQ(strip_nul(""), "");
}

}  // namespace
}  // namespace verbatim
