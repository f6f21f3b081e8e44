#pragma once

#include <string>

namespace verbatim {

// The library that multiplies matrices for LibTorch in this process.
struct BlasLibrary {
  std::string name;           // "OpenBLAS", "MKL", "BLIS", "reference BLAS", "unknown"
  std::string path;           // empty when it is inside LibTorch
  bool is_reference = false;  // plain loops, about 50 times slower than the others
};
[[nodiscard]] BlasLibrary find_blas();

}  // namespace verbatim
