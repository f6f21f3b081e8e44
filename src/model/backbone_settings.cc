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
  if (head_width % 2 != 0) {
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

std::string BackboneSettings::layer_kinds() const {
  if (kind == "pattern") return parse_layer_pattern(pattern, "backbone.pattern");
  return std::string(static_cast<size_t>(stack.layers), kind == "mamba1" ? 's' : kind == "mamba2" ? 'm' : 'T');
}

std::string BackboneSettings::kinds_before() const {
  if (pattern_before.empty()) return std::string(static_cast<size_t>(layers_before), 'T');
  return parse_layer_pattern(pattern_before, "pattern_before");
}

std::string BackboneSettings::kinds_after() const {
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
  visitor.setting("kind", kind,
                  {.help = "what the backbone is: a stack of layers, or a level around another backbone",
                   .choices = {"transformer", "mamba1", "mamba2", "pattern", "level"}});
  visitor.setting("width", stack.width, {.help = "width of the vectors", .minimum = 2, .maximum = 65536});
  visitor.setting("learning_rate_factor", learning_rate_factor,
                  {.help = "times optim.learning_rate, for this backbone's own layers; 0: by H-Net's rule when a level "
                           "learns its boundaries, else 1",
                   .minimum = 0,
                   .maximum = 1000});
  if (is_level()) {
    visitor.setting("boundary", boundary, {.help = "where patches end: \"space\", \"fixed:N\" or \"learned\""});
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
    visitor.setting("layers", stack.layers, {.help = "number of layers", .minimum = 0, .maximum = kMostLayers});
  }
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
  visitor.setting("rotary_theta", stack.rotary_theta, {.help = "base of the rotary angles", .minimum = 1});
  visitor.setting("rotary_width", stack.rotary_width,
                  {.help = "columns of a head that turn, 0: all", .minimum = 0, .maximum = 4096});
  visitor.setting("norm_epsilon", stack.norm_epsilon,
                  {.help = "added to the mean square in the norm", .minimum = 0, .maximum = 1});
  visitor.setting("norm", stack.norm, {.help = "norm of the layers", .choices = {"rms", "layer"}});
  visitor.setting("mlp", stack.mlp, {.help = "layer between attentions", .choices = {"swiglu", "gelu"}});
  visitor.setting("bias", stack.bias, {.help = "linear layers add a bias"});
  const std::string kinds = is_level() ? pattern_before + pattern_after : kind == "pattern" ? pattern : layer_kinds();
  if (has_layer(kinds, 'm') || has_layer(kinds, 's')) visit_state_space(visitor, kinds);
  if (!is_level()) return;
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
  } else {
    visitor.setting("pool", pool,
                    {.help = "rows of a patch to its vector", .choices = {"last", "mean", "max", "cross"}});
    visitor.setting("upsample", upsample,
                    {.help = "patch vector to the rows that follow", .choices = {"repeat", "boundary", "cross"}});
    if (pool == "cross" || upsample == "cross") {
      visitor.setting("patch_queries", patch_queries,
                      {.help = "vectors per patch in cross-attention", .minimum = 1, .maximum = 64});
    }
  }
  if (inner.empty()) inner.emplace_back();
  visitor.section("inner", inner.front(), "the backbone over patches");
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

void BackboneSettings::resolve(const std::string& where) {
  if (!is_level()) {
    if (kind == "pattern") parse_layer_pattern(pattern, where + ".pattern");
    stack.resolve(where, layer_kinds());
    inner.clear();
    return;
  }
  parse_layer_pattern(pattern_before, where + ".pattern_before");
  parse_layer_pattern(pattern_after, where + ".pattern_after");
  stack.resolve(where, kinds_before() + kinds_after());
  if (inner.empty()) inner.emplace_back();
  if (!learns_boundaries() && (pool == "cross" || upsample == "cross") && stack.width % stack.heads != 0) {
    throw_input("{}.width is {}, must be a multiple of {}.heads ({}) for cross-attention", where, stack.width, where,
                stack.heads);
  }
  inner.front().resolve(where + ".inner");
  if (learns_boundaries() && inner.front().width() < width()) {
    throw_input("{}.inner.width is {}, must be at least {}.width ({}) where boundaries are learned", where,
                inner.front().width(), where, width());
  }
}

}  // namespace verbatim
