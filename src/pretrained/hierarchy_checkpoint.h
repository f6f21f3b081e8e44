#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "model/language_model.h"

// Public checkpoints of byte models without a tokenizer: H-Net (goombalab/hnet: config.json with arch_layout, one *.pt)
// and Mamba-1/2 (state-spaces/mamba: config.json, pytorch_model.bin or safetensors), MambaByte included; SpaceByte with
// its variants (kjslag/spacebyte) and MEGABYTE (lucidrains/MEGABYTE-pytorch), whose config.json holds the names of
// their programs, see grouped_checkpoints.h.
namespace verbatim {

// Settings that give a model of these shapes. Throw InputError that begins with `where`: values that are missing, out
// of range, or ask for what does not exist here.
[[nodiscard]] std::shared_ptr<ModelSettings> hnet_settings(std::string_view json, std::string_view where);
// `tokenizer`: the tokenizer file for models over tokens; empty: symbols are bytes, or only counted.
[[nodiscard]] std::shared_ptr<ModelSettings> mamba_settings(std::string_view json, std::string_view where,
                                                            const std::string& tokenizer);

// By the keys of a configuration.
enum class HierarchyKind { kNone, kHnet, kMamba, kSpaceByte, kMegabyte };
[[nodiscard]] HierarchyKind hierarchy_kind(std::string_view json);
// Of the config.json in a checkpoint folder; kNone also where there is none.
[[nodiscard]] HierarchyKind hierarchy_kind(const std::filesystem::path& source);

// Settings of any kind but kNone; `tokenizer` as in mamba_settings.
[[nodiscard]] std::shared_ptr<ModelSettings> hierarchy_settings(HierarchyKind kind, std::string_view json,
                                                                std::string_view where, const std::string& tokenizer);
// The same from a file, to look at.
[[nodiscard]] std::shared_ptr<ModelSettings> hierarchy_settings(const std::filesystem::path& config);

struct HierarchyImport {
  std::shared_ptr<LanguageModel> model;
  std::string architecture;  // "H-Net", "Mamba-1", "Mamba-2", "SpaceByte", "MegaByte of SpaceByte", "MEGABYTE"
  std::string stored_types;
};

// Reads a checkpoint folder. Weights are put into the order used here (queries and keys apart and their turning columns
// where the backbone turns them, gate before value), which changes no result. Throws InputError that names the file and
// what is wrong.
[[nodiscard]] HierarchyImport read_hierarchy(const std::filesystem::path& source);
// read_hierarchy() into the model folder `out`, which appears complete or not at all.
HierarchyImport import_hierarchy(const std::filesystem::path& source, const std::filesystem::path& out);

}  // namespace verbatim
