#include "families/tokun/block_search.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/error.h"
#include "families/tokun/block_candidates.h"
#include "families/tokun/block_settling.h"

namespace verbatim {

namespace {

// Distances are shares of a vector's square. Rounding to bfloat16 makes about 1e-5.
constexpr double kSame = 1e-4;
// Characters in each place that are tried: few first.
constexpr std::array<size_t, 2> kCharacters = {8, 64};
constexpr size_t kGuesses = 4;  // blocks that the search goes on from

// [N] float32 on the CPU, from vectors [N, L] to z [N, L] or [1, L].
at::Tensor distances(const at::Tensor& vectors_NL, const at::Tensor& z_NL) {
  const at::Tensor square_N = z_NL.square().sum(1).clamp_min(1e-12);
  return ((vectors_NL - z_NL).square().sum(1) / square_N).to(at::kFloat).cpu().contiguous();
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
    const at::Tensor distance_M = distances(encoder.computed(batch_of_units(trials, characters), at::kFloat), z_1L);
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
  const Units proposed = units_of_blocks(result.bytes_NT);
  const at::Tensor distance_N = distances(encoder.forward(batch_of_units(proposed, characters), type), z_NL);
  std::vector<int64_t> open;
  for (int64_t block = 0; block < blocks; ++block) {
    result.confirmed[block] = distance_N.data_ptr<float>()[block] < kSame;
    if (!result.confirmed[block]) open.push_back(block);
  }
  const auto confirm = [&](const at::Tensor& bytes_MT, const at::Tensor& z_ML, const std::vector<int64_t>& which) {
    const at::Tensor distance_M =
        distances(encoder.computed(batch_of_units(units_of_blocks(bytes_MT), characters), at::kFloat), z_ML);
    for (int64_t m = 0; m < bytes_MT.size(0); ++m) {
      if (result.confirmed[which[m]] || distance_M.data_ptr<float>()[m] >= kSame) continue;
      result.bytes_NT[which[m]].copy_(bytes_MT[m]);
      result.confirmed[which[m]] = true;
    }
  };
  // A few at a time: what the decoder says of a block takes much more room than the block.
  constexpr size_t kAtOnce = 64;
  bool stopped = false;
  for (size_t begin = 0; begin < open.size(); begin += kAtOnce) {
    const std::vector<int64_t> some(open.begin() + static_cast<std::ptrdiff_t>(begin),
                                    open.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kAtOnce, open.size())));
    const at::Tensor z_ML = z_NL.index_select(0, at::tensor(some, at::kLong).to(z_NL.device()));
    const auto count = static_cast<int64_t>(some.size());
    const BlockLogits logits = decoder.forward(z_ML, type);
    // Characters that are not known as wholes may have been taken for known ones: what their bytes say is tried first.
    if (logits.known != nullptr) {
      const at::Tensor spelled_MT =
          most_likely_blocks({.bytes = logits.bytes, .known_MK = {}, .trust_M = {}}, count, block_bytes);
      confirm(spelled_MT, z_ML, some);
      // Then one exchange after the other, each for the nearest: what is left to search for is rare.
      confirm(settle_blocks(encoder, decoder, z_ML, spelled_MT, type), z_ML, some);
    }
    const std::vector<std::vector<Candidate>> all = candidates_of_places(logits, count, block_bytes);
    for (int64_t m = 0; m < count; ++m) {
      if (result.confirmed[some[m]] || stopped) continue;
      stopped = !goes_on();
      if (stopped) continue;
      const auto first_place = all.begin() + m * static_cast<int64_t>(characters);
      const std::vector<std::vector<Candidate>> candidates(first_place, first_place + static_cast<int64_t>(characters));
      const int64_t block = some[m];
      const auto first = proposed.begin() + block * static_cast<int64_t>(characters);
      Guess guess{.units = {first, first + static_cast<int64_t>(characters)},
                  .distance = distance_N.data_ptr<float>()[block]};
      for (const size_t most : kCharacters) {
        guess = nearest(encoder, z_ML.slice(0, m, m + 1), candidates, most, guess);
        if (guess.distance < kSame) break;
      }
      if (guess.distance >= kSame) continue;
      write_units(guess.units, result.bytes_NT.data_ptr<uint8_t>() + block * block_bytes);
      result.confirmed[block] = true;
    }
  }
  return result;
}

}  // namespace verbatim
