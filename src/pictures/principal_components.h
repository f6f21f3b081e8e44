#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace verbatim {

// The directions in which rows differ most, in order of variance. The same rows give the same result on the same
// machine.
struct PrincipalComponents {
  size_t components = 0;                   // K
  std::vector<float> coordinates_NK = {};  // of each row, from the mean
  std::vector<double> shares_K = {};       // of the variance; they sum to 1 at most
  std::vector<float> axes_KD = {};         // of length 1; the largest loading of each is positive
};

// rows_ND has `width` values per row. Components without variance (more than the rows or the width give, or all rows
// equal) have coordinates, share and axis 0. Throws InputError for a value that is not finite.
//
// By the covariance and its eigenvectors in double, which takes width^2 (rows + a few times width) steps.
[[nodiscard]] PrincipalComponents principal_components(std::span<const float> rows_ND, size_t width,
                                                       size_t components = 2);

}  // namespace verbatim
