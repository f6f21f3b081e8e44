#include "model/backbone_settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace verbatim {

namespace {

constexpr int64_t kMostLayers = 1024;

bool has_layer(const std::string& kinds, char kind) {
  return std::any_of(kinds.begin(), kinds.end(), [kind](char k) { return std::tolower(k) == kind; });
}

void resolve_state_space(StackSettings& stack, const std::string& where, const std::string& kinds) {
  const bool has_mamba1 = has_layer(kinds, 's'), has_mamba2 = has_layer(kinds, 'm');
  if (!has_mamba1 && !has_mamba2) return;
  if (has_mamba1 && has_mamba2 && stack.state == 0) {
    throw_input("{}: layers of Mamba-1 and Mamba-2 in one stack need {}.state", where, where);
  }
  if (stack.state == 0) stack.state = has_mamba1 ? 16 : 64;
  if (stack.step_rank == 0) stack.step_rank = (stack.width + 15) / 16;
  if (has_mamba2 && stack.expand * stack.width % (stack.state_head_width * stack.state_groups) != 0) {
    throw_input(
        "{}: {} channels (expand times width) cannot be cut into heads of {} in {} groups; change {}.width or "
        "{}.state_head_width",
        where, stack.expand * stack.width, stack.state_head_width, stack.state_groups, where, where);
  }
}

}  // namespace

std::string parse_layer_pattern(const std::string& pattern, const std::string& where) {
  std::string kinds;
  const char* at = pattern.data();
  const char* const end = at + pattern.size();
  while (at < end) {
    const char kind = *at++;
    int64_t count = 1;
    const auto [behind, error] = std::from_chars(at, end, count);
    const bool has_count = behind != at;
    if (std::string_view("tTmMsS").find(kind) == std::string_view::npos || (has_count && error != std::errc()) ||
        count < 1 || static_cast<int64_t>(kinds.size()) + count > kMostLayers) {
      throw_input(
          "{} is \"{}\"; expected letters t (attention), m (Mamba-2) or s (Mamba-1), capital with an MLP, each with a "
          "number behind it, at most {} layers together; for instance \"m3T1\"",
          where, pattern, kMostLayers);
    }
    at = behind;
    kinds.append(static_cast<size_t>(count), kind);
  }
  return kinds;
}

void StackSettings::resolve(const std::string& where, const std::string& kinds) {
  if (hidden == 0) hidden = (width * 8 / 3 + 31) / 32 * 32;
  resolve_state_space(*this, where, kinds);
  if (key_value_heads == 0) key_value_heads = heads;
  if (token_shift && width % 2 != 0) {
    throw_input("{}.width is {}, must be even for token_shift (half of the columns is delayed)", where, width);
  }
  if (!has_layer(kinds, 't')) {
    if (head_width == 0 && heads > 0 && width % heads == 0) head_width = width / heads;
    return;
  }
  if (head_width == 0) {
    if (width % heads != 0) {
      throw_input("{}.width is {}, must be a multiple of {}.heads ({}); try {}", where, width, where, heads,
                  (width / heads + 1) * heads);
    }
    head_width = width / heads;
  }
  if (rotary_theta != 0 && rotary_theta < 1) {
    throw_input("{}.rotary_theta is {}, must be at least 1, or 0 for none", where, rotary_theta);
  }
  if (rotary_theta != 0 && head_width % 2 != 0) {
    throw_input("{}.head_width is {}, must be even (rotary positions turn pairs); change width or heads", where,
                head_width);
  }
  if (heads % key_value_heads != 0) {
    throw_input("{}.heads is {}, must be a multiple of {}.key_value_heads ({})", where, heads, where, key_value_heads);
  }
  if (rotary_width > head_width || rotary_width % 2 != 0) {
    throw_input("{}.rotary_width is {}, must be even and at most the width of a head ({})", where, rotary_width,
                head_width);
  }
}

bool StackSettings::is_llama_shaped() const {
  return norm == "rms" && mlp == "swiglu" && !bias && !mlp_bias && !query_key_norm && !token_shift && positions == 0 &&
         rotary_theta != 0 && rotary_width % std::max<int64_t>(head_width, 1) == 0;
}

