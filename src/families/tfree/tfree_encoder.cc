#include "families/tfree/tfree_encoder.h"

#include <cmath>

#include "base/error.h"
#include "model/weights.h"
#include "nn/kernels/dense.h"
#include "nn/torch.h"

namespace verbatim {

namespace {

// The word of a row: its bytes stand in the batch as ids.
std::string word_of_row(const PositionBatch& batch, int64_t row) {
  const int64_t begin = batch.id_offsets[static_cast<size_t>(row)];
  return TfreeSegmenter::word_of_ids(batch.ids.data() + begin,
                                     static_cast<size_t>(batch.id_offsets[static_cast<size_t>(row) + 1] - begin));
}

}  // namespace

TfreeEncoder::TfreeEncoder(const TfreeEncoderSettings& settings, int64_t width, at::Generator& generator)
    : segmenter_(settings.split_options(), settings.start_word, settings.end_word),
      hasher_(std::make_shared<TrigramHasher>(settings.trigram_options())),
      mean_(settings.aggregation == "mean"),
      normalize_(settings.normalize),
      width_(width) {
  // A word of usual length has some sixty ids: their sum starts as large as a token's vector would.
  const auto usual_ids = static_cast<double>(6 * settings.ids_per_trigram);
  const double deviation = mean_ ? 1.0 : 1 / std::sqrt(usual_ids);
  auto table = register_module("table", std::make_shared<torch::nn::Module>("table"));
  table_VD_ = table->register_parameter(
      "weight",
      initial_weight(settings.vocabulary, width, deviation / std::sqrt(static_cast<double>(width)), generator));
}

std::vector<int32_t> TfreeEncoder::table_ids(const std::vector<int32_t>& ids) const {
  std::vector<int32_t> hashed;
  if (!ids.empty()) hasher_->append_ids(TfreeSegmenter::word_of_ids(ids.data(), ids.size()), hashed);
  return hashed;
}

float TfreeEncoder::scale_of(size_t ids) const {
  const auto per_trigram = static_cast<float>(hasher_->options().ids_per_trigram);
  const float trigrams = std::max(1.0F, static_cast<float>(ids) / per_trigram);
  return (mean_ ? 1 / per_trigram : 1.0F) * (normalize_ ? 1 / trigrams : 1.0F);
}

Encoded TfreeEncoder::encode(const PositionBatch& batch, at::ScalarType /*compute_type*/) {
  const int64_t rows = batch.rows();
  std::vector<int32_t> ids;
  at::Tensor offsets_N1 = at::empty({rows + 1}, at::kLong);
  at::Tensor scale_N1 = at::empty({rows, 1}, at::kFloat);
  auto* offsets = offsets_N1.data_ptr<int64_t>();
  offsets[0] = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const std::string word = word_of_row(batch, row);
    if (!word.empty()) hasher_->append_ids(word, ids);
    offsets[row + 1] = static_cast<int64_t>(ids.size());
    scale_N1.data_ptr<float>()[row] = scale_of(static_cast<size_t>(offsets[row + 1] - offsets[row]));
  }
  const at::Device device = table_VD_.device();
  const at::Tensor index_M =
      at::from_blob(ids.data(), {static_cast<int64_t>(ids.size())}, at::kInt).to(at::kLong).to(device);
  at::Tensor x_ND = nn::gather_bags(table_VD_, index_M, offsets_N1);
  if (mean_ || normalize_) x_ND = x_ND * scale_N1.to(x_ND.scalar_type()).to(device);
  return {.vectors_ND = x_ND, .rows = Rows::of(batch)};
}

void TfreeEncoder::encode_rows(const PositionBatch& rows, std::span<const int64_t> stream,
                               std::span<EncoderState*> /*states*/, float* out_RD) {
  const float* table = table_VD_.data_ptr<float>();
  std::vector<int32_t> ids;
  for (size_t r = 0; r < stream.size(); ++r) {
    float* out = out_RD + static_cast<int64_t>(r) * width_;
    std::fill_n(out, width_, 0.0F);
    ids.clear();
    const std::string word = word_of_row(rows, static_cast<int64_t>(r));
    if (!word.empty()) hasher_->append_ids(word, ids);
    for (const int32_t id : ids) {
      for (int64_t i = 0; i < width_; ++i) out[i] += table[id * width_ + i];
    }
    const float scale = scale_of(ids.size());
    if (scale != 1) {
      for (int64_t i = 0; i < width_; ++i) out[i] *= scale;
    }
  }
}

}  // namespace verbatim
