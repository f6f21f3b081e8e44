#include "cli/blas.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

namespace verbatim {

BlasLibrary find_blas() {
  // Debian's LibTorch is linked to libblas.so.3, which the alternatives system points to one of several packages. It is
  // loaded already, so RTLD_NOLOAD finds the very copy in use.
  void* library = dlopen("libblas.so.3", RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) return {"inside LibTorch", "", false};
  BlasLibrary blas{"unknown", "", false};
  Dl_info info{};
  if (void* symbol = dlsym(library, "sgemm_"); symbol != nullptr && dladdr(symbol, &info) != 0) {
    std::error_code code;
    const std::filesystem::path path = std::filesystem::canonical(info.dli_fname, code);
    blas.path = code ? info.dli_fname : path.string();
    if (blas.path.find("openblas") != std::string::npos) {
      blas.name = "OpenBLAS";
    } else if (blas.path.find("mkl") != std::string::npos) {
      blas.name = "MKL";
    } else if (blas.path.find("blis") != std::string::npos) {
      blas.name = "BLIS";
    } else if (blas.path.find("atlas") != std::string::npos) {
      blas.name = "ATLAS";
    } else {
      blas.name = "reference BLAS";
      blas.is_reference = true;
    }
  }
  dlclose(library);
  return blas;
}

}  // namespace verbatim
