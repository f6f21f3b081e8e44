#pragma once

#include <cstdint>
#include <string>

namespace verbatim {

// Facts about the machine and this process, for reports and choices of kernels.

[[nodiscard]] std::string cpu_name();
[[nodiscard]] int cpu_count();
[[nodiscard]] uint64_t total_memory_bytes();
// Largest resident size of this process so far; 0 when the system does not say.
[[nodiscard]] int64_t peak_memory_bytes();
// The processor has instructions for bfloat16 products (AMX tiles, or AVX-512 dot products of pairs), which are faster
// than float32 then.
[[nodiscard]] bool cpu_multiplies_bfloat16();
[[nodiscard]] std::string host_name();

}  // namespace verbatim
