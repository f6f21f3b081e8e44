#include "nn/kernels/bfloat16_unit.h"

#if defined(VERBATIM_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace verbatim::nn {

bool amx_is_available() {
#if defined(VERBATIM_AMX)
  // Linux gives the tile registers to a process that asks; old kernels and machines refuse.
  static const bool available = [] {
    constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return available;
#else
  return false;
#endif
}

}  // namespace verbatim::nn
