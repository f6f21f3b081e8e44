#include "families/tokun/block_search.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>

#include "base/error.h"
#include "blocks/utf32.h"

namespace verbatim {

namespace {

// Distances are shares of a vector's square. Rounding to bfloat16 makes about 1e-5.
constexpr double kSame = 1e-4;
// Values of each of the four bytes of a character that are tried, and characters in each place: few first.
constexpr std::array<size_t, 4> kValues = {1, 2, 6, 10};
constexpr std::array<size_t, 2> kCharacters = {8, 64};
constexpr size_t kGuesses = 4;  // blocks that the search goes on from
constexpr int64_t kByteValues = 256;

using Units = std::vector<int32_t>;

// Units of blocks of T bytes. What has no vector, because it is neither a code point nor an escape, becomes U+FFFD.
Units units_of(const at::Tensor& bytes_NT) {
  constexpr int32_t kReplacement = 0xFFFD;
  const std::string_view stream(reinterpret_cast<const char*>(bytes_NT.data_ptr<uint8_t>()),
                                static_cast<size_t>(bytes_NT.numel()));
  Units units;
  for (size_t at = 0; at < stream.size(); at += 4) {
    const char32_t unit = read_unit(stream, at);
    units.push_back(unit < kEscape || is_escape(unit) ? static_cast<int32_t>(unit) : kReplacement);
  }
  return units;
}

// Blocks of `characters` units each, padding among them.
PositionBatch batch_of(Units units, size_t characters) {
  PositionBatch batch;
  const size_t rows = units.size() / characters;
  batch.ids = std::move(units);
  for (size_t row = 0; row <= rows; ++row) batch.id_offsets.push_back(static_cast<int64_t>(row * characters));
  batch.offsets.push_back(static_cast<int64_t>(rows));
  return batch;
}

// [N] float32 on the CPU, from vectors [N, L] to z [N, L] or [1, L].
at::Tensor distances(const at::Tensor& vectors_NL, const at::Tensor& z_NL) {
  const at::Tensor square_N = z_NL.square().sum(1).clamp_min(1e-12);
  return ((vectors_NL - z_NL).square().sum(1) / square_N).to(at::kFloat).cpu().contiguous();
}

// What a decoder says of single bytes: [N, T, 256] float32, the logarithms of probabilities, as far as they differ.
at::Tensor logarithms_of_bytes(const std::vector<ByteLogits>& heads, int64_t blocks, int64_t block_bytes) {
  at::Tensor result = at::full({blocks * block_bytes, kByteValues}, -1e9, at::kFloat);
  result.select(1, 0).zero_();  // bytes that nothing is said of are 0
  for (const ByteLogits& head : heads) {
    const at::Tensor logits_RV = head.logits_RV.to(at::kFloat).cpu();
    at::Tensor said_R256 = at::full({logits_RV.size(0), kByteValues}, -1e9, at::kFloat);
    if (head.bits) {
      const at::Tensor values = at::arange(kByteValues, at::kLong).unsqueeze(1);
      const at::Tensor bits = values.bitwise_right_shift(at::arange(7, -1, -1, at::kLong)).bitwise_and(1);
      said_R256 = at::mm(logits_RV, bits.to(at::kFloat).t());
    } else {
      said_R256.narrow(1, 0, logits_RV.size(1)).copy_(at::log_softmax(logits_RV, 1));
    }
    result.slice(0, head.first, result.size(0), head.stride).copy_(said_R256);
  }
  return result.view({blocks, block_bytes, kByteValues});
}

// The values with the highest scores, the highest first.
std::vector<int32_t> highest(const float* scores, size_t count) {
  std::vector<int32_t> values(kByteValues);
  std::iota(values.begin(), values.end(), 0);
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(values.begin(), middle, values.end(),
                    [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  values.resize(count);
  return values;
}

struct Candidate {
  float score = 0;
  int32_t unit = 0;
};

// Characters that are known as wholes, the likeliest. scores [K]: logarithms, `trust` that of the way.
std::vector<Candidate> known_candidates(const KnownCharacters& known, const float* scores, float trust) {
  constexpr int64_t kMost = 32;
  std::vector<int32_t> order(static_cast<size_t>(known.count()));
  std::iota(order.begin(), order.end(), 0);
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(std::min(kMost, known.count()));
  std::partial_sort(order.begin(), middle, order.end(),
                    [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  std::vector<Candidate> candidates;
  for (auto row = order.begin(); row != middle; ++row) {
    candidates.push_back({trust + scores[*row], known.unit(*row)});
  }
  return candidates;
}

// Characters that a place may hold, the likeliest first: `known` ones, and what four bytes may be, whose scores [4,
// 256] are above `another`.
std::vector<Candidate> candidates_of(const float* scores, float another, const std::vector<Candidate>& known) {
  std::vector<Candidate> all = {{.score = another, .unit = 0}};
  for (size_t byte = 0; byte < kValues.size(); ++byte) {
    const float* of_byte = scores + byte * kByteValues;
    std::vector<Candidate> longer;
    for (const int32_t value : highest(of_byte, kValues[byte])) {
      for (const Candidate& start : all) longer.push_back({start.score + of_byte[value], start.unit << 8 | value});
    }
    all = std::move(longer);
  }
  std::erase_if(all, [&](const Candidate& candidate) {
    const auto unit = static_cast<char32_t>(candidate.unit);
    if (unit >= kEscape && !is_escape(unit)) return true;
    return std::any_of(known.begin(), known.end(), [&](const Candidate& one) { return one.unit == candidate.unit; });
  });
  all.insert(all.end(), known.begin(), known.end());
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  return all;
}

struct Guess {
  Units units;
  float distance = 0;
};

// All blocks that differ from one of `guesses` in one character, which is a candidate for its place, at most `most` for
// each.
Units exchanged(const std::vector<Guess>& guesses, const std::vector<std::vector<Candidate>>& candidates, size_t most) {
  Units trials;
  for (const Guess& guess : guesses) {
    for (size_t place = 0; place < candidates.size(); ++place) {
      for (size_t i = 0; i < std::min(most, candidates[place].size()); ++i) {
        if (candidates[place][i].unit == guess.units[place]) continue;
        trials.insert(trials.end(), guess.units.begin(), guess.units.end());
        trials[trials.size() - candidates.size() + place] = candidates[place][i].unit;
      }
    }
  }
  return trials;
}

// The block nearest to z that is found from `guess` by exchanging one character after the other, as long as that brings
// it nearer. A few blocks go on from each exchange: the nearest of them need not be on the way to the right one.
Guess nearest(BlockEncoderNetwork& encoder, const at::Tensor& z_1L,
              const std::vector<std::vector<Candidate>>& candidates, size_t most, const Guess& guess) {
  const size_t characters = guess.units.size();
  std::vector<Guess> guesses = {guess};
  Guess best = guess;
  for (size_t round = 0; round < characters && best.distance >= kSame; ++round) {
    const Units trials = exchanged(guesses, candidates, most);
    if (trials.empty()) break;
    const at::Tensor distance_M = distances(encoder.computed(batch_of(trials, characters), at::kFloat), z_1L);
    const float* distance = distance_M.data_ptr<float>();
    std::vector<size_t> order(static_cast<size_t>(distance_M.numel()));
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return distance[a] < distance[b]; });
    guesses.clear();
    for (const size_t trial : order) {
      // The same block from two sides has the same distance.
      if (!guesses.empty() && distance[trial] == guesses.back().distance) continue;
      const auto begin = trials.begin() + static_cast<std::ptrdiff_t>(trial * characters);
      guesses.push_back(
          {.units = {begin, begin + static_cast<std::ptrdiff_t>(characters)}, .distance = distance[trial]});
      if (guesses.size() == kGuesses) break;
    }
    if (!(guesses.front().distance < best.distance)) break;
    best = guesses.front();
  }
  return best;
}

}  // namespace

CheckedBlocks check_blocks(BlockEncoderNetwork& encoder, BlockDecoderNetwork& decoder, const at::Tensor& z_NL,
                           const at::Tensor& proposed_NT, at::ScalarType type, const std::function<bool()>& goes_on) {
  const int64_t blocks = z_NL.size(0), block_bytes = proposed_NT.size(1);
  VERBATIM_ASSERT(proposed_NT.size(0) == blocks && block_bytes % 4 == 0, "{} vectors, {} blocks of {} bytes", blocks,
                  proposed_NT.size(0), block_bytes);
  at::NoGradGuard no_grad;
  CheckedBlocks result{.bytes_NT = proposed_NT.clone(), .confirmed = std::vector<bool>(static_cast<size_t>(blocks))};
  if (blocks == 0) return result;
  const auto characters = static_cast<size_t>(block_bytes / 4);
  const Units proposed = units_of(result.bytes_NT);
  const at::Tensor distance_N = distances(encoder.forward(batch_of(proposed, characters), type), z_NL);
  std::vector<int64_t> open;
  for (int64_t block = 0; block < blocks; ++block) {
    result.confirmed[block] = distance_N.data_ptr<float>()[block] < kSame;
    if (!result.confirmed[block]) open.push_back(block);
  }
  // A few at a time: what the decoder says of a block takes much more room than the block.
  constexpr size_t kAtOnce = 64;
  for (size_t begin = 0; begin < open.size(); begin += kAtOnce) {
    const std::vector<int64_t> some(open.begin() + static_cast<std::ptrdiff_t>(begin),
                                    open.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kAtOnce, open.size())));
    const at::Tensor z_ML = z_NL.index_select(0, at::tensor(some, at::kLong).to(z_NL.device()));
    const auto count = static_cast<int64_t>(some.size());
    const BlockLogits logits = decoder.forward(z_ML, type);
    const at::Tensor said = logarithms_of_bytes(logits.bytes, count, block_bytes);
    at::Tensor known_MK, trust_M, distrust_M;
    if (logits.known != nullptr) {
      known_MK = at::log_softmax(logits.known_MK.to(at::kFloat).cpu(), 1).contiguous();
      trust_M = at::log_sigmoid(logits.trust_M.to(at::kFloat).cpu()).contiguous();
      distrust_M = at::log_sigmoid(-logits.trust_M.to(at::kFloat).cpu()).contiguous();
    }
    for (int64_t m = 0; m < count; ++m) {
      if (!goes_on()) return result;
      std::vector<std::vector<Candidate>> candidates;
      const float* scores = said.data_ptr<float>() + m * block_bytes * kByteValues;
      for (size_t place = 0; place < characters; ++place) {
        const float* of_place = scores + place * 4 * kByteValues;
        if (!known_MK.defined()) {
          candidates.push_back(candidates_of(of_place, 0, {}));
          continue;
        }
        const int64_t at = m * static_cast<int64_t>(characters) + static_cast<int64_t>(place);
        const float* known = known_MK.data_ptr<float>() + at * known_MK.size(1);
        candidates.push_back(candidates_of(of_place, distrust_M.data_ptr<float>()[at],
                                           known_candidates(*logits.known, known, trust_M.data_ptr<float>()[at])));
      }
      const int64_t block = some[m];
      const auto first = proposed.begin() + block * static_cast<int64_t>(characters);
      Guess guess{.units = {first, first + static_cast<int64_t>(characters)},
                  .distance = distance_N.data_ptr<float>()[block]};
      for (const size_t most : kCharacters) {
        guess = nearest(encoder, z_ML.slice(0, m, m + 1), candidates, most, guess);
        if (guess.distance < kSame) break;
      }
      if (guess.distance >= kSame) continue;
      std::string stream;
      append_utf32be(std::u32string(guess.units.begin(), guess.units.end()), stream);
      std::copy(stream.begin(), stream.end(), result.bytes_NT.data_ptr<uint8_t>() + block * block_bytes);
      result.confirmed[block] = true;
    }
  }
  return result;
}

}  // namespace verbatim
