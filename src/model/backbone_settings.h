#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "settings/visitor.h"

namespace verbatim {

// A stack of pre-norm layers. Attention layers: RMSNorm, rotary positions, grouped-query attention, SwiGLU (Llama
// shape), or LayerNorm, GELU and biases as in T-Free's and older models, or what SpaceByte and MEGABYTE use.
// State-space layers: Mamba-1 or Mamba-2.
struct StackSettings {
  int64_t width = 192;
  int64_t layers = 3;
  int64_t heads = 6;
  int64_t key_value_heads = 0;  // 0: as many as heads
  int64_t head_width = 0;       // 0: width / heads
  int64_t hidden = 0;           // 0: 8/3 of the width, rounded up to a multiple of 32
  int64_t window = 0;           // rows that attention sees, itself included; 0: all
  double rotary_theta = 10000;  // 0: attention knows no positions of its own
  int64_t rotary_width = 0;     // columns of a head that turn, 0: all
  double norm_epsilon = 1e-5;
  std::string norm = "rms";     // or "layer" (with a shift), "layer_unshifted", "deviation", see NormKind
  std::string mlp = "swiglu";   // or without a gate: "gelu" (with erf), "gelu_tanh", "relu", "silu"
  bool bias = false;            // all linear layers have one
  bool mlp_bias = false;        // those of the MLP have one
  bool query_key_norm = false;  // queries and keys are normalised, head by head, before they turn
  bool token_shift = false;     // layers read the second half of their columns from the row before
  int64_t positions = 0;        // rows of a table of learned positions, added in front; 0: none

  // state-space layers
  int64_t state = 0;              // states of each channel; 0: 16 with Mamba-1, 64 with Mamba-2
  int64_t expand = 2;             // channels inside, as a multiple of the width
  int64_t convolution = 4;        // rows that the depthwise convolution sees
  int64_t state_head_width = 64;  // Mamba-2: channels of one head
  int64_t state_groups = 1;       // Mamba-2: groups of heads that share input and output maps
  int64_t step_rank = 0;          // Mamba-1: rank of the step size; 0: width / 16, rounded up

  // Fills the zeros above and checks that the numbers fit together; `where` names the section in messages, `kinds` the
  // layers, one letter each.
  void resolve(const std::string& where, const std::string& kinds);
  // Whether the layers are those of Llama and nothing else: what its file format can say.
  [[nodiscard]] bool is_llama_shaped() const;
};

// "m4T1" to "mmmmT": letters with how often each comes (1 when left out). t attention, m Mamba-2, s Mamba-1 (selective
// scan); a capital letter has an MLP behind it (the layouts of H-Net, arXiv 2507.07955, and s beside them). Throws
// InputError that names `where`.
[[nodiscard]] std::string parse_layer_pattern(const std::string& pattern, const std::string& where);

// The backbone, recursively: a stack of layers, or a level around another backbone; or MEGABYTE's stages.
struct BackboneSettings : Settings {
  std::string kind = "transformer";

  // Rate of learning of this backbone's own layers, times optim.learning_rate; 0: 1, or what H-Net's rule gives when
  // some level learns its boundaries.
  double learning_rate_factor = 0;

  // stacks; for a level, the shape of its layers before and after
  StackSettings stack;
  std::string pattern = "m3T1";  // kind "pattern"
  bool closing_norm = true;      // stacks: a norm behind the last layer

  // level
  std::string boundary = "space";         // or "fixed:N", or "learned"
  std::vector<int64_t> boundary_symbols;  // bytes that begin a patch wherever they stand
  int64_t layers_before = 1;
  int64_t layers_after = 1;
  std::string pattern_before, pattern_after;  // instead: which layers
  double target = 6;                          // learned: rows per patch aimed at
  double ratio_weight = 0.03;                 // learned: weight of the loss that aims at it
  std::string hints = "none";                 // learned: marks of the text offered to the boundaries
  double hint_weight = 0;                     // learned: weight of the loss that teaches to cut at them
  std::string pool = "last";                  // rows to patch vector: last, mean, max, cross, padded
  std::string upsample = "repeat";            // patch vector to rows: repeat, boundary, cross, tail
  int64_t patch_queries = 2;                  // vectors per patch in cross-attention
  std::vector<BackboneSettings> inner;        // exactly one for a level, else empty

  // grouped level; `stack` is the shape of its layers behind
  int64_t group = 8;  // rows of a patch

  // MEGABYTE: one number for each stage, the coarsest first
  std::vector<int64_t> widths = {192, 128};
  std::vector<int64_t> depths = {3, 2};   // layers
  std::vector<int64_t> lengths = {0, 8};  // positions of a stage under one of the stage before; the first 0: no limit
  int64_t hidden_multiple = 4;            // hidden width of the MLPs, times the width
  bool absolute_positions = false;        // each stage adds learned positions

  void visit(SettingsVisitor& visitor) override;
  void resolve(const std::string& where = "backbone");
  // "level", or "grouped", which cuts by number and concatenates.
  [[nodiscard]] bool is_level() const { return kind == "level" || kind == "grouped"; }
  [[nodiscard]] bool is_megabyte() const { return kind == "megabyte"; }
  // Nothing between encoder and decoder: the model is an autoencoder.
  [[nodiscard]] bool is_none() const { return kind == "none"; }
  // Layers and nothing else.
  [[nodiscard]] bool is_stack() const { return !is_level() && !is_megabyte() && !is_none(); }
  [[nodiscard]] bool learns_boundaries() const { return kind == "level" && boundary == "learned"; }
  // The stack of one of MEGABYTE's stages.
  [[nodiscard]] StackSettings megabyte_stage(size_t stage) const;
  // One letter for each layer: of a stack, and before and after the inner backbone of a level.
  [[nodiscard]] std::string layer_kinds() const;
  [[nodiscard]] std::string kinds_before() const;
  [[nodiscard]] std::string kinds_after() const;
  // learning_rate_factor of this backbone and those inside it, outermost first, zeros replaced.
  [[nodiscard]] std::vector<double> learning_rate_factors() const;
  // Widths may differ from one level to the next (learned boundaries: only grow); the outermost must equal the
  // encoder's.
  [[nodiscard]] int64_t width() const { return stack.width; }

 private:
  void visit_layers(SettingsVisitor& visitor);
  void visit_attention(SettingsVisitor& visitor, bool has_attention);
  void visit_state_space(SettingsVisitor& visitor, const std::string& kinds);
  void visit_level(SettingsVisitor& visitor);
  void visit_megabyte(SettingsVisitor& visitor);
  void resolve_megabyte(const std::string& where);
};

}  // namespace verbatim
