#include "model/level.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/index_tensor.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"

// Legend: N rows, K patches, D width of this level, I width inside, q vectors per patch in cross-attention.
namespace verbatim {

namespace {

at::Tensor add_weight(torch::nn::Module& owner, const char* name, at::Tensor value) {
  auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
  return holder->register_parameter("weight", std::move(value));
}

}  // namespace

Level::Level(const BackboneSettings& settings, std::shared_ptr<Backbone> inner, at::Generator& generator)
    : settings_(settings),
      // Where only boundaries hear from above, rows may come before the first one.
      boundary_(BoundaryRule::parse(settings.boundary, "backbone", settings.boundary_symbols,
                                    /*first_row=*/settings.upsample != "tail")),
      inner_(std::move(inner)),
      before_(std::make_shared<LayerStack>(settings.stack, settings.kinds_before(), generator)),
      after_(std::make_shared<LayerStack>(settings.stack, settings.kinds_after(), generator)),
      positions_(*this, "positions", settings.stack.positions, settings.width(), generator) {
  const int64_t D = settings_.width(), I = inner_->width(), q = settings_.patch_queries;
  const auto weight = [&](int64_t out, int64_t in, double scale = 1) {
    return initial_weight(out, in, scale / std::sqrt(static_cast<double>(in)), generator);
  };
  const auto add_cross = [&](const std::string& name) {
    auto module = register_module(name, std::make_shared<torch::nn::Module>(name));
    return Cross{.query_norm = add_weight(*module, "query_norm", at::ones({D})),
                 .key_norm = add_weight(*module, "key_norm", at::ones({D})),
                 .query = add_weight(*module, "query", weight(D, D)),
                 .key_value = add_weight(*module, "key_value", weight(2 * D, D)),
                 .output = add_weight(*module, "output", weight(D, D, 0.5))};
  };
  register_module("before", before_);
  if (settings_.pool != "padded") pool_norm_ = add_weight(*this, "pool_norm", at::ones({D}));
  if (settings_.pool == "cross") {
    seed_ = add_weight(*this, "seed", weight(q * D, D));
    pool_cross_ = add_cross("pool_cross");
    down_ = add_weight(*this, "down", weight(I, q * D));
  } else if (settings_.pool != "padded") {
    down_ = add_weight(*this, "down", weight(I, D));
  }
  register_module("inner", inner_);
  if (settings_.upsample == "cross") {
    up_ = add_weight(*this, "up", weight(q * D, I));
    up_cross_ = add_cross("up_cross");
  } else if (settings_.upsample != "tail") {
    up_ = add_weight(*this, "up", weight(D, I));
  }
  register_module("after", after_);
  // "layer" stands for RMSNorm here, as in the models that were trained before there was a choice.
  const NormKind norm = norm_kind(settings_.stack.norm);
  norm_ = add_norm(*this, "norm", D, norm == NormKind::kLayer ? NormKind::kRms : norm, settings_.stack.norm_epsilon);
}

at::Tensor Level::pool(const at::Tensor& h_ND, const Patches& patches, at::ScalarType type) const {
  const auto num_patches = static_cast<int64_t>(patches.boundary_row.size());
  const double epsilon = settings_.stack.norm_epsilon;
  if (settings_.pool == "padded") {
    const at::Tensor last_KD = nn::gather_rows(h_ND, index_tensor(patches.boundary_row, h_ND.device()));
    return at::constant_pad_nd(last_KD, {inner_->width() - settings_.width(), 0});
  }
  if (settings_.pool == "last") {
    const at::Tensor last_KD = nn::gather_rows(h_ND, index_tensor(patches.boundary_row, h_ND.device()));
    return nn::linear(nn::rms_norm(last_KD, pool_norm_, epsilon, type), down_);
  }
  // Rows behind the last boundary of a sequence belong to no patch yet: pooling takes the rows of closed patches only.
  std::vector<int64_t> offsets{0};
  std::vector<int64_t> closed_rows;
  closed_rows.reserve(patches.newest.size());
  for (int64_t k = 0; k < num_patches; ++k) {
    for (int64_t row = patches.begin_row[k]; row <= patches.boundary_row[k]; ++row) closed_rows.push_back(row);
    offsets.push_back(static_cast<int64_t>(closed_rows.size()));
  }
  const at::Tensor closed_MD = nn::gather_rows(h_ND, index_tensor(closed_rows, h_ND.device()));
  const at::Tensor pooled_KD =
      nn::pool_rows(closed_MD, offsets, settings_.pool == "max" ? nn::Pool::kMax : nn::Pool::kMean);
  const at::Tensor normed_KD = nn::rms_norm(pooled_KD, pool_norm_, epsilon, type);
  if (settings_.pool != "cross") return nn::linear(normed_KD, down_);

  const int64_t D = settings_.width(), q = settings_.patch_queries;
  const at::Tensor seed_PD = nn::linear(normed_KD, seed_).reshape({num_patches * q, D});  // P = K q
  const at::Tensor query_PD = nn::linear(
      nn::rms_norm(seed_PD.to(h_ND.scalar_type()), pool_cross_.query_norm, epsilon, type), pool_cross_.query);
  const at::Tensor kv_M2D =
      nn::linear(nn::rms_norm(closed_MD, pool_cross_.key_norm, epsilon, type), pool_cross_.key_value);
  nn::Ranges ranges;
  for (int64_t k = 0; k < num_patches; ++k) {
    for (int64_t i = 0; i < q; ++i) {
      ranges.begin.push_back(static_cast<int32_t>(offsets[k]));
      ranges.end.push_back(static_cast<int32_t>(offsets[k + 1]));
    }
  }
  const nn::AttentionShape shape{.heads = settings_.stack.heads,
                                 .key_value_heads = settings_.stack.heads,
                                 .head_width = D / settings_.stack.heads};
  const at::Tensor read_PD = nn::linear(nn::range_attention(query_PD, kv_M2D, ranges, shape), pool_cross_.output);
  return nn::linear((seed_PD + read_PD).reshape({num_patches, q * D}), down_);
}

at::Tensor Level::upsample(const at::Tensor& h_ND, const at::Tensor& z_KI, const Patches& patches,
                           at::ScalarType type) const {
  if (settings_.upsample != "cross") {
    const at::Tensor up_KD =
        settings_.upsample == "tail"
            ? z_KI.narrow(1, z_KI.size(1) - settings_.width(), settings_.width()).to(h_ND.scalar_type()).contiguous()
            : nn::linear(z_KI, up_).to(h_ND.scalar_type());
    std::vector<int64_t> source = patches.newest;
    if (settings_.upsample != "repeat") {
      std::fill(source.begin(), source.end(), int64_t{-1});
      for (size_t k = 0; k < patches.boundary_row.size(); ++k)
        source[patches.boundary_row[k]] = static_cast<int64_t>(k);
    }
    return h_ND + nn::gather_rows(up_KD, index_tensor(source, h_ND.device()));
  }
  const int64_t D = settings_.width(), q = settings_.patch_queries, num_patches = z_KI.size(0);
  const double epsilon = settings_.stack.norm_epsilon;
  const at::Tensor keys_PD = nn::linear(z_KI, up_).reshape({num_patches * q, D}).to(h_ND.scalar_type());
  const at::Tensor kv_P2D = nn::linear(nn::rms_norm(keys_PD, up_cross_.key_norm, epsilon, type), up_cross_.key_value);
  const at::Tensor query_ND = nn::linear(nn::rms_norm(h_ND, up_cross_.query_norm, epsilon, type), up_cross_.query);
  nn::Ranges ranges;
  for (const int64_t patch : patches.newest) {
    ranges.begin.push_back(static_cast<int32_t>(patch * q));
    ranges.end.push_back(static_cast<int32_t>((patch + 1) * q));
  }
  const nn::AttentionShape shape{.heads = settings_.stack.heads,
                                 .key_value_heads = settings_.stack.heads,
                                 .head_width = D / settings_.stack.heads};
  return h_ND +
         nn::linear(nn::range_attention(query_ND, kv_P2D, ranges, shape), up_cross_.output).to(h_ND.scalar_type());
}

at::Tensor Level::forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) {
  const at::ScalarType type = x_ND.scalar_type() == at::kDouble ? at::kDouble : options.compute_type;
  const Patches patches = find_patches(boundary_, rows);
  if (options.notes != nullptr) options.notes->levels.push_back(patches.notes(rows));
  const at::Tensor h_ND = before_->forward(positions_.add(x_ND, rows.sequences), rows.sequences, options).sum();
  at::Tensor v_ND = h_ND;
  if (!patches.boundary_row.empty()) {
    const at::Tensor patches_KI = pool(h_ND, patches, type);
    const at::Tensor z_KI = inner_->forward(patches_KI.to(x_ND.scalar_type()), patches.inner, options);
    v_ND = upsample(h_ND, z_KI, patches, type);
  }
  return after_->forward(v_ND, rows.sequences, options).normed(norm_, type);
}

