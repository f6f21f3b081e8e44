#include "families/tokun/block_settling.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "families/tokun/block_candidates.h"
#include "families/tokun/likeliest_known.h"

namespace verbatim {

namespace {

constexpr size_t kMostCandidates = 16;  // in each place
// Characters that are less likely than the likeliest by more are not tried.
constexpr float kLeast = -14;
// Logarithm of how likely a character is that training has not seen: in text of the kind that it has seen, one in
// thousands is new, and it is one of thousands.
constexpr float kUnknown = -16;
// Blocks at once: what is said of a block takes much more room than the block.
constexpr int64_t kAtOnce = 64;

struct Settled {
  Units units;
  float square = 0;           // distance from the vector
  std::vector<float> scores;  // of the characters, by the decoder
};

class Settling {
 public:
  Settling(BlockEncoderNetwork& encoder, BlockDecoderNetwork& decoder, const at::Tensor& z_NL,
           const at::Tensor& proposed_NT, at::ScalarType type, const SettlingOptions& options)
      : encoder_(encoder),
        decoder_(decoder),
        z_NL_(z_NL),
        type_(type),
        options_(options),
        characters_(proposed_NT.size(1) / 4),
        reach_(decoder.reach_beside()),
        likeliest_known_(encoder, type) {
    for (int64_t begin = 0; begin < z_NL.size(0); begin += kAtOnce) {
      start(begin, proposed_NT.slice(0, begin, std::min(begin + kAtOnce, z_NL.size(0))).contiguous());
    }
  }

  void settle() {
    std::vector<int64_t> open(blocks_.size());
    std::iota(open.begin(), open.end(), 0);
    exchange_in(open);
    if (reach_ == 0 || !encoder_.adds_up()) return;
    // All known characters are tried where nothing else is worth it. What that changes may concern the next blocks, and
    // so on.
    constexpr int64_t kRounds = 4;
    for (int64_t round = 0; round < kRounds && !open.empty(); ++round) open = exchange_in(with_known(open));
  }

  [[nodiscard]] at::Tensor bytes() const {
    at::Tensor bytes_NT = at::empty({static_cast<int64_t>(blocks_.size()), 4 * characters_}, at::kByte);
    auto* to = bytes_NT.data_ptr<uint8_t>();
    for (size_t block = 0; block < blocks_.size(); ++block) {
      write_units(blocks_[block].units, to + static_cast<int64_t>(block) * 4 * characters_);
    }
    return bytes_NT;
  }

 private:
  struct Trial {
    size_t open;  // which of the open blocks
    size_t place;
    Candidate candidate;
  };

  void start(int64_t begin, const at::Tensor& proposed_MT) {
    const int64_t count = proposed_MT.size(0);
    const at::Tensor z_ML = z_NL_.slice(0, begin, begin + count);
    std::vector<std::vector<Candidate>> candidates =
        candidates_of_places(decoder_.forward(z_ML, type_), count, 4 * characters_);
    const Units proposed = units_of_blocks(proposed_MT);
    const at::Tensor square_M = squares(proposed, z_ML);
    for (int64_t block = 0; block < count; ++block) {
      const auto first = proposed.begin() + block * characters_;
      Settled one{.units = {first, first + characters_}, .square = square_M.data_ptr<float>()[block], .scores = {}};
      for (int64_t place = 0; place < characters_; ++place) {
        std::vector<Candidate>& here = candidates[block * characters_ + place];
        const float likeliest = here.empty() ? 0 : here.front().score;
        const auto same = std::find_if(here.begin(), here.end(),
                                       [&](const Candidate& candidate) { return candidate.unit == one.units[place]; });
        one.scores.push_back(same == here.end() ? likeliest : same->score);
        std::erase_if(here, [&](const Candidate& candidate) { return candidate.score < likeliest + kLeast; });
        here.resize(std::min(here.size(), kMostCandidates));
        candidates_.push_back(std::move(here));
      }
      blocks_.push_back(std::move(one));
    }
  }

  // [M] float32 on the CPU: of the vectors of blocks from those that were given.
  [[nodiscard]] at::Tensor squares(const Units& units, const at::Tensor& z_ML) const {
    const at::Tensor vectors_ML = encoder_.forward(batch_of_units(units, static_cast<size_t>(characters_)), at::kFloat);
    return (vectors_ML - z_ML).square().sum(1).to(at::kFloat).cpu().contiguous();
  }

