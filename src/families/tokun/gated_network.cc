#include "families/tokun/gated_network.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "families/tokun/block_bytes.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/dense.h"

namespace verbatim {

namespace {

constexpr int64_t kValues = 256;
constexpr int64_t kPlanes = 32;    // 17 of Unicode and the escapes
constexpr int64_t kBytesSaid = 3;  // of a character; the first one of four is always 0
constexpr double kEpsilon = 1e-6;

double fan_in(int64_t in) { return 1 / std::sqrt(static_cast<double>(in)); }

at::ScalarType computed_in(const at::Tensor& weight, at::ScalarType type) {
  return weight.scalar_type() == at::kDouble ? at::kDouble : type;
}

// Of the vectors that a level makes, bytes first.
int64_t width_of_level(const TokunEncoderSettings& settings, size_t level, size_t levels) {
  return level + 1 == levels ? settings.latent : settings.width;
}

// A matrix between one vector and the parts of a group. At first every part mainly has numbers of its own in the
// vector, so that all parts learn from one problem, the same for each; how they share the room is learnt from there.
//   joins: [vector, parts * width], else [parts * width, vector]
at::Tensor apart(int64_t vector, int64_t parts, int64_t width, bool joins, at::Generator& generator) {
  constexpr double kShared = 0.1;
  const int64_t room = vector / parts;
  const int64_t in = joins ? parts * width : vector, out = joins ? vector : parts * width;
  at::Tensor weight = initial_weight(out, in, (room == 0 ? 1 : kShared) * fan_in(in), generator);
  if (room == 0 || weight.is_meta()) return weight;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t row = joins ? part * room : part * width, column = joins ? part * width : part * room;
    const int64_t rows = joins ? room : width, columns = joins ? width : room;
    weight.slice(0, row, row + rows)
        .slice(1, column, column + columns)
        .add_(initial_weight(rows, columns, fan_in(columns), generator));
  }
  return weight;
}

at::Tensor wide(const at::Tensor& x, at::ScalarType type) {
  return x.to(type == at::kDouble ? at::kDouble : at::kFloat);
}

// Grows with every change of the weights.
int64_t version_of(const torch::nn::Module& module) {
  int64_t version = 0;
  for (const at::Tensor& parameter : module.parameters()) version += static_cast<int64_t>(parameter._version());
  return version;
}

// Mean square 1.
at::Tensor unit_length(const at::Tensor& x) { return x * (x.square().mean(1, /*keepdim=*/true) + kEpsilon).rsqrt(); }

// Beside each row the `reach` rows before and behind it, zeros where the group of `rows` ends: [M, (2 * reach + 1) * W]
at::Tensor with_neighbours(const at::Tensor& x_MW, int64_t rows, int64_t reach) {
  const int64_t width = x_MW.size(1);
  const at::Tensor padded = at::constant_pad_nd(x_MW.view({-1, rows, width}), {0, 0, reach, reach});
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first <= 2 * reach; ++first) parts.push_back(padded.slice(1, first, first + rows));
  return at::cat(parts, 2).view({-1, (2 * reach + 1) * width});
}

}  // namespace

GatedLayer::GatedLayer(torch::nn::Module& owner, const std::string& name, int64_t width, int64_t hidden,
                       at::Generator& generator, int64_t reach)
    : reach_(reach) {
  auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
  norm_ = add_norm(*holder, "norm", width, NormKind::kRms, kEpsilon);
  const int64_t read = (2 * reach + 1) * width;
  up_ = add_linear(*holder, "up", initial_weight(2 * hidden, read, fan_in(read), generator));
  // Starts as nearly nothing: the path around it carries the text from the first step on.
  down_ = add_linear(*holder, "down", initial_weight(width, hidden, 0.1 * fan_in(hidden), generator));
}

