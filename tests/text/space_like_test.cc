#include "text/space_like.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace verbatim {
namespace {

TEST(space_like, follows_the_published_ranges) {
  for (int byte = 0; byte < 256; ++byte) {
    const bool want = byte < '0' || (byte > '9' && byte < 'A') || (byte > 'Z' && byte < 'a') ||
                      (byte >= '{' && byte <= 0x7F) || byte >= 0xC0;
    EXPECT_EQ(is_space_like(static_cast<uint8_t>(byte)), want) << byte;
  }
}

TEST(space_like, starts_patches_at_the_first_byte_of_a_space_like_run) {
  const std::string_view text = "To be, or \xE4\xB8\xAD\xE6\x96\x87x";
  std::string starts;
  for (size_t i = 1; i < text.size(); ++i) {
    starts += starts_space_patch(static_cast<uint8_t>(text[i - 1]), static_cast<uint8_t>(text[i])) ? '^' : '.';
  }
  // The first ideograph follows a space, so its lead byte continues a run; the second follows a continuation byte.
  EXPECT_EQ(starts, ".^..^...^...^...");
}

}  // namespace
}  // namespace verbatim