BackboneState Level::start() const {
  BackboneState state;
  state.layers.resize(static_cast<size_t>(before_->layers() + after_->layers()));
  state.inner.push_back(inner_->start());
  return state;
}

// open_patch holds: for last and padded the newest row, for mean the sum, for max the maximum, for cross all rows one
// by one.
void Level::open_row(BackboneState& state, const float* h_D) const {
  const auto width = static_cast<size_t>(settings_.width());
  if (settings_.pool == "cross") {
    state.open_patch.insert(state.open_patch.end(), h_D, h_D + width);
  } else if (state.open_rows == 0 || settings_.pool == "last" || settings_.pool == "padded") {
    state.open_patch.assign(h_D, h_D + width);
  } else if (settings_.pool == "max") {
    for (size_t i = 0; i < width; ++i) state.open_patch[i] = std::max(state.open_patch[i], h_D[i]);
  } else {
    for (size_t i = 0; i < width; ++i) state.open_patch[i] += h_D[i];
  }
  ++state.open_rows;
}

void Level::pool_open_patch(const BackboneState& state, float* pooled_I) const {
  const int64_t D = settings_.width(), I = inner_->width(), q = settings_.patch_queries;
  const double epsilon = settings_.stack.norm_epsilon;
  if (settings_.pool == "padded") {
    std::fill_n(pooled_I, I - D, 0.0F);
    std::copy_n(state.open_patch.begin(), D, pooled_I + (I - D));
    return;
  }
  std::vector<float> pooled(state.open_patch.begin(), state.open_patch.begin() + D);
  if (settings_.pool == "cross") {
    for (int64_t row = 1; row < state.open_rows; ++row) nn::add_rows(pooled.data(), &state.open_patch[row * D], D);
  }
  if (settings_.pool == "mean" || settings_.pool == "cross") {
    for (float& value : pooled) value /= static_cast<float>(state.open_rows);
  }
  nn::rms_norm_rows(pooled.data(), pool_norm_.data_ptr<float>(), pooled.data(), 1, D, epsilon);
  if (settings_.pool != "cross") {
    nn::multiply_rows(pooled.data(), down_.data_ptr<float>(), pooled_I, 1, D, I);
    return;
  }
  std::vector<float> seed(q * D), normed(q * D), query(q * D), read(q * D);
  nn::multiply_rows(pooled.data(), seed_.data_ptr<float>(), seed.data(), 1, D, q * D);
  nn::rms_norm_rows(seed.data(), pool_cross_.query_norm.data_ptr<float>(), normed.data(), q, D, epsilon);
  nn::multiply_rows(normed.data(), pool_cross_.query.data_ptr<float>(), query.data(), q, D, D);
  std::vector<float> keys(state.open_rows * D), kv(state.open_rows * 2 * D);
  nn::rms_norm_rows(state.open_patch.data(), pool_cross_.key_norm.data_ptr<float>(), keys.data(), state.open_rows, D,
                    epsilon);
  nn::multiply_rows(keys.data(), pool_cross_.key_value.data_ptr<float>(), kv.data(), state.open_rows, D, 2 * D);
  nn::attend_rows(query.data(), q, kv.data(), state.open_rows, read.data(), settings_.stack.heads,
                  D / settings_.stack.heads);
  nn::multiply_rows(read.data(), pool_cross_.output.data_ptr<float>(), query.data(), q, D, D);
  nn::add_rows(seed.data(), query.data(), q * D);
  nn::multiply_rows(seed.data(), down_.data_ptr<float>(), pooled_I, 1, q * D, I);
}

