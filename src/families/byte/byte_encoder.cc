#include "families/byte/byte_encoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "model/weights.h"
#include "nn/kernels/dense.h"
#include "nn/torch.h"
#include "text/ngram_hash.h"

namespace verbatim {

void ByteEncoderSettings::visit(SettingsVisitor& visitor) {
  visitor.setting("ngram_sizes", ngram_sizes,
                  {.help = "lengths of the hashed n-grams added to each byte; empty: none",
                   .unit = "bytes",
                   .minimum = 2,
                   .maximum = 16});
  // Without n-grams, too: `--encoder.ngram_sizes=[]` switches off what a settings file has.
  visitor.setting("ngram_rows", ngram_rows, {.help = "rows of each n-gram table", .minimum = 1, .maximum = 1 << 24});
  visitor.setting("start_id", start_id,
                  {.help = "symbol read before a document; below 256: a byte that the text does not contain",
                   .minimum = 0,
                   .maximum = 65535});
  visitor.setting("end_id", end_id,
                  {.help = "symbol predicted behind a document; -1: none", .minimum = -1, .maximum = 65535});
  visitor.setting("symbols", symbols,
                  {.help = "rows of the table of bytes; 0: as many as are needed", .minimum = 0, .maximum = 1 << 24});
}

int64_t ByteEncoderSettings::table_rows() const { return std::max({int64_t{256}, start_id + 1, end_id + 1, symbols}); }

Positions ByteSegmenter::segment(std::string_view text, DocumentPart /*part*/) const {
  Positions positions;
  positions.ids.assign(reinterpret_cast<const uint8_t*>(text.data()),
                       reinterpret_cast<const uint8_t*>(text.data()) + text.size());
  positions.ends.resize(text.size());
  std::iota(positions.ends.begin(), positions.ends.end(), 1U);
  return positions;
}

std::string ByteSegmenter::bytes_of(const std::vector<int32_t>& ids, const std::vector<int32_t>* /*previous*/) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (id >= 0 && id < 256) bytes.push_back(static_cast<char>(id));
  }
  return bytes;
}

ByteEncoder::ByteEncoder(ByteEncoderSettings settings, int64_t width, at::Generator& generator)
    : segmenter_(settings), settings_(std::move(settings)), width_(width) {
  const double deviation = 1 / std::sqrt(static_cast<double>(width));
  auto table = register_module("table", std::make_shared<torch::nn::Module>("table"));
  table_VD_ = table->register_parameter("weight", initial_weight(settings_.table_rows(), width, deviation, generator));
  if (settings_.ngram_sizes.empty()) return;
  const auto tables = static_cast<int64_t>(settings_.ngram_sizes.size());
  auto ngrams = register_module("ngrams", std::make_shared<torch::nn::Module>("ngrams"));
  // The sum over the tables starts as large as a byte's own vector.
  ngrams_RD_ = ngrams->register_parameter(
      "weight", initial_weight(tables * settings_.ngram_rows, width, deviation / std::sqrt(static_cast<double>(tables)),
                               generator));
}

int64_t ByteEncoder::ngram_row(size_t k, const uint16_t* newest, size_t available) const {
  const auto size = static_cast<int>(settings_.ngram_sizes[k]);
  const auto window = [&](int i) -> int64_t {
    const auto back = static_cast<size_t>(size - 1 - i);
    return back < available ? ngram_symbol(*(newest - back)) : 0;
  };
  return static_cast<int64_t>(k) * settings_.ngram_rows +
         ngram_hash(window, size, kNgramPrimes[0], settings_.ngram_rows);
}

Encoded ByteEncoder::encode(const PositionBatch& batch, at::ScalarType /*compute_type*/) {
  const at::Device device = table_VD_.device();
  const int64_t rows = batch.rows();
  const at::Tensor index_N =
      at::from_blob(const_cast<int32_t*>(batch.ids.data()), {rows}, at::kInt).to(at::kLong).to(device);
  at::Tensor x_ND = nn::gather_rows(table_VD_, index_N);
  if (ngrams_RD_.defined()) {
    const auto tables = static_cast<int64_t>(settings_.ngram_sizes.size());
    const at::Tensor ngram_NK = at::empty({rows, tables}, at::kLong);
    auto* out = ngram_NK.data_ptr<int64_t>();
    for (int64_t s = 0; s < batch.sequences(); ++s) {
      for (int64_t row = batch.offsets[s]; row < batch.offsets[s + 1]; ++row) {
        const auto available = static_cast<size_t>(row - batch.offsets[s] + 1);
        for (int64_t k = 0; k < tables; ++k) {
          out[row * tables + k] = ngram_row(static_cast<size_t>(k), &batch.symbols[row], available);
        }
      }
    }
    x_ND = x_ND + nn::gather_sum(ngrams_RD_, ngram_NK.to(device));
  }
  return {.vectors_ND = x_ND, .rows = Rows::of(batch)};
}

void ByteEncoder::encode_rows(const PositionBatch& rows, std::span<const int64_t> stream,
                              std::span<EncoderState*> states, float* out_RD) {
  const float* table = table_VD_.data_ptr<float>();
  const int64_t longest =
      ngrams_RD_.defined() ? *std::max_element(settings_.ngram_sizes.begin(), settings_.ngram_sizes.end()) : 0;
  for (size_t r = 0; r < stream.size(); ++r) {
    float* out = out_RD + static_cast<int64_t>(r) * width_;
    std::copy_n(table + rows.ids[r] * width_, width_, out);
    if (longest == 0) continue;
    std::vector<uint16_t>& recent = states[stream[r]]->recent;
    recent.push_back(rows.symbols[r]);
    if (recent.size() > static_cast<size_t>(longest)) recent.erase(recent.begin());
    for (size_t k = 0; k < settings_.ngram_sizes.size(); ++k) {
      const float* ngram = ngrams_RD_.data_ptr<float>() + ngram_row(k, &recent.back(), recent.size()) * width_;
      for (int64_t i = 0; i < width_; ++i) out[i] += ngram[i];
    }
  }
}

}  // namespace verbatim