at::Tensor GatedLayer::operator()(const at::Tensor& x_MW, at::ScalarType type, int64_t rows) const {
  at::Tensor normed = norm_(x_MW, type);
  if (reach_ > 0) normed = with_neighbours(normed, rows, reach_);
  const at::Tensor hidden = up_(normed);
  return x_MW + wide(down_(type == at::kDouble ? nn::swiglu_plain(hidden) : nn::swiglu(hidden)), type);
}

double GatedLayer::multiplications() const {
  return static_cast<double>(up_.weight_ED.numel() + down_.weight_ED.numel());
}

MixingLayer::MixingLayer(torch::nn::Module& owner, const std::string& name, int64_t width, int64_t heads,
                         at::Generator& generator)
    : heads_(heads) {
  auto holder = owner.register_module(name, std::make_shared<torch::nn::Module>(name));
  norm_ = add_norm(*holder, "norm", width, NormKind::kRms, kEpsilon);
  query_ = add_linear(*holder, "query", initial_weight(width, width, fan_in(width), generator));
  key_value_ = add_linear(*holder, "key_value", initial_weight(2 * width, width, fan_in(width), generator));
  out_ = add_linear(*holder, "out", initial_weight(width, width, 0.1 * fan_in(width), generator));
}

at::Tensor MixingLayer::operator()(const at::Tensor& x_MW, int64_t places, at::ScalarType type) const {
  nn::Ranges block;
  block.begin.reserve(static_cast<size_t>(x_MW.size(0)));
  block.end.reserve(static_cast<size_t>(x_MW.size(0)));
  for (int64_t row = 0; row < x_MW.size(0); ++row) {
    block.begin.push_back(static_cast<int32_t>(row / places * places));
    block.end.push_back(static_cast<int32_t>(row / places * places + places));
  }
  const nn::AttentionShape shape{.heads = heads_, .key_value_heads = heads_, .head_width = x_MW.size(1) / heads_};
  const at::Tensor normed = norm_(x_MW, type);
  const at::Tensor seen = type == at::kDouble
                              ? nn::range_attention_plain(query_(normed), key_value_(normed), block, shape)
                              : nn::range_attention(query_(normed), key_value_(normed), block, shape);
  return x_MW + wide(out_(seen), type);
}

double MixingLayer::multiplications() const {
  return static_cast<double>(query_.weight_ED.numel() + key_value_.weight_ED.numel() + out_.weight_ED.numel());
}

GatedEncoder::GatedEncoder(const TokunEncoderSettings& settings, at::Generator& generator)
    : chain_(settings.block_options().chain), block_bytes_(chain_.block_bytes()) {
  const size_t levels = chain_.factors.size();
  int64_t width = width_of_level(settings, 0, levels);
  const int64_t places = chain_.factors.front() / 4 * kBytesSaid;
  table_PW_ = register_parameter("table", initial_weight(places * kValues, width, fan_in(places), generator));
  if (settings.characters > 0) {
    auto holder = register_module("known", std::make_shared<torch::nn::Module>("known"));
    known_ = KnownCharacters(*holder, settings.characters, settings.character_width, generator);
    known_rows_ = add_linear(*holder, "dense", initial_weight(width, settings.character_width, 1.0, generator));
  }
  first_ = GatedLayer(*this, "level0", width, settings.hidden > 0 ? settings.hidden : width, generator);
  for (size_t i = 1; i < levels; ++i) {
    Level level{.factor = chain_.factors[i], .norm = {}, .join = {}, .layer = std::nullopt};
    auto holder = register_module(fmt::format("join{}", i), std::make_shared<torch::nn::Module>("join"));
    const int64_t joined = level.factor * width;
    level.norm = add_norm(*holder, "norm", width, NormKind::kRms, kEpsilon);
    width = width_of_level(settings, i, levels);
    level.join = add_linear(*holder, "dense", apart(width, level.factor, joined / level.factor, true, generator));
    if (i + 1 < levels || settings.join_layer) {
      level.layer.emplace(*this, fmt::format("level{}", i), width, width, generator);
    }
    levels_.push_back(std::move(level));
  }
}

