#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/text_format.h"
#include "families/byte/byte_encoder.h"
#include "families/token/token_encoder.h"
#include "model/softmax_decoder.h"
#include "pretrained/grouped_checkpoints.h"
#include "pretrained/hierarchy_checkpoint.h"
#include "pretrained/json_members.h"

namespace verbatim {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;

constexpr uint64_t kMostConfigBytes = 1 << 24;
constexpr int64_t kHiddenMultiple = 128;  // both references round the MLP up
constexpr int64_t kHnetStart = 254, kHnetEnd = 255;

int64_t rounded_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

const Json& required(const Json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) throw_input("{}: {} is missing", where, key);
  return *found;
}

// A list of whole numbers; one for each stage.
std::vector<int64_t> integers(const Json& object, const char* key, size_t count, std::string_view where) {
  const Json& list = required(object, key, where);
  std::vector<int64_t> values;
  for (const Json& item : list.is_array() ? list : Json::array()) {
    if (!item.is_number_integer()) break;
    values.push_back(item.get<int64_t>());
  }
  if (!list.is_array() || values.size() != list.size() || values.size() < count) {
    throw_input("{}: {} is {}, expected {} whole numbers, one for each stage", where, key, JsonMembers::shown(list),
                count);
  }
  return values;
}

// [before, [inner], after] for a stage, [layers] for the innermost one.
struct Layout {
  std::string before, after;  // or `before` alone, innermost
};

std::vector<Layout> parse_layout(const Json& layout, std::string_view where) {
  std::vector<Layout> stages;
  const Json* here = &layout;
  constexpr size_t kMostStages = 16;
  while (stages.size() < kMostStages && here->is_array()) {
    if (here->size() == 1 && (*here)[0].is_string()) {
      stages.push_back({(*here)[0].get<std::string>(), ""});
      return stages;
    }
    if (here->size() != 3 || !(*here)[0].is_string() || !(*here)[2].is_string()) break;
    stages.push_back({(*here)[0].get<std::string>(), (*here)[2].get<std::string>()});
    here = &(*here)[1];
  }
  throw_input("{}: arch_layout is {}, expected [\"before\", [inner], \"after\"], innermost [\"layers\"]", where,
              JsonMembers::shown(layout));
}

std::unique_ptr<ByteEncoderSettings> byte_encoder(int64_t symbols, int64_t start, int64_t end) {
  auto encoder = std::make_unique<ByteEncoderSettings>();
  encoder->symbols = symbols;
  encoder->start_id = start;
  encoder->end_id = end;
  return encoder;
}

}  // namespace

std::shared_ptr<ModelSettings> hnet_settings(std::string_view json, std::string_view where) {
  const Json config = parse_json_object(json, where);
  const JsonMembers members(config, std::string(where));
  const std::vector<Layout> stages = parse_layout(required(config, "arch_layout", where), where);
  const size_t count = stages.size();
  const std::vector<int64_t> widths = integers(config, "d_model", count, where);
  const std::vector<int64_t> hidden = integers(config, "d_intermediate", count, where);
  const Json& attention = required(config, "attn_cfg", where);
  const std::vector<int64_t> heads = integers(attention, "num_heads", count, where);
  const std::vector<int64_t> rotary = integers(attention, "rotary_emb_dim", count, where);
  const std::vector<int64_t> windows = integers(attention, "window_size", count, where);
  const Json& mamba_config = required(config, "ssm_cfg", where);
  const JsonMembers mamba(mamba_config, fmt::format("{}: ssm_cfg", where));

  auto settings = std::make_shared<ModelSettings>();
  settings->family = count > 1 ? "patch" : "byte";
  const int64_t symbols = members.integer("vocab_size", kHnetEnd + 1, 1 << 16);
  settings->encoder = byte_encoder(symbols, kHnetStart, kHnetEnd);
  auto decoder = std::make_unique<SoftmaxSettings>();
  decoder->tied = members.boolean("tie_embeddings", false);
  settings->decoder = std::move(decoder);

  BackboneSettings* here = &settings->backbone;
  for (size_t s = 0; s < count; ++s) {
    StackSettings& stack = here->stack;
    if (widths[s] < 2 || widths[s] > 65536 || heads[s] < 1 || hidden[s] < 0 || hidden[s] > 1 << 20) {
      throw_input("{}: stage {} has width {}, {} heads and hidden width {}; one of them is out of range", where, s,
                  widths[s], heads[s], hidden[s]);
    }
    stack.width = widths[s];
    stack.hidden = hidden[s] == 0 ? kHiddenMultiple : rounded_up(hidden[s], kHiddenMultiple);
    stack.heads = heads[s];
    stack.rotary_width = rotary[s];
    stack.window = windows[s] < 0 ? 0 : windows[s] + 1;  // the reference counts the rows before
    stack.state = mamba.maybe_integer("d_state", 1, 4096).value_or(128);
    stack.expand = mamba.maybe_integer("expand", 1, 64).value_or(2);
    stack.convolution = mamba.maybe_integer("d_conv", 2, 64).value_or(4);
    stack.state_head_width = 64;
    if (s + 1 == count) {
      here->kind = "pattern";
      here->pattern = stages[s].before;
    } else {
      here->kind = "level";
      here->boundary = "learned";
      here->pattern_before = stages[s].before;
      here->pattern_after = stages[s].after;
      here->target = count > 2 ? 3 : 6;  // of the releases
      here->inner.emplace_back();
      here = &here->inner.front();
    }
  }
  return settings;
}

