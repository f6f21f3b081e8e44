#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "formats/safetensors.h"

// Writes what torch.save writes: a stored ZIP with a pickle (protocol 2) and one little-endian storage for each tensor,
// aligned to 64 bytes. torch.load reads it, also with weights_only.
namespace verbatim {

using TorchValue = std::variant<std::monostate,                                 // None
                                TensorView,                                     // contiguous; the bytes must stay
                                std::vector<std::string>,                       // list of str (UTF-8)
                                std::vector<std::pair<std::string, int64_t>>>;  // dict of str to int

// Writes a dict in the order given; the file appears complete or not at all. Types F64, F32, F16, BF16, I64, I32, I16,
// I8, U8 and BOOL. Throws InternalError for bytes that do not fit type and shape, or other types.
void write_torch_zip(const std::filesystem::path& path, const std::vector<std::pair<std::string, TorchValue>>& members);

}  // namespace verbatim