at::Tensor GatedEncoder::rows_of_bytes(const at::Tensor& bytes_M4, at::ScalarType type) const {
  // Byte 1 to 3 of each character have tables of their own, and so has each character of the group.
  const int64_t group = chain_.factors.front();
  const at::Tensor said = bytes_M4.reshape({-1, group / 4, 4}).slice(2, 1, 4).reshape({-1, group / 4 * kBytesSaid});
  const at::Tensor offsets = at::arange(said.size(1), at::kLong) * kValues;
  const at::Tensor index_MP = (said + offsets).contiguous().to(table_PW_.device());
  return type == at::kDouble ? nn::gather_sum_plain(table_PW_, index_MP) : nn::gather_sum(table_PW_, index_MP);
}

at::Tensor GatedEncoder::characters(const at::Tensor& bytes_U4, at::ScalarType type) const {
  return characters(bytes_U4, known_.any() ? known_.rows(bytes_U4) : at::Tensor(), type);
}

at::Tensor GatedEncoder::characters(const at::Tensor& bytes_U4, const at::Tensor& row_U, at::ScalarType type) const {
  at::Tensor x = rows_of_bytes(bytes_U4, type);
  if (known_.any()) {
    const at::Tensor index_U = row_U.to(table_PW_.device());
    const at::Tensor own =
        type == at::kDouble ? nn::gather_rows_plain(known_.table(), index_U) : nn::gather_rows(known_.table(), index_U);
    x = x + wide(known_rows_(type == at::kDouble ? own : own.to(type)), type);
  }
  return first_(x, type);
}

at::Tensor GatedEncoder::known_vectors(at::ScalarType type) {
  type = computed_in(table_PW_, type);
  // Those that count as unknown, too: elsewhere it is not their vectors that stand for unknown ones.
  const at::Tensor x_KW = characters(known_.bytes(), at::arange(known_.count(), at::kLong), type);
  return levels_.empty() ? x_KW : levels_[0].norm(x_KW, type);
}

bool GatedEncoder::adds_up() const {
  return levels_.size() == 1 && chain_.factors.front() == 4 && !levels_[0].layer.has_value();
}

at::Tensor GatedEncoder::parts(const PositionBatch& batch) {
  VERBATIM_ASSERT(adds_up(), "blocks that are no sums");
  const DifferentUnits units = different_units(batch, block_bytes_);
  const at::Tensor vectors_UW = levels_[0].norm(characters(units.bytes_U4, at::kFloat), at::kFloat);
  const int64_t places = levels_[0].factor, width = vectors_UW.size(1);
  const at::Tensor x_PNW =
      vectors_UW.index_select(0, units.index_M.to(vectors_UW.device())).view({-1, places, width}).transpose(0, 1);
  const at::Tensor join_PWL = levels_[0].join.weight_ED.view({-1, places, width}).permute({1, 2, 0});
  return at::bmm(x_PNW, join_PWL.to(at::kFloat)).transpose(0, 1);
}

at::Tensor GatedEncoder::known_parts(int64_t place, at::ScalarType type) {
  VERBATIM_ASSERT(adds_up() && place >= 0 && place < levels_[0].factor, "place {} of a block", place);
  type = computed_in(table_PW_, type);
  const at::Tensor vectors_KW = known_vectors(type);
  const int64_t width = vectors_KW.size(1);
  const LinearWeights of_place{.weight_ED = levels_[0].join.weight_ED.slice(1, place * width, (place + 1) * width),
                               .bias_E = {}};
  return wide(of_place(vectors_KW), type);
}

void GatedEncoder::train(bool on) {
  sums_ = nullptr;
  known_.show_all();
  BlockEncoderNetwork::train(on);
}

