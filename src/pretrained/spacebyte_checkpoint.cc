#include <fmt/format.h>

#include "base/error.h"
#include "base/text_format.h"
#include "families/byte/byte_encoder.h"
#include "model/softmax_decoder.h"
#include "pretrained/grouped_checkpoints.h"
#include "pretrained/json_members.h"
#include "pretrained/rotary_pairs.h"

namespace verbatim {

namespace {

constexpr int64_t kMostWidth = 65536, kMostPositions = 1 << 24, kMostLayers = 1024;

// The shape of the blocks, all of which differ in width and window only.
StackSettings block_settings(const JsonMembers& members, std::string_view where, int64_t width) {
  StackSettings stack;
  stack.width = width;
  stack.head_width = members.integer("d_key", 1, kMostWidth);
  stack.heads = width / stack.head_width;
  if (stack.heads * stack.head_width != width) {
    throw_input("{}: d_key is {}, must divide the widths ({})", where, stack.head_width, width);
  }
  stack.key_value_heads = members.maybe_integer("attention_groups", 1, stack.heads).value_or(0);
  stack.hidden = width * members.maybe_integer("d_ff_mult", 1, 64).value_or(4);
  stack.query_key_norm = members.boolean("qk_layer_norm", true);
  stack.rotary_theta = members.boolean("rope", false) ? 10000 : 0;
  const std::string norm = members.word("layer_norm", "LayerNorm");
  if (norm != "LayerNorm" && norm != "RMSNorm") {
    throw_input("{}: layer_norm is {}, expected \"LayerNorm\" or \"RMSNorm\"", where, quote_bytes(norm));
  }
  stack.norm = norm == "LayerNorm" ? "layer_unshifted" : "deviation";
  const std::string activation = members.word("nonlinear", "ReLU");
  if (activation != "ReLU" && activation != "GELU" && activation != "SiLU") {
    throw_input("{}: nonlinear is {}, expected \"ReLU\", \"GELU\" or \"SiLU\"", where, quote_bytes(activation));
  }
  stack.mlp = activation == "ReLU" ? "relu" : activation == "GELU" ? "gelu_tanh" : "silu";
  return stack;
}

// The innermost stack: the global blocks.
BackboneSettings global_settings(const JsonMembers& members, std::string_view where) {
  BackboneSettings global;
  global.kind = "transformer";
  global.stack = block_settings(members, where, members.integer("d_model", 2, kMostWidth));
  global.stack.layers = members.integer("n_layers", 0, kMostLayers);
  global.stack.window = members.maybe_integer("attention_window", 1, kMostPositions).value_or(0);
  global.closing_norm = false;
  return global;
}

}  // namespace

std::shared_ptr<ModelSettings> spacebyte_settings(std::string_view json, std::string_view where) {
  const nlohmann::json config = parse_json_object(json, where);
  const JsonMembers members(config, std::string(where));
  for (const char* absent : {"tokenizer", "sparse_attention"}) {
    if (const nlohmann::json* value = members.find(absent); value != nullptr && *value != false) {
      throw_input("{}: {} is {}, only null can be imported", where, absent, JsonMembers::shown(*value));
    }
  }
  const int64_t symbols = members.integer("vocab_size", 256, 256);
  const int64_t begin_symbol = members.integer("BOS", 0, symbols - 1);
  auto settings = std::make_shared<ModelSettings>();
  settings->family = "patch";
  auto encoder = std::make_unique<ByteEncoderSettings>();
  encoder->symbols = symbols;
  // The symbol stands between documents: it is read before each and predicted behind it.
  encoder->start_id = encoder->end_id = begin_symbol;
  settings->encoder = std::move(encoder);
  auto decoder = std::make_unique<SoftmaxSettings>();
  decoder->tied = members.boolean("tie_embedding", false);
  settings->decoder = std::move(decoder);

  BackboneSettings& level = settings->backbone;
  const int64_t context = members.integer("context_size", 1, kMostPositions);
  const bool has_positions = members.boolean("position_encoding", true);
  const int64_t local_layers = members.integer("n_local_layers", 0, kMostLayers);
  level.stack = block_settings(members, where, members.integer("d_local", 2, kMostWidth));
  if (has_positions) level.stack.positions = context;
  level.inner = {global_settings(members, where)};
  BackboneSettings& global = level.inner.front();
  if (config.contains("patch_size")) {
    if (!members.boolean("use_padding", true))
      throw_input("{}: use_padding is false, only true can be imported", where);
    level.kind = "grouped";
    level.group = members.integer("patch_size", 1, context);
    level.stack.layers = local_layers;
    return settings;
  }
  level.kind = "level";
  level.pool = "padded";
  level.upsample = "tail";
  level.stack.window = members.maybe_integer("local_attention_window", 1, kMostPositions).value_or(0);
  level.layers_before = members.maybe_integer("n_initial_layers", 0, local_layers).value_or(local_layers / 2);
  level.layers_after = local_layers - level.layers_before;
  const int64_t patches = members.integer("global_context_size", 1, context);
  if (has_positions) global.stack.positions = patches;
  const std::string method = members.word("patch_method", "utf8");
  if (method == "utf8") {
    level.boundary = "space";
    level.boundary_symbols = {begin_symbol};
  } else if (method == "periodic" && context % patches == 0) {
    level.boundary = fmt::format("fixed:{}", context / patches);
  } else {
    throw_input(
        "{}: patch_method is {}, expected \"utf8\", or \"periodic\" with a context_size ({}) that is a multiple of "
        "global_context_size ({})",
        where, quote_bytes(method), context, patches);
  }
  return settings;
}

namespace {

// A parameter of a block by its name inside our layer.
at::Tensor block_value(TensorsTaken& tensors, const std::string& prefix, const std::string& name,
                       const StackSettings& stack, at::IntArrayRef shape) {
  if (name == "input_layernorm.weight") return tensors.take(prefix + "attention.layer_norm.scale", shape);
  if (name == "post_attention_layernorm.weight") return tensors.take(prefix + "feedforward.layer_norm.scale", shape);
  if (name == "mlp.up_proj.weight") return tensors.take(prefix + "feedforward.linear_1.weight", shape);
  if (name == "mlp.down_proj.weight") return tensors.take(prefix + "feedforward.linear_2.weight", shape);
  if (name == "self_attn.o_proj.weight") return tensors.take(prefix + "attention.linear.weight", shape);
  // Neighbouring columns of a head turn together.
  const bool turns = stack.rotary_theta != 0;
  if (name == "self_attn.q_norm.weight" || name == "self_attn.k_norm.weight") {
    const char* of = name.find("q_norm") != std::string::npos ? "Q" : "K";
    const at::Tensor gain = tensors.take(fmt::format("{}attention.{}_layer_norm.scale", prefix, of), shape);
    return turns ? neighbours_to_halves(gain, 1) : gain;
  }
  const int64_t width = stack.width, heads = stack.heads, groups = stack.key_value_heads, d = stack.head_width;
  const bool is_query = name == "self_attn.q_proj.weight", is_key = name == "self_attn.k_proj.weight";
  VERBATIM_ASSERT(is_query || is_key || name == "self_attn.v_proj.weight", "{}", name);
  at::Tensor rows;
  if (tensors.contains(prefix + "attention.QKV_linear.weight")) {
    const at::Tensor all = tensors.take(prefix + "attention.QKV_linear.weight", {(heads + 2 * groups) * d, width});
    rows = all.narrow(0, is_query ? 0 : is_key ? heads * d : (heads + groups) * d, shape[0]);
  } else if (is_query) {
    rows = tensors.take(prefix + "attention.Q_linear.weight", shape);
  } else {
    const at::Tensor both = tensors.take(prefix + "attention.KV_linear.weight", {2 * groups * d, width});
    rows = both.narrow(0, is_key ? 0 : groups * d, shape[0]);
  }
  return turns && (is_query || is_key) ? neighbours_to_halves(rows, is_query ? heads : groups) : rows;
}

}  // namespace

at::Tensor spacebyte_value(TensorsTaken& tensors, std::string name, const ModelSettings& settings,
                           at::IntArrayRef shape) {
  const BackboneSettings& level = settings.backbone;
  const bool grouped = level.kind == "grouped";
  if (name == "encoder.table.weight")
    return tensors.take(grouped ? "local_token_embedding.weight" : "token_embedding.weight", shape);
  if (name == "decoder.head.weight") return tensors.take("logits.logits_linear.weight", shape);
  take_prefix(name, "backbone.");
  if (name == "norm.weight") return tensors.take("logits.layer_norm.scale", shape);
  if (name == "positions.weight") return tensors.take("local_position_encoding", shape);
  if (name == "inner.positions.weight" || name == "inner_positions.weight")
    return tensors.take("global_position_encoding", shape);
  if (name == "inner_table.weight") return tensors.take("global_token_embedding.weight", shape);
  if (name == "inner_pad") return tensors.take("global_pad", shape);
  if (name == "pad") return tensors.take("local_pad", shape);
  if (take_prefix(name, "down.")) return tensors.take("global_to_local." + name, shape);
  const bool is_inner = take_prefix(name, "inner.");
  const char* blocks = is_inner                       ? "global_blocks"
                       : take_prefix(name, "before.") ? "initial_blocks"
                       : grouped                      ? "local_blocks"
                                                      : "final_blocks";
  take_prefix(name, "after.");
  take_prefix(name, "layers.");
  const std::string number = take_number(name);
  return block_value(tensors, fmt::format("{}.{}", blocks, number), name,
                     is_inner ? level.inner.front().stack : level.stack, shape);
}

}  // namespace verbatim