  // What stands in a block and, as far as it is known, beside it: the rows of known characters, -1 for others.
  void append_rows(int64_t block, std::vector<int64_t>& rows) const {
    const KnownCharacters& known = *encoder_.known();
    const Units& units = blocks_[block].units;
    const auto row_in = [&](int64_t other, int64_t place) -> int64_t {
      const bool exists = options_.consecutive && other >= 0 && other < static_cast<int64_t>(blocks_.size()) &&
                          place >= 0 && place < characters_;
      return exists ? known.row(blocks_[other].units[place]) : -1;
    };
    // Behind padding no text goes on.
    const bool goes_on = units.back() != 0;
    const bool comes_from = block > 0 && blocks_[block - 1].units.back() != 0;
    for (int64_t i = reach_; i > 0; --i) rows.push_back(comes_from ? row_in(block - 1, characters_ - i) : -1);
    for (const int32_t unit : units) rows.push_back(known.row(unit));
    for (int64_t i = 0; i < reach_; ++i) rows.push_back(goes_on ? row_in(block + 1, i) : -1);
  }

  // The logarithms of what the characters beside each place make likely there, [M, P, K] float32 on the CPU, and which
  // of the K stands there, [M * P]; nothing where the decoder does not say.
  struct Beside {
    at::Tensor logarithms;
    std::vector<int64_t> row_MP;
  };
  [[nodiscard]] Beside beside(const std::vector<int64_t>& open) const {
    Beside result;
    if (reach_ == 0 || encoder_.known() == nullptr) return result;
    std::vector<int64_t> rows;
    for (const int64_t block : open) {
      append_rows(block, rows);
      const auto own = rows.end() - (reach_ + characters_);
      result.row_MP.insert(result.row_MP.end(), own, own + characters_);
    }
    const at::Tensor row_MQ = at::tensor(rows, at::kLong).view({static_cast<int64_t>(open.size()), -1});
    const at::Tensor logits = decoder_.likely_beside(row_MQ.to(z_NL_.device()), type_);
    result.logarithms =
        at::log_softmax(logits.slice(1, reach_, reach_ + characters_).to(at::kFloat), 2).cpu().contiguous();
    return result;
  }

  // How much likelier the candidate is than what stands there, by all but its vector.
  [[nodiscard]] float gain(const Beside& beside, const Settled& block, const Trial& trial) const {
    if (!beside.logarithms.defined()) {
      return static_cast<float>(options_.trust) * (trial.candidate.score - block.scores[trial.place]);
    }
    const auto at = static_cast<int64_t>(trial.open) * characters_ + static_cast<int64_t>(trial.place);
    const float* said = beside.logarithms.data_ptr<float>() + at * beside.logarithms.size(2);
    const auto logarithm = [&](int64_t row) { return row < 0 ? kUnknown : said[row]; };
    return logarithm(encoder_.known()->row(trial.candidate.unit)) - logarithm(beside.row_MP[at]);
  }

  // One exchange in each of the blocks that are open, until none is worth it. Returns those that have changed, and
  // those that this may concern.
  std::vector<int64_t> exchange_in(std::vector<int64_t> open) {
    std::vector<int64_t> all;
    for (int64_t round = 0; round < characters_ && !open.empty(); ++round) {
      std::vector<int64_t> changed;
      in_parts(open, [&](const std::vector<int64_t>& some) { exchange(some, changed); });
      open = affected(changed);
      all.insert(all.end(), open.begin(), open.end());
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  // A few blocks at a time.
  template <class Do>
  static void in_parts(const std::vector<int64_t>& open, const Do& work) {
    for (size_t begin = 0; begin < open.size(); begin += kAtOnce) {
      const auto first = open.begin() + static_cast<std::ptrdiff_t>(begin);
      work(std::vector<int64_t>(first,
                                open.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kAtOnce, open.size()))));
    }
  }

  // Adds the known character that is the likeliest in each place to those that are tried there. Returns the blocks that
  // have more now.
  std::vector<int64_t> with_known(const std::vector<int64_t>& open) {
    std::vector<int64_t> more;
    in_parts(open, [&](const std::vector<int64_t>& some) {
      Units units;
      for (const int64_t block : some) {
        units.insert(units.end(), blocks_[block].units.begin(), blocks_[block].units.end());
      }
      const at::Tensor z_NL = z_NL_.index_select(0, at::tensor(some, at::kLong).to(z_NL_.device()));
      const at::Tensor row_NP = likeliest_known_(z_NL, std::move(units), beside(some).logarithms);
      const auto* row = row_NP.data_ptr<int64_t>();
      for (const int64_t block : some) {
        bool has_more = false;
        for (int64_t place = 0; place < characters_; ++place) {
          const int32_t unit = encoder_.known()->unit(*row++);
          std::vector<Candidate>& here = candidates_[block * characters_ + place];
          if (std::any_of(here.begin(), here.end(), [&](const Candidate& one) { return one.unit == unit; })) continue;
          here.push_back({.score = 0, .unit = unit});  // the score is for decoders that do not say what stands beside
          has_more = has_more || blocks_[block].units[place] != unit;
        }
        if (has_more) more.push_back(block);
      }
    });
    return more;
  }