at::Tensor GatedEncoder::looked_up(const PositionBatch& batch, at::ScalarType type) {
  const bool can = !at::GradMode::is_enabled() && !is_training() && type != at::kDouble && levels_.size() == 1 &&
                   chain_.factors.front() == 4 && table_PW_.device().is_cpu();
  if (!can) return {};
  const int64_t version = version_of(*this);
  if (sums_ == nullptr || version != sums_version_ || type != sums_type_) {
    sums_ = std::make_unique<BlockSums>(levels_[0].join.weight_ED, levels_[0].factor, type);
    sums_version_ = version;
    sums_type_ = type;
  }
  const auto vectors_of = [&](const std::vector<int32_t>& units) {
    at::Tensor bytes_U4 = at::empty({static_cast<int64_t>(units.size()), 4}, at::kLong);
    auto* bytes = bytes_U4.data_ptr<int64_t>();
    for (const int32_t unit : units) bytes = write_unit(bytes, unit);
    return levels_[0].norm(characters(bytes_U4, at::kFloat), at::kFloat);
  };
  if (!sums_->learn(batch, vectors_of)) return {};
  at::Tensor z_NL = at::empty({batch.rows(), levels_[0].join.weight_ED.size(0)}, at::kFloat);
  if (!levels_[0].layer.has_value()) {
    sums_->write(batch, 0, batch.rows(), kEpsilon, z_NL.data_ptr<float>());
    return z_NL;
  }
  // In stretches that stay in the cache.
  constexpr int64_t kRows = 512;
  for (int64_t begin = 0; begin < batch.rows(); begin += kRows) {
    const int64_t end = std::min(begin + kRows, batch.rows());
    const at::Tensor some = z_NL.slice(0, begin, end);
    sums_->write(batch, begin, end, std::nullopt, some.data_ptr<float>());
    some.copy_(unit_length((*levels_[0].layer)(some, type)));
  }
  return z_NL;
}

at::Tensor GatedEncoder::forward(const PositionBatch& batch, at::ScalarType type) {
  if (at::Tensor z_NL = looked_up(batch, computed_in(table_PW_, type)); z_NL.defined()) return z_NL;
  return computed(batch, type);
}

at::Tensor GatedEncoder::computed(const PositionBatch& batch, at::ScalarType type) {
  type = computed_in(table_PW_, type);
  at::Tensor x;
  if (chain_.factors.front() == 4) {
    const DifferentUnits units = different_units(batch, block_bytes_);
    x = characters(units.bytes_U4, type);
    const at::Tensor index_M = units.index_M.to(table_PW_.device());
    x = type == at::kDouble ? nn::gather_rows_plain(x, index_M) : nn::gather_rows(x, index_M);
  } else {
    x = first_(rows_of_bytes(bytes_of_rows(batch, block_bytes_), type), type);
  }
  for (const Level& level : levels_) {
    const at::Tensor parts = level.norm(x, type);
    x = wide(level.join(parts.reshape({-1, level.factor * parts.size(1)})), type);
    if (level.layer.has_value()) x = (*level.layer)(x, type);
  }
  return unit_length(x);
}

double GatedEncoder::multiplications() const {
  double total = first_.multiplications() * static_cast<double>(block_bytes_) / chain_.factors.front();
  if (known_.any()) {
    total +=
        static_cast<double>(known_rows_.weight_ED.numel()) * static_cast<double>(block_bytes_) / chain_.factors.front();
  }
  int64_t vectors = block_bytes_ / chain_.factors.front();
  for (const Level& level : levels_) {
    vectors /= level.factor;
    const double of_layer = level.layer.has_value() ? level.layer->multiplications() : 0;
    total += static_cast<double>(vectors) * (static_cast<double>(level.join.weight_ED.numel()) + of_layer);
  }
  return total;
}

