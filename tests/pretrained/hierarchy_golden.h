#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "model/softmax_decoder.h"
#include "model/tensor_io.h"
#include "nn/torch.h"
#include "pretrained/hierarchy_checkpoint.h"

// Byte models against the results of their reference programs, see golden/hier/README.md: what the tests share.
namespace verbatim::golden {

namespace fs = std::filesystem;

inline fs::path golden_folder() { return fs::path(VERBATIM_SHARED) / "golden/hier"; }

inline constexpr double kTolerance = 1e-4;  // absolute, and relative to the expected value

class Golden {
 public:
  explicit Golden(const fs::path& folder)
      : folder_(folder), expected_(SafetensorsReader::open(folder / "expected.safetensors")) {}

  [[nodiscard]] at::Tensor operator[](const std::string& name) const {
    return tensor_from_view(expected_.tensor(name), name);
  }
  [[nodiscard]] bool has(const std::string& name) const { return expected_.contains(name); }
  [[nodiscard]] const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
  SafetensorsReader expected_;
};

inline void expect_close(const at::Tensor& ours, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(ours.numel(), expected.numel()) << what;
  const at::Tensor a = ours.reshape({-1}).to(at::kDouble), b = expected.reshape({-1}).to(at::kDouble);
  const at::Tensor excess = (a - b).abs() - kTolerance * (1 + b.abs());
  EXPECT_LE(excess.max().item<double>(), 0) << what << ": largest difference " << (a - b).abs().max().item<double>();
}

// Rows of ids as they are, without a start symbol of ours.
inline PositionBatch batch_of(const std::vector<std::vector<int64_t>>& rows) {
  PositionBatch batch;
  for (const std::vector<int64_t>& ids : rows) {
    for (size_t i = 0; i < ids.size(); ++i) {
      batch.ids.push_back(static_cast<int32_t>(ids[i]));
      batch.symbols.push_back(static_cast<uint16_t>(ids[i]));
      batch.ends.push_back(static_cast<uint32_t>(i + 1));
      batch.targets.push_back(-1);
    }
    batch.offsets.push_back(static_cast<int64_t>(batch.ids.size()));
  }
  return batch;
}

inline std::vector<std::vector<int64_t>> rows_of(const at::Tensor& ids_BL, const std::vector<int64_t>& lengths = {}) {
  std::vector<std::vector<int64_t>> rows;
  for (int64_t b = 0; b < ids_BL.size(0); ++b) {
    const int64_t length = lengths.empty() ? ids_BL.size(1) : lengths[b];
    const int64_t* ids = ids_BL.data_ptr<int64_t>() + b * ids_BL.size(1);
    rows.emplace_back(ids, ids + length);
  }
  return rows;
}

inline at::Tensor logits_of(LanguageModel& model, const PositionBatch& batch, ForwardNotes* notes = nullptr) {
  torch::NoGradGuard no_grad;
  return dynamic_cast<SoftmaxDecoder&>(model.decoder()).logits(model.forward(batch, {.notes = notes}));
}

// The same, row after row: the first `prefill` rows at once, then one by one.
inline at::Tensor stepped_logits(LanguageModel& model, const std::vector<int64_t>& ids, size_t prefill) {
  const PositionBatch batch = batch_of({ids});
  BackboneState state = model.backbone().start();
  BackboneState* pointer = &state;
  EncoderState encoder_state;
  EncoderState* encoder_pointer = &encoder_state;
  const int64_t width = model.backbone().width();
  const std::vector<uint8_t> marks(ids.size());
  std::vector<at::Tensor> logits;
  for (size_t first = 0; first < ids.size();) {
    const size_t count = first == 0 ? prefill : 1;
    const PositionBatch part = batch_of({std::vector<int64_t>(
        ids.begin() + static_cast<std::ptrdiff_t>(first), ids.begin() + static_cast<std::ptrdiff_t>(first + count))});
    const std::vector<int64_t> stream(count, 0);
    std::vector<float> x(count * static_cast<size_t>(width));
    model.encoder().encode_rows(part, stream, {&encoder_pointer, 1}, x.data());
    model.backbone().advance(x.data(), {stream, part.symbols, std::span(marks).first(count)}, {&pointer, 1});
    for (size_t r = 0; r < count; ++r) {
      const std::vector<float> scores =
          model.decoder().scores(std::span(x).subspan(r * static_cast<size_t>(width), static_cast<size_t>(width)));
      logits.push_back(at::tensor(scores));
    }
    first += count;
  }
  return at::stack(logits);
}

}  // namespace verbatim::golden
