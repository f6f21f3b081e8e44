#include "families/tokun/known_characters.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"

namespace verbatim {

namespace {
double fan_in(int64_t in) { return 1 / std::sqrt(static_cast<double>(in)); }
}  // namespace

KnownCharacters::KnownCharacters(torch::nn::Module& holder, int64_t most, int64_t row_width, at::Generator& generator)
    : most_(most) {
  if (most == 0) return;
  rows_KR_ = holder.register_parameter("rows", initial_weight(most, row_width, fan_in(row_width), generator));
  bytes_K3_ = holder.register_parameter("characters", at::zeros({most, 3}, rows_KR_.options()),
                                        /*requires_grad=*/false);
}

void KnownCharacters::read() const {
  const auto version = static_cast<int64_t>(bytes_K3_._version());
  if (version == version_) return;
  version_ = version;
  units_.clear();
  row_of_.clear();
  const at::Tensor bytes_K3 = bytes_K3_.detach().cpu().to(at::kInt).contiguous();
  const int32_t* bytes = bytes_K3.data_ptr<int32_t>();
  for (int64_t k = 0; k < most_; ++k, bytes += 3) {
    const int32_t unit = bytes[0] << 16 | bytes[1] << 8 | bytes[2];
    // The first row is that of padding, whose bytes are 0.
    if (unit == 0 && k > 0) break;
    units_.push_back(unit);
    row_of_.try_emplace(unit, k);
  }
}

void KnownCharacters::learn(std::span<const int32_t> units) {
  if (!any()) return;
  read();
  const size_t before = units_.size();
  for (const int32_t unit : units) {
    if (static_cast<int64_t>(units_.size()) == most_) break;
    if (row_of_.try_emplace(unit, static_cast<int64_t>(units_.size())).second) units_.push_back(unit);
  }
  if (units_.size() == before) return;
  at::NoGradGuard no_grad;
  at::Tensor added_K3 = at::empty({static_cast<int64_t>(units_.size() - before), 3}, at::kFloat);
  float* to = added_K3.data_ptr<float>();
  for (size_t k = before; k < units_.size(); ++k) {
    for (int shift = 16; shift >= 0; shift -= 8) *to++ = static_cast<float>(units_[k] >> shift & 255);
  }
  bytes_K3_.slice(0, static_cast<int64_t>(before), static_cast<int64_t>(units_.size())).copy_(added_K3);
  version_ = static_cast<int64_t>(bytes_K3_._version());
}

void KnownCharacters::hide(double chance, at::Generator& generator) {
  show_all();
  if (!any() || chance == 0) return;
  const at::Tensor drawn_K = at::rand({count()}, generator, at::TensorOptions(at::kFloat));
  const float* drawn = drawn_K.data_ptr<float>();
  for (int64_t k = 0; k < drawn_K.numel(); ++k) hidden_.push_back(k > 0 && drawn[k] < static_cast<float>(chance));
}

int64_t KnownCharacters::count() const {
  if (!any()) return 0;
  read();
  return static_cast<int64_t>(units_.size());
}

int64_t KnownCharacters::row(int32_t unit) const {
  if (!any()) return -1;
  read();
  const auto found = row_of_.find(unit);
  if (found == row_of_.end()) return -1;
  const auto row = static_cast<size_t>(found->second);
  return row < hidden_.size() && hidden_[row] ? -1 : found->second;
}

at::Tensor KnownCharacters::rows(const at::Tensor& bytes_M4) const {
  const at::Tensor bytes_cpu = bytes_M4.cpu().contiguous();
  at::Tensor row_M = at::empty({bytes_cpu.size(0)}, at::kLong);
  const auto* bytes = bytes_cpu.data_ptr<int64_t>();
  auto* to = row_M.data_ptr<int64_t>();
  for (int64_t m = 0; m < row_M.numel(); ++m, bytes += 4) {
    const bool is_counted = bytes[0] >= 0;
    to[m] = is_counted ? row(static_cast<int32_t>(bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3])) : -1;
  }
  return row_M;
}

int32_t KnownCharacters::unit(int64_t row) const {
  read();
  VERBATIM_ASSERT(row >= 0 && row < static_cast<int64_t>(units_.size()), "row {} of {} characters", row, units_.size());
  return units_[static_cast<size_t>(row)];
}

at::Tensor KnownCharacters::bytes() const {
  return at::constant_pad_nd(bytes_K3_.detach().slice(0, 0, count()).to(at::kLong), {1, 0}).cpu();
}

CharacterChoice::CharacterChoice(torch::nn::Module& owner, const std::string& name, int64_t most, int64_t width,
                                 int64_t row_width, int64_t vector_width, at::Generator& generator) {
  if (most == 0) return;
  auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
  query_ = add_linear(*holder, "query", initial_weight(row_width, width, fan_in(width), generator));
  trust_ = add_linear(*holder, "trust", initial_weight(1, width, fan_in(width), generator), at::zeros({1}));
  near_ = add_linear(*holder, "near", initial_weight(row_width, vector_width, fan_in(vector_width), generator));
  bias_K_ = holder->register_parameter("bias", at::zeros({most}, query_.weight_ED.options()));
}

at::Tensor CharacterChoice::rows(const at::Tensor& vectors_KC, at::ScalarType type) const {
  return near_(vectors_KC.to(type)).to(type == at::kDouble ? at::kDouble : at::kFloat);
}

at::Tensor CharacterChoice::logits(const at::Tensor& said_MW, const at::Tensor& rows_KR) const {
  const LinearWeights choice{.weight_ED = rows_KR, .bias_E = bias_K_.slice(0, 0, rows_KR.size(0))};
  return choice(query_(said_MW));
}

double CharacterChoice::multiplications() const {
  if (!any()) return 0;
  const int64_t choice = bias_K_.numel() * query_.weight_ED.size(0);
  return static_cast<double>(query_.weight_ED.numel() + trust_.weight_ED.numel() + choice);
}

}  // namespace verbatim