GatedDecoder::GatedDecoder(const TokunEncoderSettings& settings, const TokunDecoderSettings& decoder,
                           at::Generator& generator, std::shared_ptr<BlockEncoderNetwork> encoder)
    : chain_(settings.block_options().chain), bits_(settings.head == "bits"), encoder_(std::move(encoder)) {
  VERBATIM_ASSERT(settings.characters == 0 || encoder_ != nullptr, "known characters without their encoder");
  const size_t levels = chain_.factors.size();
  // The vector of the block holds all that is known of its characters: there depth and width help most, and cost least.
  const auto layers_of_level = [&](size_t level, int64_t width) {
    const bool of_block = level + 1 == levels;
    const int64_t wanted = of_block ? decoder.hidden : level == 0 ? decoder.character_hidden : 0;
    const int64_t hidden = wanted > 0 ? wanted : width;
    std::vector<GatedLayer> layers;
    layers.emplace_back(*this, fmt::format("level{}", level), width, hidden, generator);
    for (int64_t more = 1; of_block && more < decoder.depth; ++more) {
      layers.emplace_back(*this, fmt::format("block{}", more), width, hidden, generator);
    }
    return layers;
  };
  for (size_t i = levels - 1; i > 0; --i) {
    Level level{.factor = chain_.factors[i], .layers = {}, .norm = {}, .split = {}};
    const int64_t width = width_of_level(settings, i, levels);
    const int64_t parts = level.factor * width_of_level(settings, i - 1, levels);
    level.layers = layers_of_level(i, width);
    auto holder = register_module(fmt::format("split{}", i), std::make_shared<torch::nn::Module>("split"));
    level.norm = add_norm(*holder, "norm", width, NormKind::kRms, kEpsilon);
    level.split = add_linear(*holder, "dense", apart(width, level.factor, parts / level.factor, false, generator),
                             at::zeros({parts}));
    levels_.push_back(std::move(level));
  }
  const int64_t width = width_of_level(settings, 0, levels);
  last_ = layers_of_level(0, width);
  const int64_t hidden = decoder.character_hidden > 0 ? decoder.character_hidden : width;
  for (int64_t i = 0; i < decoder.mixing; ++i) {
    Mixing mixing;
    if (decoder.reach == 0) {
      mixing.attention.emplace(*this, fmt::format("mixing{}", i), width, decoder.heads, generator);
    }
    mixing.layer = GatedLayer(*this, fmt::format("mixed{}", i), width, hidden, generator, decoder.reach);
    mixings_.push_back(std::move(mixing));
  }
  norm_ = add_norm(*this, "norm", width, NormKind::kRms, kEpsilon);
  choice_ = CharacterChoice(*this, "known", settings.characters, width, settings.character_width, width, generator);
  context_ = CharacterContext(*this, "context", settings.characters, decoder.context, decoder.context_width,
                              decoder.context_hidden, generator);
  const int64_t characters = chain_.factors.front() / 4;
  const auto add_head = [&](const char* name, int64_t values) {
    const int64_t outputs = characters * (bits_ ? 8 : values);
    return add_linear(*this, name, initial_weight(outputs, width, fan_in(width), generator), at::zeros({outputs}));
  };
  plane_ = add_head("head_plane", kPlanes);
  high_ = add_head("head_high", kValues);
  low_ = add_head("head_low", kValues);
}

at::Tensor GatedDecoder::told_of_places(const at::Tensor& z_NL, at::ScalarType type) const {
  at::Tensor x = wide(z_NL, type);
  for (const Level& level : levels_) {
    for (const GatedLayer& layer : level.layers) x = layer(x, type);
    const at::Tensor parts = level.split(level.norm(x, type));
    x = wide(parts, type).reshape({-1, parts.size(1) / level.factor});
  }
  return x;
}

