#include "model/backbone_settings.h"

#include "base/error.h"

namespace verbatim {

void StackSettings::resolve(const std::string& where) {
  if (key_value_heads == 0) key_value_heads = heads;
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
  if (hidden == 0) hidden = (width * 8 / 3 + 31) / 32 * 32;
}

void BackboneSettings::visit(SettingsVisitor& visitor) {
  visitor.setting("kind", kind, {.help = "what the backbone is", .choices = {"transformer", "level"}});
  visitor.setting("width", stack.width, {.help = "width of the vectors", .minimum = 2, .maximum = 65536});
  const bool level = kind == "level";
  if (level) {
    visitor.setting("boundary", boundary, {.help = "where patches end: \"space\" or \"fixed:N\""});
    visitor.setting("layers_before", layers_before,
                    {.help = "layers on rows before pooling", .minimum = 0, .maximum = 1024});
    visitor.setting("layers_after", layers_after,
                    {.help = "layers on rows after upsampling", .minimum = 0, .maximum = 1024});
  } else {
    visitor.setting("layers", stack.layers, {.help = "number of layers", .minimum = 0, .maximum = 1024});
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
  visitor.setting("norm_epsilon", stack.norm_epsilon,
                  {.help = "added to the mean square in the norm", .minimum = 0, .maximum = 1});
  visitor.setting("norm", stack.norm, {.help = "norm of the layers", .choices = {"rms", "layer"}});
  visitor.setting("mlp", stack.mlp, {.help = "layer between attentions", .choices = {"swiglu", "gelu"}});
  visitor.setting("bias", stack.bias, {.help = "linear layers add a bias"});
  if (!level) return;
  visitor.setting("pool", pool, {.help = "rows of a patch to its vector", .choices = {"last", "mean", "max", "cross"}});
  visitor.setting("upsample", upsample,
                  {.help = "patch vector to the rows that follow", .choices = {"repeat", "boundary", "cross"}});
  if (pool == "cross" || upsample == "cross") {
    visitor.setting("patch_queries", patch_queries,
                    {.help = "vectors per patch in cross-attention", .minimum = 1, .maximum = 64});
  }
  if (inner.empty()) inner.emplace_back();
  visitor.section("inner", inner.front(), "the backbone over patches");
}

void BackboneSettings::resolve(const std::string& where) {
  stack.resolve(where);
  if (kind != "level") {
    inner.clear();
    return;
  }
  if (inner.empty()) inner.emplace_back();
  if (pool == "cross" || upsample == "cross") {
    if (stack.width % stack.heads != 0) {
      throw_input("{}.width is {}, must be a multiple of {}.heads ({}) for cross-attention", where, stack.width, where,
                  stack.heads);
    }
  }
  inner.front().resolve(where + ".inner");
}

}  // namespace verbatim
