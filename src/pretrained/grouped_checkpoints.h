#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "model/family.h"
#include "pretrained/tensors_taken.h"

// Checkpoints of models that group bytes by rule: SpaceByte with its variants, and MEGABYTE. Each has settings from its
// config.json, which throw InputError that begins with `where`, and the value of one of our parameters from its
// tensors.
namespace verbatim {

// kjslag/spacebyte: SpaceByte with spaces or a fixed stride (patch_method), or the MegaByte it is compared with
// (patch_size).
[[nodiscard]] std::shared_ptr<ModelSettings> spacebyte_settings(std::string_view json, std::string_view where);
[[nodiscard]] at::Tensor spacebyte_value(TensorsTaken& tensors, std::string name, const ModelSettings& settings,
                                         at::IntArrayRef shape);

// lucidrains/MEGABYTE-pytorch: config.json holds the arguments of its constructor.
[[nodiscard]] std::shared_ptr<ModelSettings> megabyte_settings(std::string_view json, std::string_view where);
[[nodiscard]] at::Tensor megabyte_value(TensorsTaken& tensors, std::string name, const ModelSettings& settings,
                                        at::IntArrayRef shape);

}  // namespace verbatim
