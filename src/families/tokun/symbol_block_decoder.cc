#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "families/tokun/block_bytes.h"
#include "families/tokun/block_symbols.h"
#include "families/tokun/tokun_decoder.h"
#include "nn/kernels/dense.h"
#include "nn/rows_cpu.h"

namespace verbatim {

namespace {

constexpr int64_t kSymbolStart = kBlockSymbols;
// In the place of minus infinity, which bfloat16 products turn into no number.
constexpr float kForbidden = -30000;

BackboneSettings stack_settings(const TokunDecoderSettings& settings) {
  BackboneSettings stack;
  stack.kind = "transformer";
  stack.stack.width = settings.width;
  stack.stack.layers = settings.layers;
  stack.stack.heads = settings.heads;
  stack.resolve("decoder");
  return stack;
}

double fan_in(int64_t in) { return 1 / std::sqrt(static_cast<double>(in)); }

// What every block's symbols are read from, one after the other.
struct SymbolRows {
  std::vector<int64_t> offsets = {0};  // rows of each block
  std::vector<int64_t> read, targets;  // symbol that a row reads, and that it predicts
  std::vector<int64_t> states;         // what can come next
  std::vector<int64_t> block;          // row of the batch
};

SymbolRows symbol_rows(const PositionBatch& batch, const BlockOptions& options) {
  SymbolRows rows;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const int64_t target = batch.targets[row];
    if (target == -1) continue;
    std::vector<int32_t> units;
    if (target >= 0) {
      units.assign(batch.ids.begin() + batch.id_offsets[target], batch.ids.begin() + batch.id_offsets[target + 1]);
    }
    BlockSymbolReader reader(options);
    int64_t before = kSymbolStart;
    for (const int32_t symbol : symbols_of_block(units, options)) {
      rows.read.push_back(before);
      rows.targets.push_back(symbol);
      rows.states.push_back(reader.state());
      rows.block.push_back(row);
      reader.read(symbol);
      before = symbol;
    }
    rows.offsets.push_back(static_cast<int64_t>(rows.read.size()));
  }
  return rows;
}

at::Tensor tensor_of(const std::vector<int64_t>& values) {
  return at::from_blob(const_cast<int64_t*>(values.data()), {static_cast<int64_t>(values.size())}, at::kLong).clone();
}

// [states, S]: 0 where a symbol can come next.
at::Tensor forbidden_symbols() {
  at::Tensor mask = at::full({BlockSymbolReader::kStates, kBlockSymbols}, kForbidden);
  // One reader for each state: what its symbols are follows from the state alone.
  const BlockOptions options{.chain = {{4, 2}}};
  const std::vector<std::vector<int32_t>> ways = {{}, {kStrayByte}, {'a'}, {0xC3}, {0xE0}, {0xF0}, {0xED}, {0xF4}};
  for (const std::vector<int32_t>& way : ways) {
    BlockSymbolReader reader(options);
    for (const int32_t symbol : way) reader.read(symbol);
    float* row = mask.data_ptr<float>() + reader.state() * kBlockSymbols;
    for (int32_t symbol = 0; symbol < kBlockSymbols; ++symbol) {
      if (reader.allows(symbol)) row[symbol] = 0;
    }
  }
  return mask;
}

class MostLikely final : public Chooser {
 public:
  int64_t choose(std::span<float> scores) override {
    return std::max_element(scores.begin(), scores.end()) - scores.begin();
  }
};

}  // namespace

SymbolBlockDecoder::SymbolBlockDecoder(const TokunEncoderSettings& settings, const TokunDecoderSettings& decoder,
                                       int64_t width, at::Generator& generator)
    : TokunDecoder(settings, width, generator),
      blocks_(settings.block_options()),
      width_(decoder.width),
      recent_count_(decoder.recent) {
  context_ = add_linear(*this, "context", initial_weight(width_, settings.latent, fan_in(settings.latent), generator));
  auto table = register_module("symbols", std::make_shared<torch::nn::Module>("symbols"));
  table_SW_ = table->register_parameter("weight", initial_weight(kBlockSymbols + 1, width_, 1.0, generator));
  if (recent_count_ > 0) {
    auto recent = register_module("recent", std::make_shared<torch::nn::Module>("recent"));
    recent_RW_ = recent->register_parameter(
        "weight", initial_weight(recent_count_ * kBlockSymbols, width_, fan_in(recent_count_), generator));
  }
  stack_ = register_module("stack", std::make_shared<StackBackbone>(stack_settings(decoder), generator));
  head_ = add_linear(*this, "head", initial_weight(kBlockSymbols, width_, fan_in(width_), generator));
  keep_frozen();
}