void Level::apply_above(const BackboneState& state, bool at_boundary, float* h_D) const {
  const int64_t D = settings_.width(), q = settings_.patch_queries;
  if ((settings_.upsample == "boundary" || settings_.upsample == "tail") && !at_boundary) return;
  if (settings_.upsample != "cross") {
    nn::add_rows(h_D, state.above.data(), D);
    return;
  }
  std::vector<float> normed(D), query(D), read(D);
  nn::rms_norm_rows(h_D, up_cross_.query_norm.data_ptr<float>(), normed.data(), 1, D, settings_.stack.norm_epsilon);
  nn::multiply_rows(normed.data(), up_cross_.query.data_ptr<float>(), query.data(), 1, D, D);
  nn::attend_rows(query.data(), 1, state.above.data(), q, read.data(), settings_.stack.heads,
                  D / settings_.stack.heads);
  nn::multiply_rows(read.data(), up_cross_.output.data_ptr<float>(), query.data(), 1, D, D);
  nn::add_rows(h_D, query.data(), D);
}

void Level::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) {
  const auto count = static_cast<int64_t>(rows.stream.size());
  const int64_t D = settings_.width(), I = inner_->width(), q = settings_.patch_queries;
  std::vector<int64_t> position(states.size());
  for (size_t s = 0; s < states.size(); ++s) position[s] = states[s]->rows;
  for (int64_t r = 0; r < count; ++r) positions_.add_row(x_RD + r * D, position[rows.stream[r]]++);
  before_->advance(x_RD, rows, states, 0);

  // Close patches in the order of the rows; the inner backbone then reads all of them at once.
  std::vector<int64_t> boundary_rows;
  std::vector<int64_t> inner_stream;
  std::vector<uint16_t> inner_symbols;
  std::vector<uint8_t> inner_marks;
  std::vector<float> inner_x;
  for (int64_t r = 0; r < count; ++r) {
    BackboneState& state = *states[rows.stream[r]];
    const bool closes = boundary_.closes(state.rows, state.last_symbol, rows.symbols[r], rows.marks[r]);
    state.marks |= rows.marks[r];
    open_row(state, x_RD + r * D);
    ++state.rows;
    state.last_symbol = rows.symbols[r];
    if (!closes) continue;
    boundary_rows.push_back(r);
    inner_stream.push_back(rows.stream[r]);
    inner_symbols.push_back(rows.symbols[r]);
    inner_marks.push_back(state.marks);
    state.marks = 0;
    inner_x.resize(inner_x.size() + I);
    pool_open_patch(state, inner_x.data() + inner_x.size() - I);
    state.open_patch.clear();
    state.open_rows = 0;
  }
  std::vector<BackboneState*> inner_states;
  for (BackboneState* state : states) inner_states.push_back(&state->inner.front());
  if (!boundary_rows.empty()) inner_->advance(inner_x.data(), {inner_stream, inner_symbols, inner_marks}, inner_states);

  // What each closed patch sends down.
  const auto num_patches = static_cast<int64_t>(boundary_rows.size());
  const bool cross = settings_.upsample == "cross";
  const int64_t up_width = cross ? q * D : D;
  std::vector<float> up(num_patches * up_width);
  if (settings_.upsample == "tail") {
    for (int64_t k = 0; k < num_patches; ++k) std::copy_n(inner_x.data() + (k + 1) * I - D, D, up.data() + k * D);
  } else if (num_patches > 0) {
    nn::multiply_rows(inner_x.data(), up_.data_ptr<float>(), up.data(), num_patches, I, up_width);
  }
  if (cross && num_patches > 0) {
    std::vector<float> normed(up.size()), kv(2 * up.size());
    nn::rms_norm_rows(up.data(), up_cross_.key_norm.data_ptr<float>(), normed.data(), num_patches * q, D,
                      settings_.stack.norm_epsilon);
    nn::multiply_rows(normed.data(), up_cross_.key_value.data_ptr<float>(), kv.data(), num_patches * q, D, 2 * D);
    up = std::move(kv);
  }
  const int64_t above_width = cross ? 2 * q * D : D;
  int64_t next_patch = 0;
  for (int64_t r = 0; r < count; ++r) {
    BackboneState& state = *states[rows.stream[r]];
    const bool at_boundary = next_patch < num_patches && boundary_rows[next_patch] == r;
    if (at_boundary) {
      const float* above = up.data() + next_patch * above_width;
      state.above.assign(above, above + above_width);
      ++next_patch;
    }
    apply_above(state, at_boundary, x_RD + r * D);
  }
  after_->advance(x_RD, rows, states, static_cast<size_t>(before_->layers()));
  norm_.rows(x_RD, x_RD, count);
}