std::string BackboneSettings::layer_kinds() const {
  if (kind == "pattern") return parse_layer_pattern(pattern, "backbone.pattern");
  return std::string(static_cast<size_t>(stack.layers), kind == "mamba1" ? 's' : kind == "mamba2" ? 'm' : 'T');
}

std::string BackboneSettings::kinds_before() const {
  if (kind == "grouped") return "";
  if (pattern_before.empty()) return std::string(static_cast<size_t>(layers_before), 'T');
  return parse_layer_pattern(pattern_before, "pattern_before");
}

std::string BackboneSettings::kinds_after() const {
  if (kind == "grouped") return std::string(static_cast<size_t>(stack.layers), 'T');
  if (pattern_after.empty()) return std::string(static_cast<size_t>(layers_after), 'T');
  return parse_layer_pattern(pattern_after, "pattern_after");
}

std::vector<double> BackboneSettings::learning_rate_factors() const {
  std::vector<const BackboneSettings*> chain{this};
  while (!chain.back()->inner.empty()) chain.push_back(&chain.back()->inner.front());
  const bool learns = std::any_of(chain.begin(), chain.end(), [](const auto* s) { return s->learns_boundaries(); });
  // H-Net, appendix C: lambda_s = sqrt(4.6 * (product of N_i, i >= s) / (product of all N_i) * D_S / D_s). Levels that
  // cut by rule count with the rate that the rule has on English text.
  constexpr double kBytesPerSubword = 4.6, kBytesPerWord = 6;
  std::vector<double> factors;
  double rows_per_row_here = 1;  // product of N_i for i < s
  for (const BackboneSettings* level : chain) {
    const double automatic =
        learns ? std::sqrt(kBytesPerSubword / rows_per_row_here * static_cast<double>(chain.back()->width()) /
                           static_cast<double>(level->width()))
               : 1;
    factors.push_back(level->learning_rate_factor > 0 ? level->learning_rate_factor : automatic);
    if (level->is_level()) rows_per_row_here *= level->learns_boundaries() ? level->target : kBytesPerWord;
  }
  return factors;
}

void BackboneSettings::visit(SettingsVisitor& visitor) {
  visitor.setting(
      "kind", kind,
      {.help = "what the backbone is: a stack of layers, a level around another backbone (grouped: one that "
               "concatenates every few bytes), MEGABYTE's stages, or none: an autoencoder (family tokun)",
       .choices = {"transformer", "mamba1", "mamba2", "pattern", "level", "grouped", "megabyte", "none"}});
  if (is_none()) return;
  if (!is_megabyte())
    visitor.setting("width", stack.width, {.help = "width of the vectors", .minimum = 2, .maximum = 65536});
  visitor.setting("learning_rate_factor", learning_rate_factor,
                  {.help = "times optim.learning_rate, for this backbone's own layers; 0: by H-Net's rule when a level "
                           "learns its boundaries, else 1",
                   .minimum = 0,
                   .maximum = 1000});
  if (is_megabyte()) {
    visit_megabyte(visitor);
    return;
  }
  visit_layers(visitor);
  const std::string kinds = kind == "level"     ? pattern_before + pattern_after
                            : kind == "grouped" ? std::string("T")
                            : kind == "pattern" ? pattern
                                                : layer_kinds();
  const bool default_layers = kind == "level" && (pattern_before.empty() || pattern_after.empty());
  visit_attention(visitor, default_layers || has_layer(kinds, 't'));
  if (has_layer(kinds, 'm') || has_layer(kinds, 's')) visit_state_space(visitor, kinds);
  if (!learns_boundaries()) {
    visitor.setting(
        "positions", stack.positions,
        {.help = "rows of a table of learned positions added in front; longer sequences are refused; 0: none",
         .unit = "rows",
         .minimum = 0,
         .maximum = 1 << 24});
  }
  if (!is_level()) {
    visitor.setting("closing_norm", closing_norm, {.help = "a norm behind the last layer"});
    return;
  }
  if (kind == "level") visit_level(visitor);
  if (inner.empty()) inner.emplace_back();
  visitor.section("inner", inner.front(), "the backbone over patches");
}