  // Makes the best exchange in each of a few blocks, and notes which have changed.
  void exchange(const std::vector<int64_t>& open, std::vector<int64_t>& changed) {
    std::vector<Trial> trials;
    Units units;
    std::vector<int64_t> row;
    for (size_t o = 0; o < open.size(); ++o) {
      const Units& here = blocks_[open[o]].units;
      for (int64_t place = 0; place < characters_; ++place) {
        for (const Candidate& candidate : candidates_[open[o] * characters_ + place]) {
          if (candidate.unit == here[place]) continue;
          units.insert(units.end(), here.begin(), here.end());
          units[units.size() - static_cast<size_t>(characters_ - place)] = candidate.unit;
          trials.push_back({o, static_cast<size_t>(place), candidate});
          row.push_back(open[o]);
        }
      }
    }
    if (trials.empty()) return;
    const Beside said = beside(open);
    const at::Tensor square_T = squares(units, z_NL_.index_select(0, at::tensor(row, at::kLong).to(z_NL_.device())));
    const auto width = static_cast<float>(z_NL_.size(1));
    std::vector<const Trial*> best(open.size());
    std::vector<float> most(open.size()), square(open.size());
    for (size_t t = 0; t < trials.size(); ++t) {
      const Trial& trial = trials[t];
      const Settled& block = blocks_[open[trial.open]];
      const float trial_square = square_T.data_ptr<float>()[t];
      constexpr float kNone = std::numeric_limits<float>::min();
      const float nearer = width / 2 * std::log(std::max(block.square, kNone) / std::max(trial_square, kNone));
      const float gained = nearer + gain(said, block, trial);
      if (gained <= most[trial.open]) continue;
      best[trial.open] = &trial;
      most[trial.open] = gained;
      square[trial.open] = trial_square;
    }
    for (size_t o = 0; o < open.size(); ++o) {
      if (best[o] == nullptr) continue;
      Settled& block = blocks_[open[o]];
      block.units[best[o]->place] = best[o]->candidate.unit;
      block.scores[best[o]->place] = best[o]->candidate.score;
      block.square = square[o];
      changed.push_back(open[o]);
    }
  }

  // Blocks in which something else may be worth it now.
  [[nodiscard]] std::vector<int64_t> affected(const std::vector<int64_t>& changed) const {
    if (!options_.consecutive || reach_ == 0) return changed;
    std::vector<int64_t> all;
    for (const int64_t block : changed) {
      for (int64_t near = block - 1; near <= block + 1; ++near) {
        const bool exists = near >= 0 && near < static_cast<int64_t>(blocks_.size());
        if (exists && (all.empty() || all.back() < near)) all.push_back(near);
      }
    }
    return all;
  }

  BlockEncoderNetwork& encoder_;
  BlockDecoderNetwork& decoder_;
  const at::Tensor z_NL_;
  at::ScalarType type_;
  SettlingOptions options_;
  int64_t characters_, reach_;
  LikeliestKnown likeliest_known_;
  std::vector<Settled> blocks_;
  std::vector<std::vector<Candidate>> candidates_;  // of each place of each block
};

}  // namespace

at::Tensor settle_blocks(BlockEncoderNetwork& encoder, BlockDecoderNetwork& decoder, const at::Tensor& z_NL,
                         const at::Tensor& proposed_NT, at::ScalarType type, const SettlingOptions& options) {
  VERBATIM_ASSERT(proposed_NT.size(0) == z_NL.size(0) && proposed_NT.size(1) % 4 == 0,
                  "{} vectors, {} blocks of {} bytes", z_NL.size(0), proposed_NT.size(0), proposed_NT.size(1));
  at::NoGradGuard no_grad;
  Settling settling(encoder, decoder, z_NL, proposed_NT, type, options);
  settling.settle();
  return settling.bytes();
}

}  // namespace verbatim
