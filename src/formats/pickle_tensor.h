#pragma once

#include <string_view>

#include "formats/pickle.h"

// What the reader of pickles and the functions of torch that put tensors together share.
namespace verbatim::pickle {

// "F32" for "torch.FloatStorage", "U8" for "torch.storage.UntypedStorage"; empty for other names.
[[nodiscard]] std::string_view dtype_of_storage(std::string_view name);
// "F32" for "torch.float32"; empty for other names, also for types that safetensors has no word for.
[[nodiscard]] std::string_view dtype_of_name(std::string_view name);

// Throws InputError, which begins with `where`, unless every element of the view lies inside its storage and the
// numbers of elements and bytes are below 2^63.
void check_view(const PickleTensor& tensor, std::string_view where);

}  // namespace verbatim::pickle
