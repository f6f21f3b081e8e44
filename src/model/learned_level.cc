#include "model/learned_level.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/index_tensor.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/state_space.h"
#include "nn/rows_cpu.h"
#include "nn/torch.h"
#include "text/text_marks.h"

// Legend: N rows, K patches, D width of this level, I width inside.
namespace verbatim {

namespace {

constexpr double kSurest = 1 - 1e-4;     // of a boundary, in the moving average
constexpr double kSmallestNorm = 1e-12;  // of a query or key

at::Tensor identity(int64_t width) {
  return ShapesOnly::active() ? at::empty({width, width}, at::TensorOptions(at::kMeta).dtype(at::kFloat))
                              : at::eye(width, at::kFloat);
}

double dot(const float* a, const float* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace

LearnedLevel::LearnedLevel(const BackboneSettings& settings, std::shared_ptr<Backbone> inner, at::Generator& generator)
    : settings_(settings),
      hint_(settings.hints == "sentence"    ? kSentenceEnd
            : settings.hints == "paragraph" ? kParagraphEnd
                                            : 0),
      inner_(std::move(inner)),
      before_(std::make_shared<LayerStack>(settings.stack, settings.kinds_before(), generator)),
      after_(std::make_shared<LayerStack>(settings.stack, settings.kinds_after(), generator)),
      rows_per_patch_(settings.target) {
  const int64_t D = settings_.width(), I = inner_->width();
  const NormKind norm = norm_kind(settings_.stack.norm);
  register_module("before", before_);
  before_norm_ = add_norm(*this, "before_norm", D, norm, settings_.stack.norm_epsilon);
  // Queries and keys start as the rows themselves, the residual path at zero (H-Net's reference).
  query_ = add_linear(*this, "boundary_query", identity(D));
  key_ = add_linear(*this, "boundary_key", identity(D));
  if (hint_ != 0) offset_ = register_parameter("hint_offset", at::zeros({1}));
  const double bound = 1 / std::sqrt(static_cast<double>(D));
  at::Tensor zero_DD = initial_uniform({D, D}, 0, 1, generator);
  residual_ = add_linear(*this, "residual", zero_DD.zero_(), initial_uniform({D}, -bound, bound, generator));
  if (I > D) pad_ = register_parameter("pad", at::zeros({I - D}));
  register_module("inner", inner_);
  register_module("after", after_);
  after_norm_ = add_norm(*this, "norm", D, norm, settings_.stack.norm_epsilon);
}

std::vector<int64_t> LearnedLevel::hinted_rows(const Rows& rows) const {
  std::vector<int64_t> hinted;
  for (int64_t row = 0; row < rows.count(); ++row) {
    if ((rows.marks[row] & hint_) != 0) hinted.push_back(row);
  }
  return hinted;
}

at::Tensor LearnedLevel::boundary_probability(const at::Tensor& h_ND, const Rows& rows) const {
  const int64_t N = h_ND.size(0);
  const at::ScalarType wide = h_ND.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor query_ND = query_(h_ND).to(wide), key_ND = key_(h_ND).to(wide);
  const at::Tensor before_ND = at::cat({query_ND.narrow(0, 0, 1), query_ND.narrow(0, 0, N - 1)});
  const auto length = [](const at::Tensor& x_ND) { return x_ND.norm(2, 1).clamp_min(kSmallestNorm); };
  const at::Tensor cosine_N = (before_ND * key_ND).sum(1) / (length(before_ND) * length(key_ND));
  at::Tensor probability_N = (1 - cosine_N) / 2;
  at::Tensor starts_N = at::zeros({N}, at::kBool);
  for (int64_t s = 0; s < rows.sequences.count(); ++s) starts_N.data_ptr<bool>()[rows.sequences.offsets[s]] = true;
  if (hint_ != 0) {
    at::Tensor hints_N = at::zeros({N}, at::TensorOptions().dtype(wide));
    for (const int64_t row : hinted_rows(rows)) hints_N[row] = 1;
    probability_N = probability_N + hints_N.to(h_ND.device()) * offset_.to(wide);
  }
  return probability_N.clamp(0, 1).masked_fill(starts_N.to(h_ND.device()), 1);
}

at::Tensor LearnedLevel::boundary_loss(const at::Tensor& probability_N, const std::vector<uint8_t>& boundary,
                                       const Rows& rows) const {
  at::Tensor loss;
  if (settings_.ratio_weight > 0) {
    // Least, 1, where both shares are 1 / target; the share of boundaries itself has no gradient.
    const auto N = settings_.target;
    const double share = static_cast<double>(std::count(boundary.begin(), boundary.end(), 1)) /
                         static_cast<double>(std::max<size_t>(boundary.size(), 1));
    const at::Tensor mean = probability_N.mean();
    loss = settings_.ratio_weight * N / (N - 1) * ((N - 1) * share * mean + (1 - share) * (1 - mean));
  }
  const std::vector<int64_t> hinted =
      hint_ != 0 && settings_.hint_weight > 0 ? hinted_rows(rows) : std::vector<int64_t>();
  if (!hinted.empty()) {
    const at::Tensor at_hints = probability_N.index_select(0, index_tensor(hinted, probability_N.device()));
    const at::Tensor taught = settings_.hint_weight * -at_hints.clamp_min(1e-4).log().mean();
    loss = loss.defined() ? loss + taught : taught;
  }
  return loss;
}

at::Tensor LearnedLevel::forward(const at::Tensor& x_ND, const Rows& rows, const ForwardOptions& options) {
  const at::ScalarType wide = x_ND.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::ScalarType type = wide == at::kDouble ? wide : options.compute_type;
  const int64_t D = width();
  if (rows.count() == 0) return x_ND.to(type);
  const at::Tensor h_ND = before_->forward(x_ND, rows.sequences, options).normed(before_norm_, type);
  const at::Tensor probability_N = boundary_probability(h_ND, rows);
  const at::Tensor probabilities = probability_N.detach().to(at::kCPU, at::kFloat).contiguous();
  std::vector<float> probability(probabilities.data_ptr<float>(), probabilities.data_ptr<float>() + rows.count());
  std::vector<uint8_t> boundary(probability.size());
  for (size_t t = 0; t < boundary.size(); ++t) boundary[t] = probability[t] > 0.5F ? 1 : 0;
  const Patches patches = patches_of(boundary, rows);
  rows_per_patch_ = static_cast<double>(rows.count()) / static_cast<double>(patches.boundary_row.size());

  const at::Device device = x_ND.device();
  const at::Tensor boundary_K = index_tensor(patches.boundary_row, device);
  if (options.notes != nullptr) {
    options.notes->levels.push_back({.boundary = boundary,
                                     .probability = std::move(probability),
                                     .ends = rows.ends,
                                     .symbols = rows.symbols,
                                     .loss = boundary_loss(probability_N, boundary, rows),
                                     .target = settings_.target});
  }
  at::Tensor inner_KI = nn::gather_rows(h_ND.to(wide), boundary_K);
  if (pad_.defined()) inner_KI = at::cat({inner_KI, pad_.to(wide).expand({inner_KI.size(0), pad_.size(0)})}, 1);
  const at::Tensor z_KD = inner_->forward(inner_KI, patches.inner, options).narrow(1, 0, D).to(wide).contiguous();
  const at::Tensor sure_K = probability_N.index_select(0, boundary_K).clamp(1 - kSurest, kSurest);
  const at::Tensor above_ND =
      nn::gather_rows(nn::smooth_rows(z_KD, sure_K, patches.inner.sequences), index_tensor(patches.newest, device));
  // The confidence in each decision: 1 in the forward pass, but with the gradient of a factor (straight through).
  const at::Tensor is_boundary_N = probability_N.detach() > 0.5;
  const at::Tensor confidence_N = at::where(is_boundary_N, probability_N, 1 - probability_N);
  const at::Tensor one_N1 = (1 + (confidence_N - confidence_N.detach())).unsqueeze(1);
  const at::Tensor v_ND = above_ND * one_N1 + residual_(h_ND).to(wide);
  return after_->forward(v_ND, rows.sequences, options).normed(after_norm_, type);
}

BackboneState LearnedLevel::start() const {
  BackboneState state;
  state.layers.resize(static_cast<size_t>(before_->layers() + after_->layers()));
  state.above.assign(static_cast<size_t>(width()), 0.0F);
  state.inner.push_back(inner_->start());
  return state;
}

void LearnedLevel::advance(float* x_RD, const StreamRows& rows, std::span<BackboneState*> states) {
  const auto count = static_cast<int64_t>(rows.stream.size());
  const int64_t D = width(), I = inner_->width();
  before_->advance(x_RD, rows, states, 0);
  before_norm_.rows(x_RD, x_RD, count);
  std::vector<float> query(count * D), key(count * D), kept(count * D);
  query_.rows(x_RD, query.data(), count);
  key_.rows(x_RD, key.data(), count);
  residual_.rows(x_RD, kept.data(), count);

  // Decide row by row; the inner backbone then reads all boundaries at once.
  std::vector<int64_t> boundary_rows, inner_stream;
  std::vector<uint16_t> inner_symbols;
  std::vector<uint8_t> inner_marks;
  std::vector<float> inner_x, sure;
  for (int64_t r = 0; r < count; ++r) {
    BackboneState& state = *states[rows.stream[r]];
    state.marks |= rows.marks[r];
    double probability = 1;
    if (state.rows > 0) {
      const float* before = state.last_query.data();
      const float* here = key.data() + r * D;
      const double lengths = std::max(std::sqrt(dot(before, before, D)), kSmallestNorm) *
                             std::max(std::sqrt(dot(here, here, D)), kSmallestNorm);
      probability = (1 - dot(before, here, D) / lengths) / 2;
      if (hint_ != 0 && (rows.marks[r] & hint_) != 0) probability += static_cast<double>(offset_.item<float>());
      probability = std::clamp(probability, 0.0, 1.0);
    }
    state.last_query.assign(query.begin() + r * D, query.begin() + (r + 1) * D);
    ++state.rows;
    if (static_cast<float>(probability) <= 0.5F) continue;
    boundary_rows.push_back(r);
    inner_stream.push_back(rows.stream[r]);
    inner_symbols.push_back(rows.symbols[r]);
    inner_marks.push_back(state.marks);
    state.marks = 0;
    sure.push_back(static_cast<float>(std::clamp(probability, 1 - kSurest, kSurest)));
    inner_x.insert(inner_x.end(), x_RD + r * D, x_RD + (r + 1) * D);
    if (I > D) inner_x.insert(inner_x.end(), pad_.data_ptr<float>(), pad_.data_ptr<float>() + (I - D));
  }
  std::vector<BackboneState*> inner_states;
  for (BackboneState* state : states) inner_states.push_back(&state->inner.front());
  if (!boundary_rows.empty()) {
    inner_->advance(inner_x.data(), {inner_stream, inner_symbols, inner_marks}, inner_states);
  }

  size_t next = 0;
  for (int64_t r = 0; r < count; ++r) {
    BackboneState& state = *states[rows.stream[r]];
    if (next < boundary_rows.size() && boundary_rows[next] == r) {
      const float* z = inner_x.data() + static_cast<int64_t>(next) * I;
      const float p = sure[next++];
      for (int64_t i = 0; i < D; ++i) state.above[i] = p * z[i] + (1 - p) * state.above[i];
    }
    for (int64_t i = 0; i < D; ++i) x_RD[r * D + i] = state.above[i] + kept[r * D + i];
  }
  after_->advance(x_RD, rows, states, static_cast<size_t>(before_->layers()));
  after_norm_.rows(x_RD, x_RD, count);
}

Rows LearnedLevel::inner_rows(const Rows& rows) const {
  Rows inner;
  for (int64_t s = 0; s < rows.sequences.count(); ++s) {
    const auto length = static_cast<double>(rows.sequences.length(s));
    const auto patches = length == 0 ? 0 : std::max<int64_t>(1, std::llround(length / rows_per_patch_));
    inner.sequences.offsets.push_back(inner.sequences.rows() + patches);
  }
  const auto count = static_cast<size_t>(inner.count());
  inner.symbols.assign(count, kStartSymbol);
  inner.ends.assign(count, 0);
  inner.marks.assign(count, 0);
  return inner;
}

BackboneCost LearnedLevel::cost(const Rows& rows) const {
  BackboneCost cost = inner_->cost(inner_rows(rows));
  cost.multiplications += before_->cost(rows.sequences) + after_->cost(rows.sequences);
  cost.multiplications += 3 * static_cast<double>(rows.count() * width() * width());
  return cost;
}

StackMemory LearnedLevel::memory() const {
  StackMemory memory = before_->memory();
  memory += after_->memory();
  memory.saved_per_row += 8 * static_cast<double>(width());
  return memory;
}

}  // namespace verbatim
