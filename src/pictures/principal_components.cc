#include "pictures/principal_components.h"

#include <Eigen/Dense>
#include <algorithm>

#include "base/error.h"
#include "pictures/rows.h"

namespace verbatim {
namespace {

using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using DoubleRows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Index = Eigen::Index;

constexpr Index kBlock = 256;        // rows that are doubles at a time
constexpr double kRounding = 1e-12;  // a smaller share of the largest variance is rounding

// The rows less their mean, a block at a time.
class CentredRows {
 public:
  explicit CentredRows(const Eigen::Map<const FloatRows>& rows_ND) : rows_ND_(rows_ND) {
    // From the first row, so that equal rows differ from their mean by exactly 0.
    first_D_ = rows_ND_.row(0).cast<double>();
    shift_D_ = Eigen::RowVectorXd::Zero(rows_ND_.cols());
    for (Index i = 0; i < rows_ND_.rows(); ++i) shift_D_ += rows_ND_.row(i).cast<double>() - first_D_;
    shift_D_ /= static_cast<double>(rows_ND_.rows());
  }

  [[nodiscard]] Index size() const { return rows_ND_.rows(); }
  [[nodiscard]] Index block_size(Index start) const { return std::min(kBlock, size() - start); }
  [[nodiscard]] DoubleRows block(Index start) const {
    DoubleRows block_BD = rows_ND_.middleRows(start, block_size(start)).cast<double>();
    block_BD.rowwise() -= first_D_;
    block_BD.rowwise() -= shift_D_;
    return block_BD;
  }

 private:
  Eigen::Map<const FloatRows> rows_ND_;
  Eigen::RowVectorXd first_D_, shift_D_;
};

// An eigenvector may point either way. Loadings of equal size differ by rounding: the first of them decides.
void fix_sign(Eigen::Ref<Eigen::VectorXd> axis_D) {
  const double largest = axis_D.cwiseAbs().maxCoeff();
  for (const double loading : axis_D) {
    if (std::abs(loading) < largest * (1 - 1e-6)) continue;
    if (loading < 0) axis_D = -axis_D;
    return;
  }
}

}  // namespace

PrincipalComponents principal_components(std::span<const float> rows_ND, size_t width, size_t components) {
  const size_t count = count_rows(rows_ND, width);
  PrincipalComponents result{.components = components,
                             .coordinates_NK = std::vector<float>(count * components),
                             .shares_K = std::vector<double>(components),
                             .axes_KD = std::vector<float>(components * width)};
  if (count == 0) return result;

  const auto columns = static_cast<Index>(width);
  const CentredRows rows(Eigen::Map<const FloatRows>(rows_ND.data(), static_cast<Index>(count), columns));
  Eigen::MatrixXd scatter_DD = Eigen::MatrixXd::Zero(columns, columns);
  for (Index start = 0; start < rows.size(); start += kBlock) {
    scatter_DD.selfadjointView<Eigen::Lower>().rankUpdate(rows.block(start).transpose());
  }
  const double total = scatter_DD.trace();
  if (!(total > 0)) return result;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(scatter_DD);
  VERBATIM_ASSERT(solver.info() == Eigen::Success, "no eigenvectors of a matrix of {} columns", width);

  // The solver sorts from the smallest.
  const Eigen::VectorXd& variances_D = solver.eigenvalues();
  const double largest = variances_D(columns - 1);
  Index used = 0;
  while (used < std::min(columns, static_cast<Index>(components)) &&
         variances_D(columns - 1 - used) > largest * kRounding) {
    ++used;
  }
  Eigen::MatrixXd axes_DK = solver.eigenvectors().rightCols(used).rowwise().reverse();
  for (Index k = 0; k < used; ++k) {
    fix_sign(axes_DK.col(k));
    result.shares_K[static_cast<size_t>(k)] = variances_D(columns - 1 - k) / total;
  }
  Eigen::Map<FloatRows>(result.axes_KD.data(), static_cast<Index>(components), columns).topRows(used) =
      axes_DK.transpose().cast<float>();
  Eigen::Map<FloatRows> coordinates_NK(result.coordinates_NK.data(), rows.size(), static_cast<Index>(components));
  for (Index start = 0; start < rows.size(); start += kBlock) {
    coordinates_NK.block(start, 0, rows.block_size(start), used) = (rows.block(start) * axes_DK).cast<float>();
  }
  return result;
}

}  // namespace verbatim