void BackboneSettings::visit_layers(SettingsVisitor& visitor) {
  if (kind == "level") {
    visitor.setting("boundary", boundary, {.help = "where patches end: \"space\", \"fixed:N\" or \"learned\""});
    if (boundary != "learned" && !boundary.starts_with("fixed")) {
      visitor.setting("boundary_symbols", boundary_symbols,
                      {.help = "bytes at which a patch ends wherever they stand, as 255 with SpaceByte's checkpoints",
                       .minimum = 0,
                       .maximum = 255});
    }
    visitor.setting("pattern_before", pattern_before,
                    {.help = "layers on rows before the inner backbone, as in pattern; empty: layers_before"});
    visitor.setting("pattern_after", pattern_after,
                    {.help = "layers on rows after the inner backbone, as in pattern; empty: layers_after"});
    if (pattern_before.empty()) {
      visitor.setting("layers_before", layers_before,
                      {.help = "attention layers before the inner backbone", .minimum = 0, .maximum = kMostLayers});
    }
    if (pattern_after.empty()) {
      visitor.setting("layers_after", layers_after,
                      {.help = "attention layers after the inner backbone", .minimum = 0, .maximum = kMostLayers});
    }
  } else if (kind == "pattern") {
    visitor.setting("pattern", pattern,
                    {.help = "the layers: t attention, m Mamba-2, s Mamba-1, capital with an MLP, each with a number"});
  } else {
    if (kind == "grouped")
      visitor.setting("group", group, {.help = "bytes of a patch", .unit = "bytes", .minimum = 1, .maximum = 65536});
    visitor.setting("layers", stack.layers, {.help = "number of layers", .minimum = 0, .maximum = kMostLayers});
  }
}

void BackboneSettings::visit_attention(SettingsVisitor& visitor, bool has_attention) {
  visitor.setting("heads", stack.heads, {.help = "query heads", .minimum = 1, .maximum = 4096});
  visitor.setting("key_value_heads", stack.key_value_heads,
                  {.help = "key and value heads, 0: as many as heads", .minimum = 0, .maximum = 4096});
  visitor.setting("head_width", stack.head_width,
                  {.help = "width of one head, 0: width / heads", .minimum = 0, .maximum = 4096});
  visitor.setting("hidden", stack.hidden,
                  {.help = "hidden width of the layer between attentions, 0: 8/3 of the width, rounded up to 32",
                   .minimum = 0,
                   .maximum = 1 << 20});
  visitor.setting(
      "window", stack.window,
      {.help = "rows that attention sees, itself included; 0: all", .unit = "rows", .minimum = 0, .maximum = 1 << 30});
  visitor.setting("rotary_theta", stack.rotary_theta,
                  {.help = "base of the rotary angles; 0: no rotary positions", .minimum = 0});
  visitor.setting("rotary_width", stack.rotary_width,
                  {.help = "columns of a head that turn, 0: all", .minimum = 0, .maximum = 4096});
  visitor.setting("norm_epsilon", stack.norm_epsilon,
                  {.help = "added to the mean square in the norm", .minimum = 0, .maximum = 1});
  visitor.setting(
      "norm", stack.norm,
      {.help = "norm of the layers; layer_unshifted has a gain alone, deviation does not take the mean away",
       .choices = {"rms", "layer", "layer_unshifted", "deviation"}});
  visitor.setting("mlp", stack.mlp,
                  {.help = "layer between attentions: with a gate (swiglu), or without and this activation",
                   .choices = {"swiglu", "gelu", "gelu_tanh", "relu", "silu"}});
  visitor.setting("bias", stack.bias, {.help = "linear layers add a bias"});
  if (!stack.bias) visitor.setting("mlp_bias", stack.mlp_bias, {.help = "those of the MLP do"});
  if (has_attention) {
    visitor.setting("query_key_norm", stack.query_key_norm,
                    {.help = "normalise queries and keys, head by head, with the norm of the layers"});
  }
  visitor.setting("token_shift", stack.token_shift,
                  {.help = "layers read the second half of their columns from the row before"});
}

