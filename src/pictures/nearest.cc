#include "pictures/nearest.h"

#include <Eigen/Dense>
#include <algorithm>

#include "pictures/rows.h"

namespace verbatim {
namespace {

using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using DoubleRows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Index = Eigen::Index;

constexpr Index kBlock = 256;  // rows whose products with all others are held at a time

}  // namespace

std::vector<std::vector<NearRow>> nearest_rows(std::span<const float> rows_ND, size_t width, size_t most) {
  const size_t count = count_rows(rows_ND, width);
  std::vector<std::vector<NearRow>> nearest(count);
  if (count < 2) return nearest;
  const size_t kept = std::min(most, count - 1);

  // In double: equal rows then have cosines that are equal as floats, whatever the order of summation.
  const auto rows = static_cast<Index>(count);
  DoubleRows units_ND =
      Eigen::Map<const FloatRows>(rows_ND.data(), rows, static_cast<Index>(width)).template cast<double>();
  for (Index i = 0; i < rows; ++i) {
    const double length = units_ND.row(i).norm();
    if (length > 0) units_ND.row(i) /= length;
  }

  std::vector<NearRow> candidates(count - 1);
  for (Index start = 0; start < rows; start += kBlock) {
    const Index size = std::min(kBlock, rows - start);
    const DoubleRows cosines_BN = units_ND.middleRows(start, size) * units_ND.transpose();
    for (Index i = 0; i < size; ++i) {
      const Index self = start + i;
      for (Index other = 0, next = 0; other < rows; ++other) {
        if (other == self) continue;
        candidates[static_cast<size_t>(next++)] = {
            .row = static_cast<uint32_t>(other),
            .cosine = std::clamp(static_cast<float>(cosines_BN(i, other)), -1.0F, 1.0F)};
      }
      const auto last = candidates.begin() + static_cast<std::ptrdiff_t>(kept);
      std::partial_sort(candidates.begin(), last, candidates.end(), [](const NearRow& a, const NearRow& b) {
        return a.cosine != b.cosine ? a.cosine > b.cosine : a.row < b.row;
      });
      nearest[static_cast<size_t>(self)].assign(candidates.begin(), last);
    }
  }
  return nearest;
}

}  // namespace verbatim
