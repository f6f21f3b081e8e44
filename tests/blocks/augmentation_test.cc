#include "blocks/augmentation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "blocks/utf32.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(augmentation, makes_up_scripts_of_neighbouring_code_points) {
  Random random(3);
  size_t ascii = 0, all = 0, far = 0, stray = 0;
  for (int round = 0; round < 200; ++round) {
    std::u32string units;
    append_made_up_script(64, random, units);
    ASSERT_EQ(units.size(), 64u);
    char32_t least = ~char32_t{0}, most = 0;
    for (const char32_t unit : units) {
      ++all;
      if (unit >= 0x110000u) {
        ASSERT_TRUE(is_escape(unit));
        ++stray;
        continue;
      }
      ASSERT_FALSE(unit >= 0xD800 && unit <= 0xDFFF);
      if (unit < 0x80) {
        ++ascii;
        continue;
      }
      least = std::min(least, unit);
      most = std::max(most, unit);
    }
    far += most > least && most - least >= 256 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(stray) / static_cast<double>(all), 0.01, 0.005);
  EXPECT_NEAR(static_cast<double>(ascii) / static_cast<double>(all), 0.2, 0.03);
  EXPECT_LE(far, 10u) << "only stretches beside surrogates have others in their place";
}

TEST(augmentation, makes_up_sequences_of_emoji) {
  Random random(5);
  std::set<char32_t> tags, regional;
  size_t joined = 0, keycaps = 0, skins = 0, ideographic = 0;
  for (int round = 0; round < 200; ++round) {
    std::u32string units;
    append_made_up_emoji(64, random, units);
    ASSERT_GE(units.size(), 64u);
    for (size_t i = 0; i < units.size(); ++i) {
      const char32_t unit = units[i];
      ASSERT_TRUE(unit < 0xD800 || (unit > 0xDFFF && unit < 0x110000u)) << std::hex << uint32_t{unit};
      joined += unit == 0x200D ? 1 : 0;
      keycaps += unit == 0x20E3 ? 1 : 0;
      skins += unit >= 0x1F3FB && unit <= 0x1F3FF ? 1 : 0;
      ideographic += unit >= 0xE0100 && unit <= 0xE01EF ? 1 : 0;
      if (unit >= 0x1F1E6 && unit <= 0x1F1FF) regional.insert(unit);
      if (unit < 0xE0020 || unit > 0xE007F) continue;
      tags.insert(unit);
      // A flag is whole: a tag goes on to its end, behind a black flag.
      ASSERT_GT(i, 0u);
      EXPECT_TRUE(units[i - 1] == 0x1F3F4 || (units[i - 1] >= 0xE0020 && units[i - 1] < 0xE007F));
      EXPECT_TRUE(unit == 0xE007F || (i + 1 < units.size() && units[i + 1] >= 0xE0020 && units[i + 1] <= 0xE007F));
    }
  }
  EXPECT_EQ(tags.size(), 96u);
  EXPECT_EQ(regional.size(), 26u);
  for (const size_t found : {joined, keycaps, skins, ideographic}) EXPECT_GT(found, 100u);
}

