
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "families/byte/byte_encoder.h"
#include "model/softmax_decoder.h"
#include "pretrained/grouped_checkpoints.h"
#include "pretrained/json_members.h"

namespace verbatim {

namespace {

// A number for each stage; one number stands for all. `stages` 0: the list itself says how many there are.
std::vector<int64_t> stage_numbers(const nlohmann::json& config, const char* key, size_t stages,
                                   std::string_view where) {
  const auto found = config.find(key);
  std::vector<int64_t> numbers;
  if (found != config.end() && found->is_number_integer()) {
    numbers.assign(stages, found->get<int64_t>());
  } else if (found != config.end() && found->is_array()) {
    for (const nlohmann::json& item : *found) {
      numbers.push_back(item.is_number_integer() ? item.get<int64_t>() : -1);
    }
  }
  const bool fits = !numbers.empty() && (stages == 0 || numbers.size() == stages) &&
                    std::all_of(numbers.begin(), numbers.end(), [](int64_t n) { return n >= 1 && n <= 1 << 24; });
  if (!fits) {
    throw_input("{}: {} is {}, expected a list of positive whole numbers, one for each stage", where, key,
                found == config.end() ? "missing" : JsonMembers::shown(*found));
  }
  return numbers;
}

}  // namespace

std::shared_ptr<ModelSettings> megabyte_settings(std::string_view json, std::string_view where) {
  const nlohmann::json config = parse_json_object(json, where);
  const JsonMembers members(config, std::string(where));
  auto settings = std::make_shared<ModelSettings>();
  settings->family = "patch";
  const int64_t symbols = members.integer("num_tokens", 256, 256);
  auto encoder = std::make_unique<ByteEncoderSettings>();
  encoder->symbols = symbols;
  // Its texts begin with nothing (the start vectors) and do not end; the id is that of the padding, which is not read.
  encoder->start_id = members.maybe_integer("pad_id", 0, symbols - 1).value_or(0);
  encoder->end_id = -1;
  settings->encoder = std::move(encoder);
  auto decoder = std::make_unique<SoftmaxSettings>();
  decoder->bias = true;
  settings->decoder = std::move(decoder);

  BackboneSettings& backbone = settings->backbone;
  backbone.kind = "megabyte";
  backbone.depths = stage_numbers(config, "depth", 0, where);
  backbone.widths = stage_numbers(config, "dim", backbone.depths.size(), where);
  backbone.lengths = stage_numbers(config, "max_seq_len", backbone.depths.size(), where);
  backbone.stack.heads = members.maybe_integer("heads", 1, 4096).value_or(8);
  backbone.stack.head_width = members.maybe_integer("dim_head", 1, 4096).value_or(64);
  backbone.hidden_multiple = members.maybe_integer("ff_mult", 1, 64).value_or(4);
  backbone.stack.rotary_theta = members.boolean("rel_pos", false) ? 10000 : 0;
  backbone.absolute_positions = members.boolean("pos_emb", false);
  // The reference divides by max(root mean square, 1e-8).
  backbone.stack.norm_epsilon = 1e-16;
  return settings;
}

at::Tensor megabyte_value(TensorsTaken& tensors, std::string name, const ModelSettings& settings,
                          at::IntArrayRef shape) {
  if (name == "encoder.table.weight") return tensors.take("token_embs.0.weight", shape);
  if (name == "decoder.head.weight") return tensors.take("to_logits.weight", shape);
  if (name == "decoder.bias") return tensors.take("to_logits.bias", shape);
  take_prefix(name, "backbone.stages.");
  std::string stage = take_number(name);
  stage.pop_back();
  if (name == "start") return tensors.take("start_tokens." + stage, shape);
  if (name == "positions.weight") return tensors.take(fmt::format("pos_embs.{}.weight", stage), shape);
  if (take_prefix(name, "messages."))
    return tensors.take(fmt::format("to_next_transformer_projections.{}.1.{}", stage, name), shape);
  // Tables are counted from the finest stage.
  const std::string table =
      fmt::format("token_embs.{}.", settings.backbone.widths.size() - 1 - static_cast<size_t>(std::stoi(stage)));
  if (name == "table.weight") return tensors.take(table + "0.weight", shape);
  if (take_prefix(name, "bytes_norm.")) return tensors.take(table + "2." + name, shape);
  if (take_prefix(name, "project.")) return tensors.take(table + "3." + name, shape);
  if (take_prefix(name, "vector_norm.")) return tensors.take(table + "4." + name, shape);
  std::string prefix = fmt::format("transformers.{}.", stage);
  if (name == "norm.weight") return tensors.take(prefix + "norm.g", shape);
  take_prefix(name, "layers.");
  prefix += "layers." + take_number(name);
  if (name == "input_layernorm.weight") return tensors.take(prefix + "0.norm.g", shape);
  if (name == "post_attention_layernorm.weight") return tensors.take(prefix + "1.0.g", shape);
  if (take_prefix(name, "mlp.up_proj.")) return tensors.take(prefix + "1.1." + name, shape);
  if (take_prefix(name, "mlp.down_proj.")) return tensors.take(prefix + "1.4." + name, shape);
  if (name == "self_attn.q_proj.weight") return tensors.take(prefix + "0.to_q.weight", shape);
  if (name == "self_attn.o_proj.weight") return tensors.take(prefix + "0.to_out.weight", shape);
  const bool is_key = name == "self_attn.k_proj.weight";
  VERBATIM_ASSERT(is_key || name == "self_attn.v_proj.weight", "{}", name);
  const at::Tensor both = tensors.take(prefix + "0.to_kv.weight", {2 * shape[0], shape[1]});
  return both.narrow(0, is_key ? 0 : shape[0], shape[0]);
}

}  // namespace verbatim
