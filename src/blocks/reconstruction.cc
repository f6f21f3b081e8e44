#include "blocks/reconstruction.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"

namespace verbatim {

Share& Share::operator+=(const Share& other) {
  right += other.right;
  all += other.all;
  return *this;
}

Share group_accuracy(std::string_view target, std::string_view predicted, size_t group) {
  VERBATIM_ASSERT(group > 0 && target.size() == predicted.size() && target.size() % group == 0,
                  "{} and {} bytes in groups of {}", target.size(), predicted.size(), group);
  Share share{.all = target.size() / group};
  for (size_t begin = 0; begin < target.size(); begin += group) {
    share.right += uint64_t{std::memcmp(target.data() + begin, predicted.data() + begin, group) == 0};
  }
  return share;
}

Reconstruction& Reconstruction::operator+=(const Reconstruction& other) {
  byte += other.byte;
  character += other.character;
  block += other.block;
  zero_byte += other.zero_byte;
  zero_character += other.zero_character;
  return *this;
}

namespace {

// Adds the bytes and characters of `size` bytes, a multiple of four. Each count has a loop of its own without branches.
void compare(const char* target, const char* predicted, size_t size, Reconstruction& result) {
  uint64_t same = 0, zero = 0, same_characters = 0, zero_characters = 0;
  for (size_t i = 0; i < size; ++i) same += uint64_t{target[i] == predicted[i]};
  for (size_t i = 0; i < size; ++i) zero += uint64_t{target[i] == 0};
  for (size_t i = 0; i < size; i += 4) {
    uint32_t a = 0, b = 0;
    std::memcpy(&a, target + i, 4);
    std::memcpy(&b, predicted + i, 4);
    same_characters += uint64_t{a == b};
    zero_characters += uint64_t{a == 0};
  }
  result.byte += {same, size};
  result.zero_byte += {zero, size};
  result.character += {same_characters, size / 4};
  result.zero_character += {zero_characters, size / 4};
}

}  // namespace

Reconstruction measure_reconstruction(const Blocks& target, std::string_view predicted) {
  VERBATIM_ASSERT(target.bytes.size() == predicted.size(), "{} target bytes, {} predicted ones", target.bytes.size(),
                  predicted.size());
  Reconstruction result;
  if (target.size() == 0) return result;
  const size_t block_bytes = target.bytes.size() / target.size();
  const char* expected = target.bytes.data();
  const char* got = predicted.data();
  for (size_t i = 0; i < target.size(); ++i) {
    const size_t begin = i * block_bytes;
    const bool same = std::memcmp(expected + begin, got + begin, target.lengths[i]) == 0;
    result.block += {same, 1};
    if (block_bytes % 4 == 0) compare(expected + begin, got + begin, target.lengths[i], result);
  }
  // Blocks that cut through characters have padding behind the last one only.
  if (block_bytes % 4 != 0) {
    compare(expected, got, target.bytes.size() - block_bytes + target.lengths.back(), result);
  }
  return result;
}

double text_score(std::u32string_view target, std::u32string_view predicted) {
  Share share{.all = target.size()};
  for (size_t i = 0; i < std::min(target.size(), predicted.size()); ++i) {
    share.right += uint64_t{target[i] == predicted[i]};
  }
  return share.value();
}

double overlap_score(std::u32string_view a, std::u32string_view b) {
  const std::set<char32_t> in_a(a.begin(), a.end());
  const std::set<char32_t> in_b(b.begin(), b.end());
  Share share{.all = std::min(in_a.size(), in_b.size())};
  for (const char32_t unit : in_a) share.right += in_b.count(unit);
  return share.value();
}

}  // namespace verbatim
