#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "corpus/staging_folder.h"
#include "model/model_folder.h"
#include "model/weights.h"
#include "nn/torch.h"
#include "pretrained/checkpoint_weights.h"
#include "pretrained/grouped_checkpoints.h"
#include "pretrained/hierarchy_checkpoint.h"
#include "pretrained/new_folder.h"
#include "pretrained/rotary_pairs.h"
#include "pretrained/tensors_taken.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMostConfigBytes = 1 << 24;

const BackboneSettings& settings_at(const BackboneSettings& outermost, size_t depth) {
  const BackboneSettings* here = &outermost;
  for (; depth > 0; --depth) here = &here->inner.front();
  return *here;
}

// A layer's parameter by its name inside the layer.
at::Tensor layer_value(TensorsTaken& tensors, const std::string& prefix, std::string name, const StackSettings& stack,
                       at::IntArrayRef shape, bool is_hnet) {
  if (name == "input_layernorm.weight") return tensors.take(prefix + (is_hnet ? "norm1.weight" : "norm.weight"), shape);
  if (name == "post_attention_layernorm.weight") return tensors.take(prefix + "norm2.weight", shape);
  if (name == "self_attn.o_proj.weight") return tensors.take(prefix + "mixer.out_proj.weight", shape);
  if (take_prefix(name, "self_attn.")) {
    const at::Tensor all = tensors.take(prefix + "mixer.Wqkv.weight", {3 * shape[0], shape[1]});
    const int64_t which = name.starts_with("q_") ? 0 : name.starts_with("k_") ? 1 : 2;
    const at::Tensor rows = all.narrow(0, which * shape[0], shape[0]);
    return which == 2 ? rows : partial_to_halves(rows, stack.heads, stack.rotary_width);
  }
  if (name == "mlp.down_proj.weight") return tensors.take(prefix + "mlp.fc2.weight", shape);
  if (take_prefix(name, "mlp.")) {  // the gate is the second half
    const at::Tensor both = tensors.take(prefix + "mlp.fc1.weight", {2 * shape[0], shape[1]});
    return both.narrow(0, name.starts_with("gate") ? shape[0] : 0, shape[0]);
  }
  return tensors.take(prefix + name, shape);  // mixer.*
}

at::Tensor hnet_value(TensorsTaken& tensors, std::string name, const ModelSettings& settings, at::IntArrayRef shape) {
  if (name == "encoder.table.weight") return tensors.take("embeddings.weight", shape);
  if (name == "decoder.head.weight") return tensors.take("lm_head.weight", shape);
  std::string prefix = "backbone.";
  take_prefix(name, prefix);
  size_t depth = 0;
  for (; take_prefix(name, "inner."); ++depth) prefix += "main_network.";
  const BackboneSettings& here = settings_at(settings.backbone, depth);
  const auto layer = [&](const std::string& stack) {
    const std::string number = take_number(name);
    return layer_value(tensors, prefix + stack + ".layers." + number, name, here.stack, shape, /*is_hnet=*/true);
  };
  if (!here.is_level()) {
    if (take_prefix(name, "layers.")) return layer("main_network");
    return tensors.take(prefix + "main_network.rmsnorm.weight", shape);
  }
  if (take_prefix(name, "before.layers.")) return layer("encoder");
  if (take_prefix(name, "after.layers.")) return layer("decoder");
  if (name == "before_norm.weight") return tensors.take(prefix + "encoder.rmsnorm.weight", shape);
  if (name == "norm.weight") return tensors.take(prefix + "decoder.rmsnorm.weight", shape);
  if (name == "boundary_query.weight") return tensors.take(prefix + "routing_module.q_proj_layer.weight", shape);
  if (name == "boundary_key.weight") return tensors.take(prefix + "routing_module.k_proj_layer.weight", shape);
  if (name == "pad") return tensors.take(prefix + "main_network.pad_dimension", shape);
  take_prefix(name, "residual.");
  return tensors.take(prefix + "residual_proj." + name, shape);
}

at::Tensor mamba_value(TensorsTaken& tensors, std::string name, const ModelSettings& settings, at::IntArrayRef shape) {
  if (name == "encoder.table.weight") {
    const char* converted = "backbone.embeddings.weight";
    return tensors.take(tensors.contains(converted) ? converted : "backbone.embedding.weight", shape);
  }
  if (name == "decoder.head.weight") return tensors.take("lm_head.weight", shape);
  if (name == "backbone.norm.weight") return tensors.take("backbone.norm_f.weight", shape);
  take_prefix(name, "backbone.layers.");
  const std::string number = take_number(name);
  return layer_value(tensors, "backbone.layers." + number, name, settings.backbone.stack, shape, /*is_hnet=*/false);
}

