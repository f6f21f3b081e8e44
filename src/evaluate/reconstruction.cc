#include "evaluate/reconstruction.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "blocks/utf32.h"
#include "families/tokun/block_search.h"
#include "families/tokun/block_settling.h"
#include "families/tokun/tokun_decoder.h"
#include "families/tokun/tokun_encoder.h"
#include "text/utf8.h"

namespace verbatim {

namespace {

using Clock = std::chrono::steady_clock;

std::string_view bytes_view(const at::Tensor& bytes_NT) {
  return {reinterpret_cast<const char*>(bytes_NT.data_ptr<uint8_t>()), static_cast<size_t>(bytes_NT.numel())};
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Blocks that sigma is measured on.
constexpr size_t kSigmaBlocks = 4096;

// Some blocks of a text as a batch of their own, each predicting itself.
PositionBatch batch_of(const TokunSegmenter& segmenter, const Positions& positions, std::string_view text, size_t begin,
                       size_t end) {
  PositionBatch batch;
  append_positions(batch, segmenter, positions, text,
                   {.begin = begin, .score_begin = begin, .end = end, .start_row = false, .end_target = false});
  predict_itself(batch);
  return batch;
}

struct Autoencoder {
  LanguageModel& model;
  TokunEncoder& encoder;
  TokunDecoder& decoder;
  const TokunSegmenter& segmenter;
  at::ScalarType type;
};

Autoencoder as_autoencoder(LanguageModel& model, Precision precision) {
  auto* encoder = dynamic_cast<TokunEncoder*>(&model.encoder());
  if (encoder == nullptr || !model.is_autoencoder()) {
    throw_input(
        "suite reconstruction measures an autoencoder (family tokun, backbone.kind = \"none\"); this model of family "
        "{} "
        "predicts text: use suite likelihood",
        model.settings().family);
  }
  return {.model = model,
          .encoder = *encoder,
          .decoder = dynamic_cast<TokunDecoder&>(model.decoder()),
          .segmenter = dynamic_cast<const TokunSegmenter&>(encoder->segmenter()),
          .type = precision == Precision::kBfloat16 ? at::kBFloat16 : at::kFloat};
}

// Mean over the numbers of a vector of their deviation over blocks.
double measure_sigma(const Autoencoder& coder, const std::vector<std::string_view>& documents) {
  std::vector<at::Tensor> vectors;
  size_t blocks = 0;
  for (const std::string_view document : documents) {
    if (blocks >= kSigmaBlocks) break;
    const std::string_view text = document.substr(0, kSigmaBlocks * coder.decoder.block_bytes());
    const Positions positions = coder.segmenter.segment(text, DocumentPart::kStart);
    const size_t count = std::min(positions.size(), kSigmaBlocks - blocks);
    if (count == 0) continue;
    vectors.push_back(
        coder.encoder.encode(batch_of(coder.segmenter, positions, text, 0, count), coder.type).vectors_ND);
    blocks += count;
  }
  if (blocks < 2) return 0;
  return at::cat(vectors).to(at::kFloat).std(0, /*unbiased=*/false).mean().item<double>();
}

Blocks blocks_of(const PositionBatch& batch, uint32_t block_bytes) {
  Blocks blocks;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const std::u32string units(batch.ids.begin() + batch.id_offsets[row],
                               batch.ids.begin() + batch.id_offsets[row + 1]);
    append_utf32be(units, blocks.bytes);
    blocks.lengths.push_back(static_cast<uint32_t>(4 * units.size()));
    blocks.bytes.resize(static_cast<size_t>(row + 1) * block_bytes, 0);
    blocks.ends.push_back(batch.ends[row]);
  }
  return blocks;
}

void count_scripts(const Blocks& blocks, std::string_view predicted, uint32_t block_bytes,
                   ReconstructionReport& report) {
  for (size_t block = 0; block < blocks.size(); ++block) {
    for (size_t byte = block * block_bytes; byte < block * block_bytes + blocks.lengths[block]; byte += 4) {
      const char32_t unit = read_unit(blocks.bytes, byte);
      Share& share = report.characters[static_cast<size_t>(unit < kEscape ? script_of(unit) : Script::kOther)];
      ++share.all;
      share.right += read_unit(predicted, byte) == unit ? 1 : 0;
    }
  }
}

void keep_wrong(const Blocks& blocks, std::string_view predicted, uint32_t block_bytes, size_t most,
                ReconstructionReport& report) {
  for (size_t block = 0; block < blocks.size() && report.wrong.size() < most; ++block) {
    const size_t begin = block * block_bytes, length = blocks.lengths[block];
    const std::string_view target = std::string_view(blocks.bytes).substr(begin, length);
    const std::string_view got = predicted.substr(begin, length);
    if (target == got) continue;
    ReconstructionReport::Example example;
    append_text(target, Escapes::kRestore, example.text);
    append_text(got, Escapes::kReplace, example.came_back);
    report.wrong.push_back(std::move(example));
  }
}

// Decodes again with the encoder's help and counts that beside.
void check(const Autoencoder& coder, const at::Tensor& z_NL, const at::Tensor& bytes_NT, const Blocks& target,
           const std::atomic<bool>* interrupted, ReconstructionReport& report) {
  auto* decoder = dynamic_cast<WholeBlockDecoder*>(&coder.decoder);
  if (decoder == nullptr) return;
  if (!report.checked.has_value()) report.checked.emplace();
  CheckedReconstruction& counts = *report.checked;
  const auto checking = Clock::now();
  const auto goes_on = [&] {
    if (interrupted != nullptr && interrupted->load()) throw EvaluationStopped();
    if (counts.searched == CheckedReconstruction::kMostSearched) return false;
    ++counts.searched;
    return true;
  };
  const CheckedBlocks blocks =
      check_blocks(coder.encoder.network(), decoder->network(), z_NL, bytes_NT, coder.type, goes_on);
  counts.seconds += seconds_since(checking);
  const auto block_bytes = static_cast<size_t>(blocks.bytes_NT.size(1));
  const std::string_view found = bytes_view(blocks.bytes_NT);
  counts.all += measure_reconstruction(target, found);
  for (size_t block = 0; block < target.size(); ++block) {
    const bool is_right = found.substr(block * block_bytes, block_bytes) ==
                          std::string_view(target.bytes).substr(block * block_bytes, block_bytes);
    ++counts.confirmed.all;
    if (!blocks.confirmed[block]) continue;
    ++counts.confirmed.right;
    ++counts.confirmed_right.all;
    counts.confirmed_right.right += is_right ? 1 : 0;
  }
}

// The same for vectors with noise, which are those of no block.
void settle(const Autoencoder& coder, const at::Tensor& z_NL, const at::Tensor& bytes_NT, const Blocks& target,
            ReconstructionReport& report) {
  auto* decoder = dynamic_cast<WholeBlockDecoder*>(&coder.decoder);
  if (decoder == nullptr) return;
  if (report.settled.has_value() && report.settled->block.all >= ReconstructionReport::kMostSettled) return;
  at::Tensor settled_NT = bytes_NT;
  const auto go_on = [&](std::optional<Reconstruction>& counts, bool consecutive) {
    settled_NT = settle_blocks(coder.encoder.network(), decoder->network(), z_NL, settled_NT, coder.type,
                               {.consecutive = consecutive});
    if (!counts.has_value()) counts.emplace();
    *counts += measure_reconstruction(target, bytes_view(settled_NT));
  };
  go_on(report.settled, /*consecutive=*/false);
  if (decoder->network().reach_beside() > 0) go_on(report.settled_in_text, /*consecutive=*/true);
}

}  // namespace

ReconstructionReport measure_reconstruction(LanguageModel& model, const std::vector<std::string_view>& documents,
                                            const ReconstructionSettings& settings) {
  const Autoencoder coder = as_autoencoder(model, settings.precision);
  at::NoGradGuard no_grad;
  const bool was_training = model.is_training();
  model.eval();
  ReconstructionReport report;
  report.sigma = measure_sigma(coder, documents);
  at::Generator generator = at::detail::createCPUGenerator(settings.seed);
  const auto block_bytes = static_cast<uint32_t>(coder.decoder.block_bytes());
  const auto rows_at_once = static_cast<size_t>(std::max<int64_t>(settings.batch_bytes / block_bytes, 1));
  // Long documents in stretches, so that memory stays bounded.
  constexpr size_t kStretch = size_t{16} << 20;
  for (const std::string_view document : documents) {
    for (size_t at = 0; at < document.size(); at += kStretch) {
      std::string text = at == 0 ? std::string(settings.shift, 'x') : std::string();
      text += document.substr(at, kStretch);
      if (settings.max_bytes > 0) {
        const auto left =
            static_cast<uint64_t>(settings.max_bytes) - std::min<uint64_t>(settings.max_bytes, report.bytes);
        if (text.size() > left) text.resize(left);
      }
      const Positions positions = coder.segmenter.segment(text, DocumentPart::kStart);
      for (size_t begin = 0; begin < positions.size(); begin += rows_at_once) {
        if (settings.interrupted != nullptr && settings.interrupted->load()) throw EvaluationStopped();
        const size_t end = std::min(begin + rows_at_once, positions.size());
        const PositionBatch batch = batch_of(coder.segmenter, positions, text, begin, end);
        const auto encoding = Clock::now();
        at::Tensor z_NL = coder.encoder.encode(batch, coder.type).vectors_ND;
        report.encode_seconds += seconds_since(encoding);
        if (settings.noise > 0) {
          const at::Tensor normal = at::randn(z_NL.sizes(), generator, at::TensorOptions(at::kFloat));
          z_NL = z_NL + settings.noise * report.sigma * normal.to(z_NL.device());
        }
        report.nats += coder.decoder.nats(z_NL.to(coder.type), batch).sum().item<double>();
        const auto decoding = Clock::now();
        const at::Tensor bytes_NT = coder.decoder.reconstruct(z_NL, coder.type).contiguous();
        report.decode_seconds += seconds_since(decoding);
        const std::string_view predicted = bytes_view(bytes_NT);
        const Blocks target = blocks_of(batch, block_bytes);
        if (settings.check && settings.noise == 0) {
          check(coder, z_NL, bytes_NT, target, settings.interrupted, report);
        } else if (settings.check) {
          settle(coder, z_NL, bytes_NT, target, report);
        }
        report.all += measure_reconstruction(target, predicted);
        report.padded_byte += group_accuracy(target.bytes, predicted, 1);
        report.padded_character += group_accuracy(target.bytes, predicted, 4);
        report.padded_block += group_accuracy(target.bytes, predicted, block_bytes);
        count_scripts(target, predicted, block_bytes, report);
        keep_wrong(target, predicted, block_bytes, settings.most_examples, report);
        report.blocks += target.size();
        report.bytes += positions.ends[end - 1] - (begin == 0 ? 0 : positions.ends[begin - 1]);
      }
    }
  }
  if (was_training) model.train();
  if (report.blocks == 0) throw_input("suite reconstruction needs text; the documents hold no byte");
  return report;
}

ReconstructionReport measure_reconstruction(LanguageModel& model, const DocumentSource& documents,
                                            const ReconstructionSettings& settings) {
  std::vector<std::string_view> views;
  uint64_t bytes = 0;
  for (uint64_t d = 0; d < documents.document_count(); ++d) {
    if (settings.max_bytes > 0 && bytes >= static_cast<uint64_t>(settings.max_bytes)) break;
    views.push_back(documents.document(d));
    bytes += views.back().size();
  }
  return measure_reconstruction(model, views, settings);
}

double blocks_kept_after_insertion(LanguageModel& model, std::string_view text, int64_t trials, uint64_t seed) {
  const auto* segmenter = dynamic_cast<const TokunSegmenter*>(&model.segmenter());
  if (segmenter == nullptr) throw_input("this model of family {} reads no blocks", model.settings().family);
  std::vector<std::vector<int32_t>> before;
  const Positions positions = segmenter->segment(text, DocumentPart::kStart);
  if (positions.size() == 0) throw_input("a text without a block has none to keep");
  for (size_t i = 0; i < positions.size(); ++i) before.push_back(positions.ids_of(i));
  Random random(seed);
  double kept = 0;
  for (int64_t trial = 0; trial < trials; ++trial) {
    std::string longer(text);
    longer.insert(utf8_boundary_before(text, random.below(text.size() + 1)), 1, 'e');
    const Positions moved = segmenter->segment(longer, DocumentPart::kStart);
    std::map<std::vector<int32_t>, int64_t> there;
    for (size_t i = 0; i < moved.size(); ++i) ++there[moved.ids_of(i)];
    for (const std::vector<int32_t>& block : before) {
      const auto place = there.find(block);
      if (place == there.end() || place->second == 0) continue;
      --place->second;
      ++kept;
    }
  }
  return kept / static_cast<double>(trials) / static_cast<double>(before.size());
}

BlockVectors block_vectors(LanguageModel& model, const std::vector<std::string_view>& texts, size_t most) {
  auto* encoder = dynamic_cast<TokunEncoder*>(&model.encoder());
  if (encoder == nullptr) {
    throw_input("this model of family {} reads no blocks of characters; embeddings of blocks come from family tokun",
                model.settings().family);
  }
  const auto& segmenter = dynamic_cast<const TokunSegmenter&>(encoder->segmenter());
  at::NoGradGuard no_grad;
  const bool was_training = model.is_training();
  model.eval();
  BlockVectors result{.texts = {}, .vectors = {}, .width = encoder->width()};
  for (const std::string_view text : texts) {
    const Positions positions = segmenter.segment(text, DocumentPart::kStart);
    const size_t count = std::min(positions.size(), most - result.texts.size());
    if (count == 0) continue;
    const PositionBatch batch = batch_of(segmenter, positions, text, 0, count);
    const at::Tensor vectors = encoder->encode(batch, at::kFloat).vectors_ND.cpu().contiguous();
    result.vectors.insert(result.vectors.end(), vectors.data_ptr<float>(), vectors.data_ptr<float>() + vectors.numel());
    for (size_t i = 0; i < count; ++i) {
      result.texts.emplace_back(text.substr(positions.begin(i), positions.ends[i] - positions.begin(i)));
    }
  }
  if (was_training) model.train();
  return result;
}

}  // namespace verbatim
