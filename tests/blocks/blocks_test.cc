#include "blocks/blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "blocks/golden.h"
#include "blocks/reference/plain_blocks.h"
#include "blocks/some_texts.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using namespace std::string_literals;

Blocks encode(const BlockCoder& coder, std::string_view text) {
  Blocks blocks;
  coder.encode(text, blocks);
  return blocks;
}

std::vector<std::string> list_of(const Blocks& blocks) {
  std::vector<std::string> list;
  if (blocks.size() == 0) return list;
  const size_t block_bytes = blocks.bytes.size() / blocks.size();
  for (size_t i = 0; i < blocks.size(); ++i) list.push_back(blocks.bytes.substr(i * block_bytes, block_bytes));
  return list;
}

std::vector<std::string> from_hex(const golden::Json& list) {
  std::vector<std::string> blocks;
  for (const golden::Json& digits : list) blocks.push_back(golden::from_hex(digits));
  return blocks;
}

TEST(blocks, are_those_of_the_goldens) {
  SKIP_WITHOUT_GOLDEN();
  size_t cases = 0;
  for (const golden::Json& row : golden::read_lines("blocks.jsonl")) {
    const std::string text = row["text"];
    // Chains of the same size make the same blocks.
    for (const char* name : {"4", "4x4", "16", "4x4x4", "4x16", "16x4", "64", "2x2x2x8"}) {
      const BlockCoder coder({.chain = parse_chain(name)});
      const golden::Json& expected = row["blocks"][std::to_string(coder.block_bytes())];
      const Blocks blocks = encode(coder, text);
      const std::string where = row["id"].get<std::string>() + " " + name;
      EXPECT_EQ(list_of(blocks), from_hex(expected["hex"])) << where;
      EXPECT_EQ(blocks.size(), expected["count"]) << where;
      EXPECT_EQ(coder.count(text), expected["count"]) << where;
      const uint32_t padding = blocks.size() == 0 ? 0 : coder.block_bytes() - blocks.lengths.back();
      EXPECT_EQ(padding, expected["pad_bytes"]) << where;
      std::string padded_text;
      EXPECT_EQ(append_text(blocks.bytes, Escapes::kReplace, padded_text), 0u) << where;
      EXPECT_EQ(to_units(padded_text), golden::code_points(expected["decoded_codepoints"])) << where;
      EXPECT_EQ(published_text(blocks.bytes) == text, expected["stripped_equals_input"]) << where;
      EXPECT_EQ(coder.decode(blocks).text, text) << where;
      ++cases;
    }
  }
  EXPECT_EQ(cases, 67u * 8);
}

TEST(blocks, of_shifted_texts_are_those_of_the_goldens) {
  SKIP_WITHOUT_GOLDEN();
  const std::map<std::string, std::string> texts = golden::texts();
  size_t cases = 0;
  for (const golden::Json& row : golden::read_lines("shift.jsonl")) {
    const std::string& text = texts.at(row["id"]);
    const BlockCoder coder({.chain = parse_chain("4x4x4"), .shift = row["shift"]});
    const Blocks blocks = encode(coder, text);
    EXPECT_EQ(list_of(blocks), from_hex(row["hex"])) << row["id"] << row["shift"];
    EXPECT_EQ(blocks.size(), row["block_count"]);
    EXPECT_EQ(coder.count(text), row["block_count"]);
    EXPECT_EQ(64 - blocks.lengths.back(), row["pad_bytes"]);
    const std::vector<std::string> unshifted = list_of(encode(BlockCoder({.chain = parse_chain("64")}), text));
    const std::set<std::string> known(unshifted.begin(), unshifted.end());
    int shared = 0;
    for (const std::string& block : list_of(blocks)) shared += static_cast<int>(known.count(block));
    EXPECT_EQ(shared, row["blocks_shared_with_unshifted"]) << row["id"] << row["shift"];
    EXPECT_EQ(published_text(blocks.bytes) == text, row["stripped"]);
    EXPECT_EQ(coder.decode(blocks).text, text);
    EXPECT_EQ(blocks.ends.back(), text.size());
    ++cases;
  }
  EXPECT_EQ(cases, 96u);
}

TEST(blocks, fixed_rows_are_those_of_the_goldens) {
  SKIP_WITHOUT_GOLDEN();
  const std::map<std::string, std::string> texts = golden::texts();
  size_t cases = 0;
  for (const golden::Json& row : golden::read_lines("fixed_sample.jsonl")) {
    const std::string& text = texts.at(row["id"]);
    const std::string got = fixed_row(text, row["sample_chars"], Chain{{row["block_bytes"].get<uint32_t>()}});
    EXPECT_EQ(got, golden::from_hex(row["hex"])) << row["id"] << row["sample_chars"];
    EXPECT_EQ(got.size(), row["row_bytes"]);
    EXPECT_EQ(to_units(text).size() * 4 > got.size(), row["truncated"]);
    ++cases;
  }
  EXPECT_EQ(cases, 36u);
}

