#include "families/tokun/block_settling.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/error.h"
#include "families/tokun/block_candidates.h"

namespace verbatim {

namespace {

constexpr size_t kMostCandidates = 16;  // in each place
// Characters that are less likely than the likeliest by more are not tried.
constexpr float kLeast = -14;

// [N] float32 on the CPU: squares.
at::Tensor squared_distances(const at::Tensor& vectors_NL, const at::Tensor& z_NL) {
  return (vectors_NL - z_NL).square().sum(1).to(at::kFloat).cpu().contiguous();
}

struct Open {
  int64_t block;
  Units units;
  float square;               // distance from the vector
  std::vector<float> scores;  // of the characters, by the decoder
};

struct Trial {
  size_t open, place;
  Candidate candidate;
};

// What known characters make likely beside them, for the blocks as they are.
class Beside {
 public:
  Beside(BlockDecoderNetwork& decoder, const KnownCharacters* known, const std::vector<Open>& open,
         const at::Tensor& like, at::ScalarType type)
      : known_(known) {
    if (known == nullptr || open.empty()) return;
    for (const Open& one : open) {
      for (const int32_t unit : one.units) row_M_.push_back(known->row(unit));
    }
    const at::Tensor logits_MK = decoder.likely_beside(at::tensor(row_M_, at::kLong).to(like.device()), type);
    if (!logits_MK.defined()) return;
    logarithms_MK_ = at::log_softmax(logits_MK.to(at::kFloat), 1).cpu().contiguous();
  }
  // How much more likely than what is there; empty where that is not said.
  [[nodiscard]] std::optional<float> gain(size_t place, int32_t unit) const {
    if (!logarithms_MK_.defined() || row_M_[place] < 0) return std::nullopt;
    const int64_t row = known_->row(unit);
    if (row < 0) return std::nullopt;
    const float* logarithms = logarithms_MK_.data_ptr<float>() + static_cast<int64_t>(place) * logarithms_MK_.size(1);
    return logarithms[row] - logarithms[row_M_[place]];
  }

 private:
  const KnownCharacters* known_;
  std::vector<int64_t> row_M_;
  at::Tensor logarithms_MK_;
};

}  // namespace

at::Tensor settle_blocks(BlockEncoderNetwork& encoder, BlockDecoderNetwork& decoder, const at::Tensor& z_NL,
                         const at::Tensor& proposed_NT, at::ScalarType type, double trust) {
  const int64_t blocks = z_NL.size(0), block_bytes = proposed_NT.size(1), characters = block_bytes / 4;
  VERBATIM_ASSERT(proposed_NT.size(0) == blocks && block_bytes % 4 == 0, "{} vectors, {} blocks of {} bytes", blocks,
                  proposed_NT.size(0), block_bytes);
  at::NoGradGuard no_grad;
  at::Tensor result_NT = proposed_NT.clone();
  const auto width = static_cast<float>(z_NL.size(1));
  // A few at a time: what the decoder says of a block takes much more room than the block.
  constexpr int64_t kAtOnce = 64;
  for (int64_t begin = 0; begin < blocks; begin += kAtOnce) {
    const int64_t end = std::min(begin + kAtOnce, blocks);
    const at::Tensor z_ML = z_NL.slice(0, begin, end);
    std::vector<std::vector<Candidate>> candidates =
        candidates_of_places(decoder.forward(z_ML, type), end - begin, block_bytes);
    const Units proposed = units_of_blocks(proposed_NT.slice(0, begin, end).contiguous());
    const at::Tensor square_M =
        squared_distances(encoder.forward(batch_of_units(proposed, static_cast<size_t>(characters)), at::kFloat), z_ML);
    std::vector<Open> open;
    for (int64_t block = 0; block < end - begin; ++block) {
      const auto first = proposed.begin() + block * characters;
      Open one{.block = block,
               .units = {first, first + characters},
               .square = square_M.data_ptr<float>()[block],
               .scores = {}};
      for (int64_t place = 0; place < characters; ++place) {
        std::vector<Candidate>& here = candidates[block * characters + place];
        const float likeliest = here.empty() ? 0 : here.front().score;
        const auto same = std::find_if(here.begin(), here.end(),
                                       [&](const Candidate& candidate) { return candidate.unit == one.units[place]; });
        one.scores.push_back(same == here.end() ? likeliest : same->score);
        std::erase_if(here, [&](const Candidate& candidate) { return candidate.score < likeliest + kLeast; });
        here.resize(std::min(here.size(), kMostCandidates));
      }
      open.push_back(std::move(one));
    }
    for (int64_t round = 0; round < characters && !open.empty(); ++round) {
      const Beside beside(decoder, encoder.known(), open, z_ML, type);
      std::vector<Trial> trials;
      Units units;
      std::vector<int64_t> row;
      for (size_t o = 0; o < open.size(); ++o) {
        for (int64_t place = 0; place < characters; ++place) {
          for (const Candidate& candidate : candidates[open[o].block * characters + place]) {
            if (candidate.unit == open[o].units[place]) continue;
            units.insert(units.end(), open[o].units.begin(), open[o].units.end());
            units[units.size() - static_cast<size_t>(characters - place)] = candidate.unit;
            trials.push_back({o, static_cast<size_t>(place), candidate});
            row.push_back(open[o].block);
          }
        }
      }
      if (trials.empty()) break;
      const at::Tensor vectors_TL =
          encoder.forward(batch_of_units(std::move(units), static_cast<size_t>(characters)), at::kFloat);
      const at::Tensor square_T =
          squared_distances(vectors_TL, z_ML.index_select(0, at::tensor(row, at::kLong).to(z_ML.device())));
      std::vector<const Trial*> best(open.size());
      std::vector<float> gain(open.size()), square(open.size());
      for (size_t t = 0; t < trials.size(); ++t) {
        const Open& one = open[trials[t].open];
        const size_t place = trials[t].place;
        const float trial_square = square_T.data_ptr<float>()[t];
        constexpr float kNone = std::numeric_limits<float>::min();
        const float nearer = width / 2 * std::log(std::max(one.square, kNone) / std::max(trial_square, kNone));
        const float said =
            beside.gain(trials[t].open * static_cast<size_t>(characters) + place, trials[t].candidate.unit)
                .value_or(static_cast<float>(trust) * (trials[t].candidate.score - one.scores[place]));
        const float gained = nearer + said;
        if (gained <= gain[trials[t].open]) continue;
        best[trials[t].open] = &trials[t];
        gain[trials[t].open] = gained;
        square[trials[t].open] = trial_square;
      }
      std::vector<Open> left;
      for (size_t o = 0; o < open.size(); ++o) {
        if (best[o] == nullptr) continue;
        open[o].units[best[o]->place] = best[o]->candidate.unit;
        open[o].scores[best[o]->place] = best[o]->candidate.score;
        open[o].square = square[o];
        write_units(open[o].units, result_NT.data_ptr<uint8_t>() + (begin + open[o].block) * block_bytes);
        left.push_back(std::move(open[o]));
      }
      open = std::move(left);
    }
  }
  return result_NT;
}

}  // namespace verbatim