at::Tensor value_of(HierarchyKind kind, TensorsTaken& tensors, const std::string& name, const ModelSettings& settings,
                    at::IntArrayRef shape) {
  switch (kind) {
    case HierarchyKind::kHnet:
      return hnet_value(tensors, name, settings, shape);
    case HierarchyKind::kSpaceByte:
      return spacebyte_value(tensors, name, settings, shape);
    case HierarchyKind::kMegabyte:
      return megabyte_value(tensors, name, settings, shape);
    case HierarchyKind::kMamba:
    case HierarchyKind::kNone:
      break;
  }
  return mamba_value(tensors, name, settings, shape);
}

std::string architecture_of(HierarchyKind kind, const ModelSettings& settings) {
  switch (kind) {
    case HierarchyKind::kHnet:
      return "H-Net";
    case HierarchyKind::kSpaceByte:
      return settings.backbone.kind == "grouped" ? "MegaByte of SpaceByte" : "SpaceByte";
    case HierarchyKind::kMegabyte:
      return "MEGABYTE";
    case HierarchyKind::kMamba:
    case HierarchyKind::kNone:
      break;
  }
  return settings.backbone.pattern.find_first_of("mM") != std::string::npos ? "Mamba-2" : "Mamba-1";
}

std::string card_of(const HierarchyImport& import, const fs::path& source) {
  const std::string name = fs::weakly_canonical(fs::absolute(source)).filename().string();
  return fmt::format(
      "---\nlibrary_name: verbatim\ntags: [verbatim, {2}]\n---\n\n# {0}\n\nImported from the checkpoint \"{0}\" ({1}, "
      "weights stored as {3}). {4} parameters. Licence, training data and intended use are those of that "
      "checkpoint.\n\n    verbatim generate FOLDER -p \"Once upon a time\"\n",
      name, import.architecture, import.model->settings().family, import.stored_types, import.model->parameter_count());
}

}  // namespace

HierarchyImport read_hierarchy(const fs::path& source) {
  const fs::path config_file = source / "config.json";
  const std::string json = read_file(config_file, kMostConfigBytes);
  const HierarchyKind kind = hierarchy_kind(std::string_view(json));
  std::string tokenizer;
  if (fs::is_regular_file(source / "tokenizer.json")) tokenizer = fs::absolute(source / "tokenizer.json").string();
  const auto settings_of = [&] { return hierarchy_settings(kind, json, config_file.string(), tokenizer); };
  const std::shared_ptr<ModelSettings> settings = settings_of();
  const CheckpointWeights weights = CheckpointWeights::open(source);
  // Shapes are compared before anything of their size is allocated.
  HierarchyImport import;
  {
    const ShapesOnly shapes_only;
    const std::shared_ptr<LanguageModel> model = LanguageModel::create(settings_of(), 0, source);
    uint64_t expected = 0, stored = 0;
    for (const at::Tensor& parameter : model->parameters()) expected += static_cast<uint64_t>(parameter.numel());
    for (const auto& [name, view] : weights.tensors()) stored += view.bytes.size() / 2;
    if (expected > 2 * stored + 1024) {
      throw_input("{}: config.json asks for {} parameters, {} holds {} at most; they do not belong together",
                  source.string(), expected, weights.file(), stored);
    }
  }
  import.model = LanguageModel::create(settings, /*seed=*/0, source);
  import.architecture = architecture_of(kind, *settings);
  import.stored_types = weights.stored_types();
  torch::NoGradGuard no_grad;
  TensorsTaken tensors(weights);
  for (auto& parameter : import.model->named_parameters()) {
    const at::IntArrayRef shape = parameter.value().sizes();
    parameter.value().copy_(value_of(kind, tensors, parameter.key(), *settings, shape));
  }
  // The head is stored once more where it is tied.
  tensors.refuse_others({"lm_head.weight", "logits.logits_linear.weight"});
  import.model->eval();
  return import;
}

HierarchyImport import_hierarchy(const fs::path& source, const fs::path& out) {
  require_free(out);
  HierarchyImport import = read_hierarchy(source);
  StagingFolder staging(out);
  save_model(*import.model, staging.path(), card_of(import, source));
  staging.publish();
  return import;
}

}  // namespace verbatim