void SymbolBlockDecoder::append_recent(std::span<const int32_t> symbols, std::vector<int64_t>& index) const {
  for (int64_t back = 0; back < recent_count_; ++back) {
    const auto count = static_cast<int64_t>(symbols.size());
    index.push_back(back < count ? back * kBlockSymbols + symbols[static_cast<size_t>(count - 1 - back)] : -1);
  }
}

void SymbolBlockDecoder::note(DecoderState& state, const std::vector<int32_t>& ids) const {
  if (recent_count_ == 0) return;
  for (const int32_t unit : ids) append_symbols(unit, state.recent);
  const auto count = static_cast<int64_t>(state.recent.size());
  if (count > recent_count_) state.recent.erase(state.recent.begin(), state.recent.end() - recent_count_);
}

double SymbolBlockDecoder::multiplications_per_block() const {
  double weights = static_cast<double>(head_.weight_ED.numel());
  for (const at::Tensor& parameter : stack_->parameters()) weights += static_cast<double>(parameter.numel());
  return static_cast<double>(context_.weight_ED.numel()) + weights * static_cast<double>(block_bytes_) / 4;
}

at::Tensor SymbolBlockDecoder::nats_of_vectors(const at::Tensor& z_NL, at::ScalarType type,
                                               const PositionBatch& batch) {
  const bool in_double = z_NL.scalar_type() == at::kDouble;
  const SymbolRows symbols = symbol_rows(batch, blocks_);
  at::Tensor nats_N = at::zeros({batch.rows()}, z_NL.options().dtype(in_double ? at::kDouble : at::kFloat));
  if (symbols.read.empty()) return nats_N;
  const at::Device device = z_NL.device();
  at::Tensor context_NW = in_double ? context_(z_NL) : context_(z_NL.to(type)).to(at::kFloat);
  if (recent_count_ > 0) {
    std::vector<int64_t> index;
    for (int64_t s = 0; s < batch.sequences(); ++s) {
      std::vector<int32_t> text;
      for (int64_t row = batch.offsets[s]; row < batch.offsets[s + 1]; ++row) {
        for (int64_t i = batch.id_offsets[row]; i < batch.id_offsets[row + 1]; ++i) append_symbols(batch.ids[i], text);
        append_recent(text, index);
      }
    }
    const at::Tensor index_NK = tensor_of(index).view({batch.rows(), recent_count_}).to(device);
    context_NW =
        context_NW + (in_double ? nn::gather_sum_plain(recent_RW_, index_NK) : nn::gather_sum(recent_RW_, index_NK));
  }
  const at::Tensor read_M = tensor_of(symbols.read).to(device), block_M = tensor_of(symbols.block).to(device);
  const at::Tensor x_MW = in_double
                              ? nn::gather_rows_plain(table_SW_, read_M) + nn::gather_rows_plain(context_NW, block_M)
                              : nn::gather_rows(table_SW_, read_M) + nn::gather_rows(context_NW, block_M);
  Rows rows;
  rows.sequences.offsets = symbols.offsets;
  rows.symbols.resize(symbols.read.size());
  rows.ends.resize(symbols.read.size());
  rows.marks.resize(symbols.read.size());
  const at::Tensor logits_MS = head_(stack_->forward(x_MW, rows, {.compute_type = type}));
  const at::Tensor mask_MS =
      forbidden_symbols().to(device).to(logits_MS.scalar_type()).index_select(0, tensor_of(symbols.states).to(device));
  const at::Tensor masked_MS = logits_MS + mask_MS;
  const at::Tensor targets_M = tensor_of(symbols.targets).to(device);
  const at::Tensor nats_M =
      in_double ? nn::cross_entropy_plain(masked_MS, targets_M) : nn::cross_entropy(masked_MS, targets_M);
  return nats_N.index_add(0, block_M, nats_M.to(nats_N.scalar_type()));
}

