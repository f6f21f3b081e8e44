#include "families/tokun/block_sums.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "blocks/utf32.h"

namespace verbatim {

namespace {
constexpr size_t kUnits = size_t{kEscape} + 0x100;
constexpr int64_t kRowsPerTask = 16;
}  // namespace

BlockSums::BlockSums(const at::Tensor& join_LCW, int64_t characters)
    : joins_CWL_(join_LCW.detach().view({join_LCW.size(0), characters, -1}).permute({1, 2, 0}).contiguous()),
      characters_(characters),
      width_(join_LCW.size(0)),
      slots_(kUnits, -1) {}

bool BlockSums::learn(const PositionBatch& batch, const CharacterVectors& vectors) {
  std::vector<int32_t> units;
  const auto note = [&](int32_t unit) {
    if (slots_[unit] >= 0) return;
    slots_[unit] = static_cast<int32_t>(known_ + static_cast<int64_t>(units.size()));
    units.push_back(unit);
  };
  note(0);  // padding
  for (const int32_t unit : batch.ids) note(unit);
  if (units.empty()) return true;
  const auto count = static_cast<int64_t>(units.size());
  if (known_ + count > kMostCharacters) {
    for (const int32_t unit : units) slots_[unit] = -1;
    return false;
  }
  // [C, U, L] to [U, C, L]
  const at::Tensor sums_UCL = at::matmul(vectors(units), joins_CWL_).transpose(0, 1);
  for (int64_t done = 0; done < count;) {
    const int64_t place = (known_ + done) % kPage;
    if (place == 0) pages_.push_back(at::empty({kPage, characters_, width_}, at::kFloat));
    const int64_t some = std::min(kPage - place, count - done);
    pages_.back().slice(0, place, place + some).copy_(sums_UCL.slice(0, done, done + some));
    done += some;
  }
  known_ += count;
  return true;
}

at::Tensor BlockSums::sums(const PositionBatch& batch, int64_t begin, int64_t end) const {
  at::Tensor sums_NL = at::empty({end - begin, width_}, at::kFloat);
  auto* out = sums_NL.data_ptr<float>();
  std::vector<const float*> pages;
  for (const at::Tensor& page : pages_) pages.push_back(page.data_ptr<float>());
  const int64_t stride = characters_ * width_, width = width_;
  at::parallel_for(begin, end, kRowsPerTask, [&](int64_t first_row, int64_t last_row) {
    for (int64_t row = first_row; row < last_row; ++row) {
      float* __restrict to = out + (row - begin) * width;
      std::fill_n(to, width, 0.0F);
      const int64_t first = batch.id_offsets[row], count = batch.id_offsets[row + 1] - first;
      for (int64_t i = 0; i < characters_; ++i) {
        const int64_t slot = slots_[i < count ? batch.ids[first + i] : 0];
        const float* __restrict from = pages[slot / kPage] + slot % kPage * stride + i * width;
        for (int64_t d = 0; d < width; ++d) to[d] += from[d];
      }
    }
  });
  return sums_NL;
}

}  // namespace verbatim
