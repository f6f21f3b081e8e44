#include "blocks/augmentation.h"

#include <utf8proc.h>

#include <iterator>

#include "base/error.h"
#include "blocks/utf32.h"

namespace verbatim {
namespace {

constexpr char32_t kFirstSurrogate = 0xD800;
constexpr char32_t kSurrogates = 0x800;
constexpr char32_t kCodePoints = 0x110000;
constexpr char32_t kPublishedUnits = 0x40000;
constexpr char32_t kAlphabets = 0x3400;   // most scripts lie below,
constexpr char32_t kTwoPlanes = 0x20000;  // and nearly all below this

void check_chance(const char* name, double chance) {
  if (!(chance >= 0 && chance <= 1)) throw_input("the chance of {} is {}, expected 0 to 1", name, chance);
}

char32_t with_case(char32_t unit, CaseChange change) {
  if (unit >= kCodePoints) return unit;
  const auto value = static_cast<utf8proc_int32_t>(unit);
  const auto lower = static_cast<char32_t>(utf8proc_tolower(value));
  const auto upper = static_cast<char32_t>(utf8proc_toupper(value));
  switch (change) {
    case CaseChange::kUpper:
      return upper;
    case CaseChange::kLower:
      return lower;
    case CaseChange::kSwap:
      return lower != unit ? lower : upper;
  }
  return unit;
}

}  // namespace

char32_t random_unit(RandomUnits which, Random& random) {
  if (which == RandomUnits::kPublished) return static_cast<char32_t>(random.below(kPublishedUnits));
  const auto value = static_cast<char32_t>(random.below(kCodePoints - kSurrogates));
  return value < kFirstSurrogate ? value : value + kSurrogates;
}

void append_random_units(size_t count, RandomUnits which, Random& random, std::u32string& units) {
  units.reserve(units.size() + count);
  for (size_t i = 0; i < count; ++i) units.push_back(random_unit(which, random));
}

void append_made_up_script(size_t count, Random& random, std::u32string& units) {
  constexpr char32_t kStretch = 256;
  constexpr double kAscii = 0.2;
  constexpr double kStray = 0.01;
  const char32_t most = random.uniform() < 0.5 ? kAlphabets : kTwoPlanes;
  const auto begin = static_cast<char32_t>(random.below(most - kStretch));
  while (count > 0) {
    char32_t unit = random.uniform() < kAscii ? ' ' + static_cast<char32_t>(random.below(0x7F - ' '))
                                              : begin + static_cast<char32_t>(random.below(kStretch));
    if (unit - kFirstSurrogate < kSurrogates) unit = random_unit(RandomUnits::kScalarValues, random);
    if (random.uniform() < kStray) {
      const auto byte = static_cast<char32_t>(random.below(0x81));
      unit = kEscape + (byte == 0x80 ? 0 : 0x80 + byte);
    }
    units.push_back(unit);
    --count;
  }
}

namespace {

// First and last code points.
struct UnitRange {
  char32_t first, last;
};
char32_t unit_of(UnitRange range, Random& random) {
  return range.first + static_cast<char32_t>(random.below(uint64_t{range.last} - range.first + 1));
}

// Unicode Technical Standard 51, section 1.4.9, and the Unicode standard, section 23.4.
constexpr UnitRange kEmojiRanges[] = {
    {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x1FA70, 0x1FAFF}, {0x2600, 0x27BF}};
constexpr UnitRange kSkinTones = {0x1F3FB, 0x1F3FF};
constexpr UnitRange kRegionalLetters = {0x1F1E6, 0x1F1FF};
constexpr UnitRange kTags = {0xE0020, 0xE007E};
constexpr UnitRange kLowerTags = {0xE0061, 0xE007A};
constexpr UnitRange kIdeographs = {0x4E00, 0x9FFF};
constexpr UnitRange kIdeographicSelectors = {0xE0100, 0xE01EF};
constexpr char32_t kJoiner = 0x200D, kEmojiSelector = 0xFE0F, kKeycap = 0x20E3, kBlackFlag = 0x1F3F4, kTagEnd = 0xE007F;

char32_t emoji(Random& random) { return unit_of(kEmojiRanges[random.below(std::size(kEmojiRanges))], random); }

void append_joined_emoji(Random& random, std::u32string& units) {
  constexpr double kJoins = 0.4;
  do {
    units.push_back(emoji(random));
    const double draw = random.uniform();
    if (draw < 0.25) units.push_back(unit_of(kSkinTones, random));
    if (draw > 0.75) units.push_back(kEmojiSelector);
    if (random.uniform() >= kJoins) return;
    units.push_back(kJoiner);
  } while (true);
}

void append_tag_flag(Random& random, std::u32string& units) {
  units.push_back(kBlackFlag);
  // Mostly letters, as in the flags there are.
  const UnitRange range = random.uniform() < 0.75 ? kLowerTags : kTags;
  for (uint64_t tags = 3 + random.below(4); tags > 0; --tags) units.push_back(unit_of(range, random));
  units.push_back(kTagEnd);
}

}  // namespace

void append_made_up_emoji(size_t count, Random& random, std::u32string& units) {
  const size_t most = units.size() + count;
  while (units.size() < most) {
    switch (random.below(6)) {
      case 0:
        for (int letter = 0; letter < 2; ++letter) units.push_back(unit_of(kRegionalLetters, random));
        break;
      case 1:
        append_tag_flag(random, units);
        break;
      case 2:
        units.push_back(unit_of({'0', '9'}, random));
        if (random.uniform() < 0.5) units.append({kEmojiSelector, kKeycap});
        break;
      case 3:
        units.append({unit_of(kIdeographs, random), unit_of(kIdeographicSelectors, random)});
        break;
      case 4:
        for (uint64_t letters = 1 + random.below(8); letters > 0; --letters) {
          units.push_back(unit_of({' ', '~'}, random));
        }
        break;
      default:
        append_joined_emoji(random, units);
    }
  }
}

namespace {

// A letter that a text may never have had: half of them from where alphabets, their marks and signs are, or letters
// such as those of a related language would hardly ever come.
char32_t foreign_unit(Random& random) {
  if (random.uniform() < 0.5) return random_unit(RandomUnits::kScalarValues, random);
  constexpr char32_t kFirst = 0x80;
  return kFirst + static_cast<char32_t>(random.below(kAlphabets - kFirst));
}

}  // namespace

std::u32string add_noise(std::u32string_view units, const NoiseOptions& options, Random& random) {
  check_chance("replace", options.replace);
  check_chance("insert", options.insert);
  check_chance("remove", options.remove);
  check_chance("exchange", options.exchange);
  check_chance("foreign", options.foreign);
  // Where one kind of noise ends and the next begins in [0, 1).
  const double replace = options.replace;
  const double insert = replace + options.insert;
  const double remove = insert + options.remove;
  const double exchange = remove + options.exchange;
  if (exchange > 1 + 1e-9) throw_input("the chances of noise add up to {}, at most 1 is possible", exchange);
  const auto other = [&] {
    return random.uniform() < options.foreign ? foreign_unit(random) : units[random.below(units.size())];
  };

  std::u32string noisy;
  noisy.reserve(units.size() + units.size() / 8);
  for (size_t i = 0; i < units.size(); ++i) {
    const double draw = random.uniform();
    if (draw < replace) {
      noisy.push_back(other());
    } else if (draw < insert) {
      noisy.push_back(other());
      noisy.push_back(units[i]);
    } else if (draw < remove) {
      continue;
    } else if (draw < exchange && i + 1 < units.size()) {
      noisy.push_back(units[i + 1]);
      noisy.push_back(units[i]);
      ++i;
    } else {
      noisy.push_back(units[i]);
    }
  }
  return noisy;
}

std::u32string change_case(std::u32string_view units, CaseChange change, double chance, Random& random) {
  check_chance("a change of case", chance);
  std::u32string changed(units);
  for (char32_t& unit : changed) {
    if (random.uniform() < chance) unit = with_case(unit, change);
  }
  return changed;
}

std::u32string shift_randomly(std::u32string_view units, uint32_t most, Random& random) {
  std::u32string shifted(random.below(uint64_t{most} + 1), U'\0');
  shifted += units;
  return shifted;
}

}  // namespace verbatim