// Whatever the settings: the text comes back, the blocks tile it, and only lengths say what is padding.
void expect_lossless(const BlockOptions& options, const std::string& text) {
  const BlockCoder coder(options);
  const Blocks blocks = encode(coder, text);
  ASSERT_EQ(blocks.bytes.size(), blocks.size() * coder.block_bytes());
  ASSERT_EQ(blocks.ends.size(), blocks.size());
  ASSERT_EQ(coder.count(text), blocks.size());
  const DecodedText decoded = coder.decode(blocks);
  ASSERT_EQ(decoded.text, text);
  ASSERT_EQ(decoded.replaced, 0u);
  ASSERT_EQ(blocks.size() == 0, text.empty());
  if (text.empty()) return;
  ASSERT_EQ(blocks.ends.back(), text.size());
  const std::vector<std::string> list = list_of(blocks);
  std::string stream;
  std::string so_far;  // the text of the characters that are complete
  size_t units = 0;    // how many these are, zeros in front left out
  for (size_t i = 0; i < list.size(); ++i) {
    ASSERT_GT(blocks.lengths[i], 0u);
    ASSERT_EQ(list[i].find_first_not_of('\0', blocks.lengths[i]), std::string::npos);
    stream += list[i].substr(0, blocks.lengths[i]);
    for (; 4 * (options.shift + units + 1) <= stream.size(); ++units) {
      const std::string_view unit = std::string_view(stream).substr(4 * (options.shift + units), 4);
      so_far += reference::plain_text(unit, Escapes::kRestore).text;
    }
    ASSERT_EQ(blocks.ends[i], so_far.size());
  }
  ASSERT_EQ(so_far, text);
  const std::string expected =
      std::string(4 * options.shift, '\0') + reference::plain_stream(reference::plain_units(text, options.nul));
  ASSERT_EQ(stream, expected);
  if (options.nul == NulForm::kEscaped) {
    ASSERT_EQ(coder.decode_without_lengths(blocks.bytes).text, text);
  }
}

TEST(blocks, give_every_byte_string_back) {
  std::vector<std::string> texts = some_texts();
  Random random(3);
  for (size_t i = 0; i < 40; ++i) texts.push_back(random_text(random.below(60), random));
  for (const char* name : {"1", "2", "4", "4x4", "4x4x4", "4x16", "4x4x16", "3x2", "7"}) {
    for (const uint32_t shift : {0u, 1u, 5u, 33u}) {
      for (const NulForm nul : {NulForm::kZero, NulForm::kEscaped}) {
        for (const bool by_content : {false, true}) {
          BlockOptions options{.chain = parse_chain(name), .shift = shift, .nul = nul};
          if (by_content && options.chain.block_bytes() % 4 != 0) continue;
          if (by_content) options.borders = BorderOptions{};
          for (const std::string& text : texts) {
            expect_lossless(options, text);
            if (HasFatalFailure()) FAIL() << name << " shift " << shift << ": " << testing::PrintToString(text);
          }
        }
      }
    }
  }
}

TEST(blocks, of_units_are_the_blocks_of_their_text) {
  Random random(4);
  for (size_t i = 0; i < 200; ++i) {
    const std::string text = random_text(random.below(100), random);
    const BlockCoder coder({.chain = parse_chain("4x4"), .shift = 2});
    Blocks from_units;
    coder.encode(to_units(text), from_units);
    const Blocks from_text = encode(coder, text);
    ASSERT_EQ(from_units.bytes, from_text.bytes);
    ASSERT_EQ(from_units.lengths, from_text.lengths);
    ASSERT_EQ(from_units.ends, from_text.ends);
  }
}

TEST(blocks, keep_ten_million_bytes_without_a_line_break) {
  std::string text;
  Random random(5);
  while (text.size() < 10'000'000) append_utf8(text, static_cast<char32_t>(0x400 + random.below(0x100)));
  for (const bool by_content : {false, true}) {
    BlockOptions options;
    if (by_content) options.borders = BorderOptions{};
    const BlockCoder coder(options);
    const Blocks blocks = encode(coder, text);
    EXPECT_GE(blocks.size(), text.size() / 2 / 16);
    EXPECT_TRUE(coder.decode(blocks).text == text);
  }
}

// What a model writes in the place of the blocks need not be text.
TEST(blocks, that_a_model_has_written_never_become_invalid_text_when_escapes_are_replaced) {
  const BlockCoder coder({.chain = parse_chain("4x4")});
  Blocks blocks = encode(coder, "four");
  blocks.bytes[2] = '\x11';  // U+1166, fine
  blocks.bytes[5] = '\x11';  // 0x11006F: no code point and no escape
  blocks.bytes[9] = '\x11';
  blocks.bytes[11] = '\xE2';  // 0x1100E2: an escaped byte
  blocks.bytes[14] = '\xDC';  // a surrogate
  const DecodedText valid = coder.decode(blocks, Escapes::kReplace);
  EXPECT_EQ(valid.text, "\xE1\x85\xA6\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(valid.replaced, 3u);
  const DecodedText restored = coder.decode(blocks);
  EXPECT_EQ(restored.text, "\xE1\x85\xA6\xEF\xBF\xBD\xE2\xEF\xBF\xBD");
  EXPECT_EQ(restored.replaced, 2u);
}

TEST(blocks, without_lengths_need_escaped_nul) {
  const BlockCoder coder({.chain = parse_chain("4x4"), .nul = NulForm::kEscaped});
  const std::string text = "\0ab\0\0"s;
  EXPECT_EQ(coder.decode_without_lengths(encode(coder, text).bytes).text, text);
  EXPECT_THROW((void)BlockCoder({.chain = parse_chain("4x4")}).decode_without_lengths("1234"), InternalError);
}

TEST(blocks, refuse_settings_that_cannot_be) {
  EXPECT_THROW(BlockCoder({.chain = {}}), InputError);
  EXPECT_THAT([] { BlockCoder({.shift = 70000}); }, ThrowsMessage<InputError>(HasSubstr("shift of 70000")));
  EXPECT_THAT([] { BlockCoder({.chain = parse_chain("2"), .borders = BorderOptions{}}); },
              ThrowsMessage<InputError>(HasSubstr("whole characters")));
  EXPECT_THAT([] { BlockCoder({.chain = parse_chain("4x4"), .borders = BorderOptions{.maximum = 5}}); },
              ThrowsMessage<InputError>(HasSubstr("room for 4")));
}

}  // namespace
}  // namespace verbatim