void BackboneSettings::visit_level(SettingsVisitor& visitor) {
  if (learns_boundaries()) {
    visitor.setting("target", target,
                    {.help = "rows per patch that training aims at", .minimum = 1.01, .maximum = 1 << 20});
    visitor.setting("ratio_weight", ratio_weight,
                    {.help = "weight of the loss that aims at it", .minimum = 0, .maximum = 1000});
    visitor.setting(
        "hints", hints,
        {.help = "ends in the text that are offered to the boundaries", .choices = {"none", "sentence", "paragraph"}});
    if (hints != "none") {
      visitor.setting("hint_weight", hint_weight,
                      {.help = "weight of the loss that teaches to cut at them; 0: the level decides freely",
                       .minimum = 0,
                       .maximum = 1000});
    }
    return;
  }
  visitor.setting("pool", pool,
                  {.help = "rows of a patch to its vector; padded: the last row itself, zeros in front",
                   .choices = {"last", "mean", "max", "cross", "padded"}});
  visitor.setting("upsample", upsample,
                  {.help = "patch vector to the rows that follow; tail: its last columns, to the row of the boundary",
                   .choices = {"repeat", "boundary", "cross", "tail"}});
  if (pool == "cross" || upsample == "cross") {
    visitor.setting("patch_queries", patch_queries,
                    {.help = "vectors per patch in cross-attention", .minimum = 1, .maximum = 64});
  }
}

void BackboneSettings::visit_megabyte(SettingsVisitor& visitor) {
  visitor.setting("widths", widths,
                  {.help = "width of each stage, the coarsest first, bytes last", .minimum = 2, .maximum = 65536});
  visitor.setting("depths", depths, {.help = "layers of each stage", .minimum = 0, .maximum = kMostLayers});
  visitor.setting("lengths", lengths,
                  {.help = "positions of each stage under one of the stage before; the first limits the text (their "
                           "product in bytes), 0: no limit",
                   .minimum = 0,
                   .maximum = 1 << 24});
  visitor.setting("heads", stack.heads, {.help = "heads of every layer", .minimum = 1, .maximum = 4096});
  visitor.setting("head_width", stack.head_width,
                  {.help = "width of one head, 0: width of the stage / heads", .minimum = 0, .maximum = 4096});
  visitor.setting("hidden_multiple", hidden_multiple,
                  {.help = "hidden width of the MLPs, times the width of the stage", .minimum = 1, .maximum = 64});
  visitor.setting("rotary_theta", stack.rotary_theta,
                  {.help = "base of the rotary angles; 0: no rotary positions", .minimum = 0});
  visitor.setting("absolute_positions", absolute_positions, {.help = "each stage adds a table of learned positions"});
  visitor.setting("norm_epsilon", stack.norm_epsilon,
                  {.help = "added to the mean square in the norm", .minimum = 0, .maximum = 1});
}

void BackboneSettings::visit_state_space(SettingsVisitor& visitor, const std::string& kinds) {
  visitor.setting(
      "state", stack.state,
      {.help = "states of each channel; 0: 16 with Mamba-1, 64 with Mamba-2", .minimum = 0, .maximum = 4096});
  visitor.setting("expand", stack.expand,
                  {.help = "channels inside a state-space layer, times the width", .minimum = 1, .maximum = 64});
  visitor.setting("convolution", stack.convolution,
                  {.help = "rows that its depthwise convolution sees", .minimum = 2, .maximum = 64});
  if (has_layer(kinds, 'm')) {
    visitor.setting("state_head_width", stack.state_head_width,
                    {.help = "Mamba-2: channels of one head", .minimum = 1, .maximum = 4096});
    visitor.setting(
        "state_groups", stack.state_groups,
        {.help = "Mamba-2: groups of heads that share input and output maps", .minimum = 1, .maximum = 4096});
  }
  if (has_layer(kinds, 's')) {
    visitor.setting("step_rank", stack.step_rank,
                    {.help = "Mamba-1: rank of the step size; 0: width / 16", .minimum = 0, .maximum = 65536});
  }
}