TEST(augmentation, draws_scalar_values_of_all_planes_alike) {
  Random random(1);
  std::u32string units;
  append_random_units(170'000, RandomUnits::kScalarValues, random, units);
  std::array<int, 17> in_plane{};
  for (const char32_t unit : units) {
    ASSERT_LE(unit, 0x10FFFFu);
    ASSERT_FALSE(unit >= 0xD800 && unit <= 0xDFFF);
    ++in_plane[unit >> 16];
  }
  // 10,000 expected in each, a standard deviation of 97; plane 0 lacks the 2048 surrogates.
  EXPECT_NEAR(in_plane[0], 9700, 600);
  for (size_t plane = 1; plane < 17; ++plane) EXPECT_NEAR(in_plane[plane], 10'000, 600) << plane;
}

TEST(augmentation, draws_the_published_range_with_its_surrogates) {
  Random random(2);
  std::u32string units;
  append_random_units(100'000, RandomUnits::kPublished, random, units);
  EXPECT_LT(*std::max_element(units.begin(), units.end()), 0x40000u);
  EXPECT_GT(*std::max_element(units.begin(), units.end()), 0x3FF00u);
  const auto surrogates =
      std::count_if(units.begin(), units.end(), [](char32_t unit) { return unit >= 0xD800 && unit <= 0xDFFF; });
  EXPECT_NEAR(static_cast<double>(surrogates), 781, 150);  // 0.8 %
}

TEST(augmentation, is_the_same_with_the_same_generator) {
  const std::u32string text(1000, U'x');
  const NoiseOptions noise{.replace = 0.1, .insert = 0.1, .remove = 0.1, .exchange = 0.1};
  Random a(3), b(3), c(4);
  EXPECT_EQ(add_noise(text, noise, a), add_noise(text, noise, b));
  EXPECT_EQ(a, b);
  EXPECT_NE(add_noise(text, noise, a), add_noise(text, noise, c));
}

TEST(augmentation, adds_each_kind_of_noise_as_often_as_asked) {
  std::u32string text;
  for (char32_t i = 0; i < 20'000; ++i) text.push_back(0x4E00 + i % 20'000);
  Random random(5);
  const auto differing = [&](const std::u32string& noisy) {
    int count = 0;
    for (size_t i = 0; i < text.size(); ++i) count += noisy[i] != text[i];
    return count;
  };
  EXPECT_EQ(add_noise(text, {}, random), text);

  const std::u32string replaced = add_noise(text, {.replace = 0.1}, random);
  ASSERT_EQ(replaced.size(), text.size());
  EXPECT_NEAR(differing(replaced), 2000, 200);

  const std::u32string longer = add_noise(text, {.insert = 0.1, .foreign = 1}, random);
  EXPECT_NEAR(static_cast<double>(longer.size()), 22'000, 200);
  // The text is still there, in its order.
  size_t found = 0;
  for (const char32_t unit : longer) found += found < text.size() && unit == text[found] ? 1 : 0;
  EXPECT_EQ(found, text.size());

  const std::u32string shorter = add_noise(text, {.remove = 0.1}, random);
  EXPECT_NEAR(static_cast<double>(shorter.size()), 18'000, 200);
  EXPECT_TRUE(std::is_sorted(shorter.begin(), shorter.end()));

  const std::u32string exchanged = add_noise(text, {.exchange = 0.1}, random);
  ASSERT_EQ(exchanged.size(), text.size());
  EXPECT_NEAR(differing(exchanged), 2 * 20'000 * 0.1 / 1.1, 300);
  std::u32string sorted = exchanged;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, text);
}

TEST(augmentation, takes_other_characters_from_the_text_or_from_everywhere) {
  const std::u32string text = U"abababababababababab";
  Random random(6);
  const std::u32string own = add_noise(text, {.replace = 1, .foreign = 0}, random);
  EXPECT_EQ(own.find_first_not_of(U"ab"), std::u32string::npos);
  const std::u32string foreign = add_noise(text, {.replace = 1, .foreign = 1}, random);
  const std::set<char32_t> different(foreign.begin(), foreign.end());
  EXPECT_GT(different.size(), 15u);
  EXPECT_EQ(add_noise(U"", {.insert = 1}, random), U"");
}

TEST(augmentation, changes_letters_one_for_one) {
  Random random(7);
  const std::u32string text = U"Straße, Мир, Ελλάς, 世界 ǅ ﬁ 1";
  EXPECT_EQ(change_case(text, CaseChange::kLower, 1, random), U"straße, мир, ελλάς, 世界 ǆ ﬁ 1");
  const std::u32string upper = change_case(text, CaseChange::kUpper, 1, random);
  EXPECT_EQ(upper.size(), text.size());
  EXPECT_EQ(upper.substr(6), U", МИР, ΕΛΛΆΣ, 世界 Ǆ ﬁ 1");
  EXPECT_EQ(upper.substr(0, 4), U"STRA");
  EXPECT_EQ(change_case(U"aBc", CaseChange::kSwap, 1, random), U"AbC");
  EXPECT_EQ(change_case(text, CaseChange::kUpper, 0, random), text);
  const std::u32string half = change_case(std::u32string(10'000, U'a'), CaseChange::kUpper, 0.5, random);
  EXPECT_NEAR(static_cast<double>(std::count(half.begin(), half.end(), U'A')), 5000, 300);
  const std::u32string escapes = {0x110000, 0x1100E2, 0xFFFFFFFF};
  EXPECT_EQ(change_case(escapes, CaseChange::kSwap, 1, random), escapes);
}

TEST(augmentation, shifts_to_every_place_of_a_block) {
  Random random(8);
  std::array<int, 16> shifts{};
  for (int i = 0; i < 16'000; ++i) {
    const std::u32string shifted = shift_randomly(U"text", 15, random);
    ASSERT_GE(shifted.size(), 4u);
    const size_t shift = shifted.size() - 4;
    ASSERT_LT(shift, 16u);
    ASSERT_EQ(shifted, std::u32string(shift, U'\0') + U"text");
    ++shifts[shift];
  }
  for (const int count : shifts) EXPECT_NEAR(count, 1000, 200);
  EXPECT_EQ(shift_randomly(U"text", 0, random), U"text");
}

TEST(augmentation, refuses_chances_that_are_none) {
  Random random(9);
  EXPECT_THAT([&] { (void)add_noise(U"a", {.replace = 1.5}, random); },
              ThrowsMessage<InputError>(HasSubstr("replace is 1.5")));
  EXPECT_THAT([&] { (void)add_noise(U"a", {.remove = -0.1}, random); }, ThrowsMessage<InputError>(HasSubstr("remove")));
  EXPECT_THROW((void)add_noise(U"a", {.insert = std::nan("")}, random), InputError);
  EXPECT_THAT([&] { (void)add_noise(U"a", {.replace = 0.6, .insert = 0.6}, random); },
              ThrowsMessage<InputError>(HasSubstr("add up to 1.2")));
  EXPECT_THROW((void)change_case(U"a", CaseChange::kUpper, 2, random), InputError);
}

}  // namespace
}  // namespace verbatim
