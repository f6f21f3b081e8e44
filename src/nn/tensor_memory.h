#pragma once

namespace verbatim::nn {

// How this process asks for the memory of CPU tensors from now on: a training step takes and returns up to gigabytes,
// and having them mapped anew and cleared each time costs up to half of the step.
//
// - What the C library has got from the system it keeps, however much: the next step needs it again. Tensors of up to
//   32 MiB come from there.
// - Tensors of 2 MiB and more ask for huge pages, which many systems give to those only that ask ("madvise").
//   LibTorch 2 does this itself when THP_MEM_ALLOC_ENABLE=1 is set before it is loaded.
//
// For programs, once, before the first tensor and before other threads run. A setting of the user
// (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_) stays.
void set_up_tensor_memory();

}  // namespace verbatim::nn