StackSettings BackboneSettings::megabyte_stage(size_t stage) const {
  StackSettings settings;
  settings.width = widths[stage];
  settings.layers = depths[stage];
  settings.heads = stack.heads;
  settings.head_width = stack.head_width;
  settings.hidden = hidden_multiple * widths[stage];
  settings.rotary_theta = stack.rotary_theta;
  settings.norm_epsilon = stack.norm_epsilon;
  settings.mlp = "gelu";
  settings.mlp_bias = true;
  settings.token_shift = true;
  return settings;
}

void BackboneSettings::resolve_megabyte(const std::string& where) {
  constexpr int64_t kMostBytes = 1 << 30;
  if (widths.size() < 2 || widths.size() > 16 || depths.size() != widths.size() || lengths.size() != widths.size()) {
    throw_input("{} has {} widths, {} depths and {} lengths; expected one of each for each stage, 2 to 16 stages",
                where, widths.size(), depths.size(), lengths.size());
  }
  int64_t bytes = 1;
  for (size_t stage = 1; stage < lengths.size(); ++stage) {
    if (lengths[stage] < 1) {
      throw_input("{}.lengths has {} at stage {}, must be at least 1 behind the first", where, lengths[stage],
                  stage + 1);
    }
    bytes *= lengths[stage];
    if (bytes > kMostBytes)
      throw_input("{}.lengths: a position of the first stage holds more than {} bytes", where, kMostBytes);
  }
  if (absolute_positions && lengths[0] == 0) {
    throw_input("{}.lengths begins with 0; with absolute_positions it must say how many positions there are", where);
  }
  for (size_t stage = 0; stage < widths.size(); ++stage) {
    StackSettings layers = megabyte_stage(stage);
    layers.resolve(fmt::format("{} (stage {})", where, stage + 1), "T");
  }
  stack.width = widths.back();
  inner.clear();
}

void BackboneSettings::resolve(const std::string& where) {
  if (is_none()) {
    if (where != "backbone") throw_input("{}.kind is \"none\"; a level needs a backbone inside it", where);
    inner.clear();
    return;
  }
  if (is_megabyte()) {
    resolve_megabyte(where);
    return;
  }
  if (!is_level()) {
    if (kind == "pattern") (void)parse_layer_pattern(pattern, where + ".pattern");  // throws what is wrong
    stack.resolve(where, layer_kinds());
    inner.clear();
    return;
  }
  if (kind == "level") {
    (void)parse_layer_pattern(pattern_before, where + ".pattern_before");
    (void)parse_layer_pattern(pattern_after, where + ".pattern_after");
  }
  stack.resolve(where, kinds_before() + kinds_after());
  if (inner.empty()) inner.emplace_back();
  if (kind == "level" && !learns_boundaries() && (pool == "cross" || upsample == "cross") &&
      stack.width % stack.heads != 0) {
    throw_input("{}.width is {}, must be a multiple of {}.heads ({}) for cross-attention", where, stack.width, where,
                stack.heads);
  }
  inner.front().resolve(where + ".inner");
  if (inner.front().is_megabyte()) {
    throw_input("{}.inner.kind is \"megabyte\", which reads bytes and cannot stand inside a level", where);
  }
  const int64_t inner_width = inner.front().width();
  if (learns_boundaries() && inner_width < width()) {
    throw_input("{}.inner.width is {}, must be at least {}.width ({}) where boundaries are learned", where, inner_width,
                where, width());
  }
  if (kind == "level" && !learns_boundaries() && (pool == "padded" || upsample == "tail") && inner_width < width()) {
    throw_input("{}.inner.width is {}, must be at least {}.width ({}) with pool \"padded\" or upsample \"tail\"", where,
                inner_width, where, width());
  }
  if (kind == "grouped" && inner_width % group != 0) {
    throw_input("{}.inner.width is {}, must be a multiple of {}.group ({}): each byte of a patch has its share", where,
                inner_width, where, group);
  }
}

}  // namespace verbatim
