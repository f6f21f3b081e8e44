#include "words/trigram_rows.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"

namespace verbatim {
namespace {

// "trigram_slot_attempt" in decimal.
class Message {
 public:
  explicit Message(uint32_t trigram) { slot_ = append(bytes_.data(), trigram); }
  [[nodiscard]] std::string_view operator()(uint32_t slot, uint32_t attempt) {
    char* end = append(slot_, slot) - 1;
    *end++ = '_';
    end = append(end, attempt) - 1;
    return {bytes_.data(), static_cast<size_t>(end - bytes_.data())};
  }

 private:
  // The number and a "_".
  char* append(char* to, uint32_t number) {
    char* end = std::to_chars(to, bytes_.data() + bytes_.size(), number).ptr;
    *end = '_';
    return end + 1;
  }

  std::array<char, 40> bytes_;
  char* slot_ = nullptr;
};

}  // namespace

DigestModulus::DigestModulus(uint32_t modulus) : modulus_(modulus) {
  powers_[0] = (uint64_t{1} << 32) % modulus;
  powers_[1] = powers_[0] * powers_[0] % modulus;
  powers_[2] = powers_[1] * powers_[0] % modulus;
}

TrigramRows::TrigramRows(uint32_t vocabulary, uint32_t ids_per_trigram)
    : modulus_(std::max(vocabulary, 1u)), ids_per_trigram_(ids_per_trigram) {
  if (vocabulary < 1 || vocabulary > (uint32_t{1} << 31) - 1) {
    throw_input("a T-Free vocabulary has 1 to 2147483647 ids, not {}", vocabulary);
  }
  if (ids_per_trigram < 1) throw_input("a trigram needs at least one id");
  if (ids_per_trigram > vocabulary) {
    throw_input("a trigram cannot have {} distinct ids of a vocabulary of {}; use a larger vocabulary or fewer ids",
                ids_per_trigram, vocabulary);
  }
}

void TrigramRows::compute(std::span<const uint32_t> trigrams, int32_t* ids) const {
  Md5Batch batch;
  Md5BatchDigest digests;
  int32_t* next = ids;  // where the ids of the batch go
  size_t filled = 0;
  const auto flush = [&] {
    md5_batch(batch, digests);
    for (size_t lane = 0; lane < filled; ++lane) {
      *next++ = modulus_(digests[0][lane], digests[1][lane], digests[2][lane], digests[3][lane]);
    }
    filled = 0;
  };
  for (const uint32_t trigram : trigrams) {
    Message message(trigram);
    for (uint32_t slot = 0; slot < ids_per_trigram_; ++slot) {
      const std::string_view text = message(slot, 0);
      if (text.size() <= kMd5ShortBytes) [[likely]] {
        batch.set(filled++, text);
        if (filled == kMd5Lanes) flush();
      } else {
        flush();
        *next++ = modulus_(md5(text));
      }
    }
  }
  flush();
  for (size_t t = 0; t < trigrams.size(); ++t) make_distinct(trigrams[t], ids + t * ids_per_trigram_);
}

// The first attempt of every slot is there; those that collide with an earlier slot are drawn again.
void TrigramRows::make_distinct(uint32_t trigram, int32_t* row) const {
  for (uint32_t slot = 1; slot < ids_per_trigram_; ++slot) {
    for (uint32_t attempt = 1; std::find(row, row + slot, row[slot]) != row + slot; ++attempt) {
      row[slot] = modulus_(md5(Message(trigram)(slot, attempt)));
    }
  }
  std::sort(row, row + ids_per_trigram_);
}

}  // namespace verbatim
