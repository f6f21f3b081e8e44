#include "blocks/chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "blocks/golden.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(chain, has_the_sizes_of_the_published_family) {
  const struct {
    const char* name;
    uint32_t bytes;
    double characters;
    size_t depth;
  } family[] = {
      {"1", 1, 0.25, 1},      {"4", 4, 1, 1},         {"4x4", 16, 4, 2},    {"16", 16, 4, 1},
      {"4x4x4", 64, 16, 3},   {"4x16", 64, 16, 2},    {"16x4", 64, 16, 2},  {"64", 64, 16, 1},
      {"2x2x2x8", 64, 16, 4}, {"4x4x16", 256, 64, 3}, {"4x64", 256, 64, 2},
  };
  for (const auto& member : family) {
    const Chain chain = parse_chain(member.name);
    EXPECT_EQ(chain.block_bytes(), member.bytes) << member.name;
    EXPECT_EQ(chain.block_characters(), member.characters) << member.name;
    EXPECT_EQ(chain.factors.size(), member.depth) << member.name;
    EXPECT_EQ(chain.name(), member.name);
  }
}

TEST(chain, refuses_what_is_none_and_says_what_it_expects) {
  for (const char* text : {"", "x", "4x", "x4", "4xx4", "4,4", "4X4", "-4", "+4", " 4", "4 ", "4.0", "four", "4x\xFF",
                           "4294967296", "99999999999999999999"}) {
    EXPECT_THAT([&] { (void)parse_chain(text); }, ThrowsMessage<InputError>(HasSubstr("4x4x4"))) << text;
  }
  EXPECT_THAT([] { (void)parse_chain("4x0"); }, ThrowsMessage<InputError>(HasSubstr("a factor is 0")));
  EXPECT_THAT([] { (void)parse_chain("65537"); }, ThrowsMessage<InputError>(HasSubstr("more than 65536 bytes")));
  EXPECT_THAT([] { (void)parse_chain("65536x65536x65536x65536x65536"); },
              ThrowsMessage<InputError>(HasSubstr("more than 65536 bytes")));
  EXPECT_THAT([] { (void)parse_chain("1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1"); },
              ThrowsMessage<InputError>(HasSubstr("17 factors")));
  EXPECT_THROW(check_chain({}), InputError);
  EXPECT_EQ(parse_chain("65536").block_bytes(), 65536u);
}

TEST(chain, groups_blocks_into_the_shapes_of_the_goldens) {
  SKIP_WITHOUT_GOLDEN();
  size_t shapes = 0;
  for (const golden::Json& row : golden::read_lines("blocks.jsonl")) {
    for (const char* name : {"4x4", "4x4x4", "4x16", "16x4"}) {
      const Chain chain = parse_chain(name);
      const golden::Json& blocks = row["blocks"][std::to_string(chain.block_bytes())];
      EXPECT_EQ(grouped_shape(chain, blocks["count"]), row[std::string("shape_") + name].get<std::vector<uint64_t>>())
          << row["id"] << " " << name;
      ++shapes;
    }
  }
  EXPECT_EQ(shapes, 67u * 4);
}

}  // namespace
}  // namespace verbatim