BackboneCost Level::cost(const Rows& rows) const {
  const Patches patches = find_patches(boundary_, rows);
  const auto num_rows = static_cast<double>(rows.count()), num_patches = static_cast<double>(patches.inner.count());
  const auto queries = static_cast<double>(settings_.patch_queries);
  const auto size = [](const at::Tensor& weight) {
    return weight.defined() ? static_cast<double>(weight.numel()) : 0.0;
  };
  BackboneCost cost = inner_->cost(patches.inner);
  cost.multiplications += before_->cost(rows.sequences) + after_->cost(rows.sequences);
  cost.multiplications += num_patches * (size(down_) + size(up_));
  if (seed_.defined()) {
    cost.multiplications +=
        num_patches * (size(seed_) + queries * (size(pool_cross_.query) + size(pool_cross_.output)));
    cost.multiplications += num_rows * size(pool_cross_.key_value);
  }
  if (up_cross_.query.defined()) {
    cost.multiplications += num_rows * (size(up_cross_.query) + size(up_cross_.output));
    cost.multiplications += num_patches * queries * size(up_cross_.key_value);
  }
  return cost;
}

StackMemory Level::memory() const {
  StackMemory memory = before_->memory();
  memory += after_->memory();
  memory.saved_per_row += 4 * static_cast<double>(settings_.width());
  return memory;
}

}  // namespace verbatim