std::shared_ptr<ModelSettings> mamba_settings(std::string_view json, std::string_view where,
                                              const std::string& tokenizer) {
  const Json config = parse_json_object(json, where);
  const JsonMembers members(config, std::string(where));
  static const Json kNothing = Json::object();
  const Json* own = members.find("ssm_cfg");
  const Json& layer_config = own != nullptr && own->is_object() ? *own : kNothing;
  const JsonMembers layer(layer_config, fmt::format("{}: ssm_cfg", where));
  // The converted form ("-hf") writes other names for the same.
  const bool converted = config.contains("hidden_size");
  const auto either = [&](const char* name, const char* converted_name, int64_t least, int64_t most) {
    return members.integer(converted ? converted_name : name, least, most);
  };
  const std::string kind = layer.word("layer", members.word("model_type", "") == "mamba2" ? "Mamba2" : "Mamba1");
  if (kind != "Mamba1" && kind != "Mamba2") {
    throw_input("{}: ssm_cfg.layer is {}, expected \"Mamba1\" or \"Mamba2\"", where, quote_bytes(kind));
  }
  if (const Json* attention = members.find("attn_layer_idx"); attention != nullptr && !attention->empty()) {
    throw_input("{}: attn_layer_idx is {}: layers with attention and a convolution on it are not built here", where,
                JsonMembers::shown(*attention));
  }
  for (const char* needed : {"rms_norm", "residual_in_fp32"}) {
    if (!members.boolean(needed, true)) throw_input("{}: {} is false, only true can be imported", where, needed);
  }
  auto settings = std::make_shared<ModelSettings>();
  BackboneSettings& backbone = settings->backbone;
  StackSettings& stack = backbone.stack;
  stack.width = either("d_model", "hidden_size", 2, 65536);
  const int64_t layers = either("n_layer", "num_hidden_layers", 0, 1024);
  const int64_t hidden = members.maybe_integer("d_intermediate", 0, 1 << 20).value_or(0);
  const bool second = kind == "Mamba2";
  backbone.kind = "pattern";
  const char letter = second ? (hidden > 0 ? 'M' : 'm') : (hidden > 0 ? 'S' : 's');
  if (layers == 0) throw_input("{}: n_layer is 0", where);
  backbone.pattern = fmt::format("{}{}", letter, layers);
  stack.heads = 1;
  if (stack.width % 2 != 0) throw_input("{}: d_model is {}, must be even", where, stack.width);
  stack.hidden = hidden > 0 ? rounded_up(hidden, kHiddenMultiple) : 0;
  const JsonMembers& inner = converted ? members : layer;
  stack.state = inner.maybe_integer(converted ? "state_size" : "d_state", 1, 4096).value_or(second ? 128 : 16);
  stack.expand = inner.maybe_integer("expand", 1, 64).value_or(2);
  stack.convolution = inner.maybe_integer(converted ? "conv_kernel" : "d_conv", 2, 64).value_or(4);
  stack.state_head_width = inner.maybe_integer(converted ? "head_dim" : "headdim", 1, 4096).value_or(64);
  stack.state_groups = inner.maybe_integer(converted ? "n_groups" : "ngroups", 1, 4096).value_or(1);
  stack.norm_epsilon = members.number(converted ? "layer_norm_epsilon" : "norm_epsilon", 1e-5, 0, 1);

  const int64_t multiple = members.maybe_integer("pad_vocab_size_multiple", 1, 1 << 16).value_or(converted ? 1 : 8);
  const int64_t symbols = rounded_up(members.integer("vocab_size", 1, 1 << 24), multiple);
  if (!tokenizer.empty()) {
    settings->family = "token";
    auto encoder = std::make_unique<TokenEncoderSettings>();
    encoder->tokenizer = tokenizer;
    encoder->vocabulary = symbols;
    encoder->begin_id = members.maybe_integer("bos_token_id", 0, symbols - 1).value_or(0);
    encoder->end_id = members.maybe_integer("eos_token_id", 0, symbols - 1).value_or(0);
    settings->encoder = std::move(encoder);
  } else {
    // MambaByte knows neither starts nor ends: documents begin behind a line end, and do not end.
    settings->family = "byte";
    settings->encoder = byte_encoder(symbols, '\n', -1);
  }
  auto decoder = std::make_unique<SoftmaxSettings>();
  decoder->tied = members.boolean(converted ? "tie_word_embeddings" : "tie_embeddings", true);
  settings->decoder = std::move(decoder);
  return settings;
}

