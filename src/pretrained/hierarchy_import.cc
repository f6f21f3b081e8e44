#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "corpus/staging_folder.h"
#include "model/model_folder.h"
#include "model/tensor_io.h"
#include "model/weights.h"
#include "pretrained/checkpoint_weights.h"
#include "pretrained/hierarchy_checkpoint.h"
#include "pretrained/new_folder.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMostConfigBytes = 1 << 24;

// Takes the tensors of a checkpoint one by one, under the names of the reference.
class TensorsTaken {
 public:
  explicit TensorsTaken(const CheckpointWeights& weights) : weights_(weights) {}

  [[nodiscard]] bool contains(const std::string& name) const { return weights_.tensors().contains(name); }

  at::Tensor take(const std::string& name, at::IntArrayRef shape) {
    const auto found = weights_.tensors().find(name);
    if (found == weights_.tensors().end()) {
      throw_input("{}: tensor \"{}\" is missing, which config.json asks for", weights_.file(), name);
    }
    if (found->second.shape != shape.vec()) {
      throw_input("{}: tensor \"{}\" has shape [{}], config.json asks for [{}]", weights_.file(), name,
                  fmt::join(found->second.shape, ", "), fmt::join(shape.vec(), ", "));
    }
    used_.insert(name);
    return tensor_from_view(found->second, name);
  }

  void refuse_others(const std::set<std::string>& may_be_there) const {
    for (const auto& [name, view] : weights_.tensors()) {
      if (!used_.contains(name) && !may_be_there.contains(name)) {
        throw_input("{}: tensor \"{}\" has no place in a model of this config.json", weights_.file(), name);
      }
    }
  }

 private:
  const CheckpointWeights& weights_;
  std::set<std::string> used_;
};

bool take_prefix(std::string& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

// Queries or keys [H d, D] whose pairs are (i, i + R/2) of the first R columns of a head, into the order of the
// backbone: pairs (i, i + d/2), the first R/2 of them turning.
at::Tensor reorder_pairs(const at::Tensor& rows, int64_t heads, int64_t turning) {
  const int64_t d = rows.size(0) / heads, half = d / 2;
  if (turning == 0 || turning == d) return rows;
  std::vector<int64_t> order(static_cast<size_t>(d));
  int64_t still = turning;
  for (int64_t i = 0; i < half; ++i) {
    order[i] = i < turning / 2 ? i : still++;
    order[half + i] = i < turning / 2 ? turning / 2 + i : still++;
  }
  return rows.reshape({heads, d, rows.size(1)}).index_select(1, torch::tensor(order)).reshape(rows.sizes());
}

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
    return which == 2 ? rows : reorder_pairs(rows, stack.heads, stack.rotary_width);
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
    const std::string number = name.substr(0, name.find('.') + 1);
    take_prefix(name, number);
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
  const std::string number = name.substr(0, name.find('.') + 1);
  take_prefix(name, number);
  return layer_value(tensors, "backbone.layers." + number, name, settings.backbone.stack, shape, /*is_hnet=*/false);
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
  const bool is_hnet = hierarchy_kind(std::string_view(json)) == HierarchyKind::kHnet;
  std::string tokenizer;
  if (fs::is_regular_file(source / "tokenizer.json")) tokenizer = fs::absolute(source / "tokenizer.json").string();
  const std::shared_ptr<ModelSettings> settings =
      is_hnet ? hnet_settings(json, config_file.string()) : mamba_settings(json, config_file.string(), tokenizer);
  const CheckpointWeights weights = CheckpointWeights::open(source);
  // Shapes are compared before anything of their size is allocated.
  HierarchyImport import;
  {
    const ShapesOnly shapes_only;
    auto shapes =
        is_hnet ? hnet_settings(json, config_file.string()) : mamba_settings(json, config_file.string(), tokenizer);
    const std::shared_ptr<LanguageModel> model = LanguageModel::create(shapes, 0, source);
    uint64_t expected = 0, stored = 0;
    for (const at::Tensor& parameter : model->parameters()) expected += static_cast<uint64_t>(parameter.numel());
    for (const auto& [name, view] : weights.tensors()) stored += view.bytes.size() / 2;
    if (expected > 2 * stored + 1024) {
      throw_input("{}: config.json asks for {} parameters, {} holds {} at most; they do not belong together",
                  source.string(), expected, weights.file(), stored);
    }
  }
  import.model = LanguageModel::create(settings, /*seed=*/0, source);
  import.architecture = is_hnet                                                               ? "H-Net"
                        : settings->backbone.pattern.find_first_of("mM") != std::string::npos ? "Mamba-2"
                                                                                              : "Mamba-1";
  import.stored_types = weights.stored_types();
  torch::NoGradGuard no_grad;
  TensorsTaken tensors(weights);
  for (auto& parameter : import.model->named_parameters()) {
    const at::IntArrayRef shape = parameter.value().sizes();
    parameter.value().copy_(is_hnet ? hnet_value(tensors, parameter.key(), *settings, shape)
                                    : mamba_value(tensors, parameter.key(), *settings, shape));
  }
  tensors.refuse_others({"lm_head.weight"});  // stored once more where it is tied
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