at::Tensor GatedDecoder::known_rows(at::ScalarType type) const {
  if (at::GradMode::is_enabled()) return choice_.rows(encoder_->known_vectors(type), type);
  const int64_t version = version_of(*this) + version_of(*encoder_);
  // In float32 whatever is asked for: computed once.
  const at::ScalarType wide = computed_in(plane_.weight_ED, at::kFloat);
  const bool moved = known_rows_KR_.defined() &&
                     (known_rows_KR_.device() != plane_.weight_ED.device() || known_rows_KR_.scalar_type() != wide);
  if (!known_rows_KR_.defined() || moved || known_version_ != version) {
    known_rows_KR_ = choice_.rows(encoder_->known_vectors(wide), wide);
    known_version_ = version;
  }
  return known_rows_KR_;
}

BlockLogits GatedDecoder::logits_of_places(at::Tensor x_MW, at::ScalarType type) const {
  for (const GatedLayer& layer : last_) x_MW = layer(x_MW, type);
  for (const Mixing& mixing : mixings_) {
    if (mixing.attention.has_value()) x_MW = (*mixing.attention)(x_MW, places(), type);
    x_MW = mixing.layer(x_MW, type, places());
  }
  const at::Tensor said = norm_(x_MW, type);
  const int64_t characters = chain_.factors.front() / 4;
  BlockLogits result;
  if (choice_.any()) {
    result.known = encoder_->known();
    result.known_MK = choice_.logits(said, known_rows(type));
    result.trust_M = choice_.trust(said);
  }
  for (const LinearWeights* head : {&plane_, &high_, &low_}) {
    const at::Tensor logits = (*head)(said);
    result.bytes.push_back({.logits_RV = logits.reshape({-1, logits.size(1) / characters}),
                            .first = static_cast<int64_t>(result.bytes.size()) + 1,
                            .stride = 4,
                            .bits = bits_});
  }
  return result;
}

BlockLogits GatedDecoder::forward(const at::Tensor& z_NL, at::ScalarType type) {
  type = computed_in(plane_.weight_ED, type);
  return logits_of_places(told_of_places(z_NL, type), type);
}

at::Tensor GatedDecoder::most_likely(const at::Tensor& z_NL, at::ScalarType type, int64_t block_bytes) {
  const int64_t kRows = choice_.any() ? 256 : 2048;
  type = computed_in(plane_.weight_ED, type);
  const int64_t blocks = z_NL.size(0), at_once = std::max<int64_t>(kRows / places(), 1);
  const at::Tensor told_MW = told_of_places(z_NL, type);
  at::Tensor bytes_NT = at::empty({blocks, block_bytes}, at::kByte);
  for (int64_t begin = 0; begin < blocks; begin += at_once) {
    const int64_t end = std::min(begin + at_once, blocks);
    const BlockLogits heads = logits_of_places(told_MW.slice(0, begin * places(), end * places()), type);
    bytes_NT.slice(0, begin, end).copy_(most_likely_blocks(heads, end - begin, block_bytes));
  }
  return bytes_NT;
}

at::Tensor GatedDecoder::likely_beside(const at::Tensor& row_GQ, at::ScalarType type) {
  return context_.logits(row_GQ, encoder_->known()->count(), computed_in(plane_.weight_ED, type));
}

// Without what is said of neighbours: that is for settling alone.
double GatedDecoder::multiplications() const {
  double total = 0;
  double vectors = 1;
  for (const Level& level : levels_) {
    total += vectors * static_cast<double>(level.split.weight_ED.numel());
    for (const GatedLayer& layer : level.layers) total += vectors * layer.multiplications();
    vectors *= static_cast<double>(level.factor);
  }
  double of_vector = 0;
  for (const GatedLayer& layer : last_) of_vector += layer.multiplications();
  for (const Mixing& mixing : mixings_) {
    if (mixing.attention.has_value()) of_vector += mixing.attention->multiplications();
    of_vector += mixing.layer.multiplications();
  }
  for (const LinearWeights* head : {&plane_, &high_, &low_}) of_vector += static_cast<double>(head->weight_ED.numel());
  of_vector += choice_.multiplications();
  return total + vectors * of_vector;
}

}  // namespace verbatim