HierarchyKind hierarchy_kind(std::string_view json) {
  const Json config = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return HierarchyKind::kNone;
  if (config.contains("arch_layout")) return HierarchyKind::kHnet;
  if (config.contains("d_local") && (config.contains("patch_method") || config.contains("patch_size"))) {
    return HierarchyKind::kSpaceByte;
  }
  if (config.contains("num_tokens") && config.contains("dim") && config.contains("max_seq_len")) {
    return HierarchyKind::kMegabyte;
  }
  const bool converted = config.contains("model_type") && config["model_type"].is_string() &&
                         config["model_type"].get<std::string>().starts_with("mamba");
  if (converted || (config.contains("d_model") && config.contains("n_layer"))) return HierarchyKind::kMamba;
  return HierarchyKind::kNone;
}

HierarchyKind hierarchy_kind(const fs::path& source) {
  const fs::path config = source / "config.json";
  if (!fs::is_regular_file(config)) return HierarchyKind::kNone;
  return hierarchy_kind(std::string_view(read_file(config, kMostConfigBytes)));
}

std::shared_ptr<ModelSettings> hierarchy_settings(HierarchyKind kind, std::string_view json, std::string_view where,
                                                  const std::string& tokenizer) {
  switch (kind) {
    case HierarchyKind::kHnet:
      return hnet_settings(json, where);
    case HierarchyKind::kMamba:
      return mamba_settings(json, where, tokenizer);
    case HierarchyKind::kSpaceByte:
      return spacebyte_settings(json, where);
    case HierarchyKind::kMegabyte:
      return megabyte_settings(json, where);
    case HierarchyKind::kNone:
      break;
  }
  throw_input(
      "{}: none of the configurations known here: H-Net (arch_layout), Mamba (d_model, n_layer), SpaceByte (d_local, "
      "patch_method or patch_size), MEGABYTE (num_tokens, dim, max_seq_len)",
      where);
}

std::shared_ptr<ModelSettings> hierarchy_settings(const fs::path& config) {
  const std::string json = read_file(config, kMostConfigBytes);
  return hierarchy_settings(hierarchy_kind(std::string_view(json)), json, config.string(), "");
}

}  // namespace verbatim
