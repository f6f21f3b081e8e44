#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "finite_differences.h"
#include "nn/torch.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

struct Entry {
  const char* name;
  const char* settings;
  // Parameters in front of learned boundaries get gradients through decisions that are straight (H-Net), which finite
  // differences do not see.
  bool learns_boundaries = false;
};

const Entry kEntries[] = {
    {"byte_ngrams",
     "[model]\nfamily='byte'\n[encoder]\nngram_sizes=[3]\nngram_rows=32\n[backbone]\nkind='transformer'\nwidth="
     "8\nlayers=2\n"
     "heads=2\nkey_value_heads=1\n[decoder]\ntied=true\n"},
    {"patch_last_repeat",
     "[model]\nfamily='patch'\n[backbone]\nkind='level'\nwidth=8\nheads=2\nwindow=4\n"
     "[backbone.inner]\nkind='transformer'\nwidth=12\nlayers=1\nheads=2\n"},
    {"patch_mean_boundary",
     "[model]\nfamily='patch'\n[backbone]\nkind='level'\nwidth=8\nheads=2\npool='mean'\nupsample='boundary'\n"
     "[backbone.inner]\nkind='transformer'\nwidth=12\nlayers=1\nheads=2\n"},
    {"patch_max_cross",
     "[model]\nfamily='patch'\n[backbone]\nkind='level'\nwidth=8\nheads=2\npool='max'\nupsample='cross'\n"
     "[backbone.inner]\nkind='transformer'\nwidth=12\nlayers=1\nheads=2\n"},
    {"patch_cross_cross_two_levels",
     "[model]\nfamily='patch'\n[backbone]\nkind='level'\nwidth=8\nheads=2\npool='cross'\nupsample='cross'\n"
     "[backbone.inner]\nkind='level'\nwidth=12\nheads=2\nboundary='fixed:2'\npool='cross'\n"
     "[backbone.inner.inner]\nkind='transformer'\nwidth=8\nlayers=1\nheads=2\n"},
    {"mamba1", "[model]\nfamily='byte'\n[backbone]\nkind='mamba1'\nwidth=8\nlayers=2\nheads=2\nstate=3\n"},
    {"mamba2",
     "[model]\nfamily='byte'\n[backbone]\nkind='pattern'\npattern='M1t1m1'\nwidth=8\nheads=2\nstate=4\n"
     "state_head_width=4\nstate_groups=2\n"},
    {"space_byte",
     "[model]\nfamily='patch'\n[backbone]\nkind='level'\nwidth=8\nheads=2\nwindow=4\nnorm='layer_unshifted'\n"
     "mlp='gelu_tanh'\nquery_key_norm=true\nrotary_theta=0\npositions=16\npool='padded'\nupsample='tail'\n"
     "[backbone.inner]\nkind='transformer'\nwidth=12\nlayers=1\nheads=2\nnorm='deviation'\nmlp='silu'\npositions=8\n"
     "closing_norm=false\n"},
    {"grouped",
     "[model]\nfamily='patch'\n[backbone]\nkind='grouped'\ngroup=3\nwidth=8\nlayers=1\nheads=2\npositions=24\n"
     "[backbone.inner]\nkind='transformer'\nwidth=12\nlayers=1\nheads=2\nclosing_norm=false\n[decoder]\nbias=true\n"},
    {"megabyte",
     "[model]\nfamily='patch'\n[backbone]\nkind='megabyte'\nwidths=[12,8,8]\ndepths=[1,1,1]\nlengths=[8,2,2]\nheads=2\n"
     "absolute_positions=true\n[decoder]\nbias=true\n"},
    {"tokun",
     "[model]\nfamily='tokun'\n[encoder]\nchain='4x4'\nlatent=8\nwidth=6\n[backbone]\nkind='transformer'\nwidth=8\n"
     "layers=1\nheads=2\n"},
    {"tokun_mixing",
     "[model]\nfamily='tokun'\n[encoder]\nchain='4x4'\nlatent=8\nwidth=6\nhidden=9\njoin_layer=false\n"
     "[decoder]\ndepth=2\nhidden=10\ncharacter_hidden=7\nmixing=1\nheads=2\n"
     "[backbone]\nkind='transformer'\nwidth=8\nlayers=1\nheads=2\n"},
    {"tokun_symbols_bits",
     "[model]\nfamily='tokun'\n[encoder]\nchain='8x2'\nlatent=8\nwidth=6\nborders='content'\n[decoder]\nkind='bytes'\n"
     "width=8\nheads=2\nlayers=1\nrecent=3\n[backbone]\nkind='transformer'\nwidth=8\nlayers=1\nheads=2\n"},
    {"tokun_published",
     "[model]\nfamily='tokun'\n[encoder]\nchain='4x4'\nlatent=8\nnetwork='published'\nactivation='gelu'\n"
     "head='bits'\n[backbone]\nkind='transformer'\nwidth=8\nlayers=1\nheads=2\n"},
    {"learned",
     "[model]\nfamily='patch'\n[backbone]\nkind='level'\nboundary='learned'\nwidth=8\nheads=2\nhints='sentence'\n"
     "[backbone.inner]\nkind='transformer'\nwidth=12\nlayers=1\nheads=2\n",
     true},
};

bool is_straight_through(const std::string& name) {
  return name.starts_with("encoder.") || name.starts_with("backbone.before") || name.starts_with("backbone.boundary") ||
         name == "backbone.hint_offset";
}

class Gradient : public ::testing::TestWithParam<Entry> {};

// The slope along a random direction of each parameter, by central differences in double.
TEST_P(Gradient, equals_finite_differences) {
  const std::shared_ptr<LanguageModel> model = testing::make_model(GetParam().settings, 3);
  model->to(at::kDouble);
  const PositionBatch batch =
      make_batch(model->segmenter(), {{.bytes = "one two, three"}, {.bytes = "x"}, {.bytes = " a b"}});
  const ForwardOptions options{.compute_type = at::kDouble};
  const auto loss = [&] { return model->nats(batch, options).sum(); };
  loss().backward();
  torch::NoGradGuard no_grad;
  at::manual_seed(9);
  for (const auto& parameter : model->named_parameters()) {
    at::Tensor value = parameter.value();
    ASSERT_TRUE(value.grad().defined()) << parameter.key() << " has no gradient";
    if (GetParam().learns_boundaries && is_straight_through(parameter.key())) {
      EXPECT_TRUE(at::isfinite(value.grad()).all().item<bool>()) << parameter.key();
      continue;
    }
    testing::expect_slope(value, parameter.key(), loss);
  }
}

INSTANTIATE_TEST_SUITE_P(families, Gradient, ::testing::ValuesIn(kEntries),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace verbatim
