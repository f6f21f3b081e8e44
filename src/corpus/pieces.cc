#include "corpus/pieces.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/random.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

constexpr uint64_t kLongestSlack = 64;
constexpr uint64_t kSmallestWindow = 16;
constexpr uint32_t kRounds = 6;

bool is_white_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

Permutation::Permutation(uint64_t size, uint64_t key) : size_(size), key_(key) {
  const auto bits = static_cast<uint32_t>(std::bit_width(size > 0 ? size - 1 : 0));
  half_bits_ = std::max<uint32_t>(1, (bits + 1) / 2);
}

uint64_t Permutation::operator()(uint64_t index) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = index >> half_bits_;
    uint64_t right = index & mask;
    for (uint32_t round = 0; round < kRounds; ++round) {
      const uint64_t next = left ^ (mix_seed(key_ + round, right) & mask);
      left = right;
      right = next;
    }
    index = (left << half_bits_) | right;
  } while (index >= size_);
  return index;
}

PieceSampler::PieceSampler(const MemoryMap& map, SamplerOptions options) : map_(map), options_(options) {
  if (options_.window_bytes < kSmallestWindow) {
    throw_input("window of {} bytes: at least {} are needed", options_.window_bytes, kSmallestWindow);
  }
  if (options_.window_bytes > uint64_t{1} << 48) throw_input("window of {} bytes is too long", options_.window_bytes);
  if (options_.world == 0 || options_.rank >= options_.world) {
    throw_input("process {} of {}: the rank must be below the number of processes", options_.rank, options_.world);
  }
  if (map_.element_bytes() != 1) {
    throw_input("the corpus holds elements of type {}, not text (uint8)", map_.element_type());
  }
  if (map_.total_bytes() == 0) throw_input("the corpus holds no text; prepare it from files that do");
  slack_ = std::min(kLongestSlack, options_.window_bytes / 4);
  stride_ = options_.window_bytes - slack_;
  prepare_epoch(0);
}

void PieceSampler::prepare_epoch(uint64_t epoch) {
  if (first_piece_epoch_ == epoch) return;
  epoch_key_ = mix_seed(options_.seed, epoch);
  const uint64_t count = map_.document_count();
  first_piece_.resize(count + 1);
  uint64_t total = 0;
  for (uint64_t document = 0; document < count; ++document) {
    first_piece_[document] = total;
    const uint64_t size = map_.document(document).size();
    if (size == 0) continue;
    // One piece before the first cut, then one for each started stride.
    total += size <= options_.window_bytes ? 1 : 1 + (size - phase(document) + stride_ - 1) / stride_;
  }
  first_piece_[count] = total;
  order_ = Permutation(total, mix_seed(epoch_key_, 1));
  first_piece_epoch_ = epoch;
}

// The first nominal cut of a document longer than a window. More than `slack`, so that moving it back leaves a piece.
uint64_t PieceSampler::phase(uint64_t document) const {
  const uint64_t random = mix_seed(mix_seed(epoch_key_, 2), document);
  return slack_ + 1 + random % (stride_ - slack_);
}

uint64_t PieceSampler::cut(std::string_view text, uint64_t nominal) const {
  const uint64_t lowest = nominal - slack_ + 1;
  for (uint64_t place = nominal; place >= lowest; --place) {
    if (is_white_space(text[place]) && !is_white_space(text[place - 1])) return place;
  }
  return utf8_boundary_before(text, nominal);
}

Piece PieceSampler::piece(uint64_t index) const {
  VERBATIM_ASSERT(index < pieces_in_epoch(), "piece {} of {}", index, pieces_in_epoch());
  const uint64_t number = order_(index);
  const auto after = std::upper_bound(first_piece_.begin(), first_piece_.end(), number);
  const auto document = static_cast<uint64_t>(after - first_piece_.begin()) - 1;
  const uint64_t k = number - first_piece_[document];
  const std::string_view text = map_.document(document);
  if (text.size() <= options_.window_bytes) return {.document = document, .begin = 0, .end = text.size()};
  const uint64_t nominal_end = phase(document) + k * stride_;
  return {.document = document,
          .begin = k == 0 ? 0 : cut(text, nominal_end - stride_),
          .end = nominal_end >= text.size() ? text.size() : cut(text, nominal_end)};
}

// Adds the batch that starts at `index` to `pieces` (when given) and returns the index behind it.
uint64_t PieceSampler::take(std::vector<Piece>* pieces, uint64_t index) const {
  const uint64_t first = index;
  for (uint64_t bytes = 0; index < pieces_in_epoch(); ++index) {
    const Piece next = piece(index);
    bytes += next.end - next.begin;
    if (index > first && bytes > options_.batch_bytes) break;
    if (pieces != nullptr) pieces->push_back(next);
  }
  return index;
}

std::vector<Piece> PieceSampler::next() {
  std::vector<Piece> pieces;
  for (uint64_t batch = 0; batch < options_.world; ++batch) {
    position_.index = take(batch == options_.rank ? &pieces : nullptr, position_.index);
    if (position_.index == pieces_in_epoch()) {
      position_ = {.epoch = position_.epoch + 1, .index = 0};
      prepare_epoch(position_.epoch);
    }
  }
  return pieces;
}

void PieceSampler::seek(SamplerPosition position) {
  prepare_epoch(position.epoch);
  if (position.index > pieces_in_epoch()) {
    const uint64_t pieces = pieces_in_epoch();
    prepare_epoch(position_.epoch);
    throw_input(
        "position {} of epoch {}: that epoch has {} pieces; the corpus or the window are not those of the saved run",
        position.index, position.epoch, pieces);
  }
  if (position.index == pieces_in_epoch()) position = {.epoch = position.epoch + 1, .index = 0};
  prepare_epoch(position.epoch);
  position_ = position;
}

std::vector<EvaluationWindow> evaluation_windows(uint64_t size, uint64_t window, uint64_t stride) {
  if (stride == 0 || stride > window) {
    throw_input("evaluation with a window of {} and a stride of {}: the stride must be between 1 and the window",
                window, stride);
  }
  std::vector<EvaluationWindow> windows;
  windows.push_back({.begin = 0, .score_begin = 0, .end = std::min(size, window)});
  while (windows.back().end < size) {
    const uint64_t score_begin = windows.back().end;
    const uint64_t end = score_begin + std::min(stride, size - score_begin);
    windows.push_back({.begin = end - std::min(end, window), .score_begin = score_begin, .end = end});
  }
  return windows;
}

}  // namespace verbatim