std::vector<std::vector<int32_t>> SymbolBlockDecoder::write_blocks(const float* z_NL, int64_t count,
                                                                   const std::vector<int32_t>& recent,
                                                                   Chooser& chooser) {
  std::vector<float> context_NW(static_cast<size_t>(count * width_));
  context_.rows(z_NL, context_NW.data(), count);
  std::vector<int64_t> told;
  append_recent(recent, told);
  for (const int64_t row : told) {
    if (row < 0) continue;
    const float* from = recent_RW_.data_ptr<float>() + row * width_;
    for (int64_t i = 0; i < count * width_; ++i) context_NW[static_cast<size_t>(i)] += from[i % width_];
  }
  struct Writing {
    BlockSymbolReader reader;
    BackboneState memory;
    int64_t before = kSymbolStart;
  };
  std::vector<Writing> blocks;
  blocks.reserve(static_cast<size_t>(count));
  for (int64_t n = 0; n < count; ++n)
    blocks.push_back({.reader = BlockSymbolReader(blocks_), .memory = stack_->start()});
  // One symbol of every block that is not complete in each round, so that weights are read once for all.
  std::vector<int64_t> open(static_cast<size_t>(count));
  std::iota(open.begin(), open.end(), 0);
  std::vector<float> x_RW, scores_RS;
  const at::Tensor mask_TS = forbidden_symbols();
  while (!open.empty()) {
    const size_t rows = open.size();
    x_RW.resize(rows * static_cast<size_t>(width_));
    scores_RS.resize(rows * kBlockSymbols);
    std::vector<int64_t> stream(rows);
    std::iota(stream.begin(), stream.end(), 0);
    const std::vector<uint16_t> symbols(rows, 0);
    const std::vector<uint8_t> marks(rows, 0);
    std::vector<BackboneState*> memories;
    memories.reserve(rows);
    for (size_t r = 0; r < rows; ++r) {
      Writing& block = blocks[open[r]];
      memories.push_back(&block.memory);
      const float* row = table_SW_.data_ptr<float>() + block.before * width_;
      const float* context = context_NW.data() + open[r] * width_;
      float* x = x_RW.data() + r * width_;
      for (int64_t i = 0; i < width_; ++i) x[i] = row[i] + context[i];
    }
    stack_->advance(x_RW.data(), {stream, symbols, marks}, memories);
    head_.rows(x_RW.data(), scores_RS.data(), static_cast<int64_t>(rows));
    for (size_t r = 0; r < rows; ++r) {
      Writing& block = blocks[open[r]];
      const std::span<float> scores(scores_RS.data() + r * kBlockSymbols, kBlockSymbols);
      const float* mask = mask_TS.data_ptr<float>() + block.reader.state() * kBlockSymbols;
      for (int32_t s = 0; s < kBlockSymbols; ++s) {
        if (mask[s] < 0) scores[s] = -std::numeric_limits<float>::infinity();
      }
      block.before = chooser.choose(scores);
      block.reader.read(static_cast<int32_t>(block.before));
    }
    std::erase_if(open, [&](int64_t n) { return blocks[n].reader.is_complete(); });
  }
  std::vector<std::vector<int32_t>> units;
  units.reserve(blocks.size());
  for (const Writing& block : blocks) units.push_back(block.reader.units());
  return units;
}

NextPosition SymbolBlockDecoder::choose(std::span<const float> h_D, const DecoderState& state, Chooser& chooser) {
  at::NoGradGuard no_grad;
  const at::Tensor z_1L = vector_of_row(h_D).contiguous();
  WrittenBlock block = written_block(write_blocks(z_1L.data_ptr<float>(), 1, state.recent, chooser).front());
  replaced_ += block.replaced;
  const bool ends = block.units.empty();
  return {.ids = std::move(block.units), .ends_document = ends};
}

at::Tensor SymbolBlockDecoder::blocks_of_vectors(const at::Tensor& z_NL, at::ScalarType /*type*/) {
  at::Tensor bytes_NT = at::zeros({z_NL.size(0), block_bytes_}, at::kByte);
  const at::Tensor z = z_NL.cpu().to(at::kFloat).contiguous();
  MostLikely chooser;
  constexpr int64_t kAtOnce = 256;
  for (int64_t begin = 0; begin < z.size(0); begin += kAtOnce) {
    const int64_t count = std::min(kAtOnce, z.size(0) - begin);
    auto* block = bytes_NT.data_ptr<uint8_t>() + begin * block_bytes_;
    for (const std::vector<int32_t>& units :
         write_blocks(z.data_ptr<float>() + begin * z.size(1), count, {}, chooser)) {
      uint8_t* to = block;
      for (const int32_t unit : units) {
        for (int shift = 24; shift >= 0; shift -= 8) *to++ = static_cast<uint8_t>(unit >> shift & 255);
      }
      block += block_bytes_;
    }
  }
  return bytes_NT;
}

}  // namespace verbatim
