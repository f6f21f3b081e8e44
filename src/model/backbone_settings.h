#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "settings/visitor.h"

namespace verbatim {

// A stack of pre-norm transformer layers: RMSNorm, rotary positions, grouped-query attention, SwiGLU (Llama shape),
// or LayerNorm, GELU and biases as in T-Free's and older models.
struct StackSettings {
  int64_t width = 192;
  int64_t layers = 3;
  int64_t heads = 6;
  int64_t key_value_heads = 0;  // 0: as many as heads
  int64_t head_width = 0;       // 0: width / heads
  int64_t hidden = 0;           // 0: 8/3 of the width, rounded up to a multiple of 32
  int64_t window = 0;           // rows that attention sees, itself included; 0: all
  double rotary_theta = 10000;
  double norm_epsilon = 1e-5;
  std::string norm = "rms";    // or "layer", with a shift
  std::string mlp = "swiglu";  // or "gelu", without a gate
  bool bias = false;           // all linear layers have one

  // Fills the zeros above and checks that the numbers fit together; `where` names the section in messages.
  void resolve(const std::string& where);
};

// The backbone, recursively: a transformer, or a level around another backbone.
struct BackboneSettings : Settings {
  std::string kind = "transformer";

  // transformer; for a level, the shape of its layers before and after
  StackSettings stack;

  // level
  std::string boundary = "space";  // or "fixed:N"
  int64_t layers_before = 1;
  int64_t layers_after = 1;
  std::string pool = "last";            // rows to patch vector: last, mean, max, cross
  std::string upsample = "repeat";      // patch vector to rows: repeat, boundary, cross
  int64_t patch_queries = 2;            // vectors per patch in cross-attention
  std::vector<BackboneSettings> inner;  // exactly one for a level, else empty

  void visit(SettingsVisitor& visitor) override;
  void resolve(const std::string& where = "backbone");
  // Widths may differ from one level to the next; the outermost must equal the encoder's.
  [[nodiscard]] int64_t width() const { return stack.width; }
};

}  // namespace verbatim
