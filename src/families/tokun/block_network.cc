#include "families/tokun/block_network.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>

#include "families/tokun/gated_network.h"
#include "families/tokun/published_network.h"
#include "nn/kernels/dense.h"
#include "nn/kernels/lanes.h"

namespace verbatim {

namespace {

constexpr int64_t kBits = 8;

at::Tensor bits_of(const at::Tensor& bytes_R) {
  const at::Tensor shifts = at::arange(kBits - 1, -1, -1, bytes_R.options());
  return bytes_R.clamp_min(0).unsqueeze(1).bitwise_right_shift(shifts).bitwise_and(1);
}

at::Tensor nats_of_rows(const ByteLogits& head, const at::Tensor& bytes_R) {
  const bool in_double = head.logits_RV.scalar_type() == at::kDouble;
  if (!head.bits) {
    return in_double ? nn::cross_entropy_plain(head.logits_RV, bytes_R) : nn::cross_entropy(head.logits_RV, bytes_R);
  }
  const at::Tensor logits_R8 = in_double ? head.logits_RV : head.logits_RV.to(at::kFloat);
  const at::Tensor nats_R8 = at::binary_cross_entropy_with_logits(
      logits_R8, bits_of(bytes_R).to(logits_R8.scalar_type()), {}, {}, at::Reduction::None);
  return nats_R8.sum(1).masked_fill(bytes_R < 0, 0);
}

// Argmax of each row, the first of equals.
at::Tensor most_likely_values(const at::Tensor& scores_RV) {
  constexpr int64_t kRowsPerTask = 64;
  const int64_t width = scores_RV.size(1);
  at::Tensor best_R = at::empty({scores_RV.size(0)}, at::kByte);
  auto* best = best_R.data_ptr<uint8_t>();
  const auto find = [&](const auto* scores) {
    at::parallel_for(0, scores_RV.size(0), kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const auto* values = scores + row * width;
        nn::F32x16 most = nn::splat(static_cast<float>(values[0]));
        int64_t i = 0;
        for (; i + nn::kLanes <= width; i += nn::kLanes) {
          const nn::F32x16 some = nn::load(values + i, nn::AllLanes{});
          most = some > most ? some : most;
        }
        float maximum = nn::maximum_of_lanes(most);
        for (; i < width; ++i) maximum = std::max(maximum, static_cast<float>(values[i]));
        best[row] = static_cast<uint8_t>(
            std::find_if(values, values + width, [&](auto value) { return static_cast<float>(value) == maximum; }) -
            values);
      }
    });
  };
  if (scores_RV.scalar_type() == at::kBFloat16) {
    find(scores_RV.data_ptr<c10::BFloat16>());
  } else {
    find(scores_RV.data_ptr<float>());
  }
  return best_R;
}

uint8_t choose_byte(const float* logits, const ByteLogits& head, Chooser& chooser) {
  if (!head.bits) {
    std::vector<float> scores(logits, logits + head.logits_RV.size(1));
    return static_cast<uint8_t>(chooser.choose(scores));
  }
  uint8_t byte = 0;
  for (int64_t bit = 0; bit < kBits; ++bit) {
    std::array<float, 2> scores{0, logits[bit]};
    byte = static_cast<uint8_t>(byte << 1 | chooser.choose(scores));
  }
  return byte;
}

}  // namespace

at::Tensor BlockDecoderNetwork::most_likely(const at::Tensor& z_NL, at::ScalarType type, int64_t block_bytes) {
  return most_likely_blocks(forward(z_NL, type), z_NL.size(0), block_bytes);
}

std::shared_ptr<BlockEncoderNetwork> make_block_encoder(const TokunEncoderSettings& settings,
                                                        at::Generator& generator) {
  if (settings.network == "published") return std::make_shared<PublishedEncoder>(settings, generator);
  return std::make_shared<GatedEncoder>(settings, generator);
}

std::shared_ptr<BlockDecoderNetwork> make_block_decoder(const TokunEncoderSettings& settings,
                                                        const TokunDecoderSettings& decoder, at::Generator& generator) {
  if (settings.network == "published") return std::make_shared<PublishedDecoder>(settings, generator);
  return std::make_shared<GatedDecoder>(settings, decoder, generator);
}

at::Tensor nats_of_blocks(const std::vector<ByteLogits>& heads, const at::Tensor& bytes_NT) {
  const int64_t blocks = bytes_NT.size(0);
  const at::Tensor bytes = bytes_NT.reshape({-1});
  at::Tensor nats_N;
  for (const ByteLogits& head : heads) {
    const at::Tensor nats_R = nats_of_rows(head, bytes.slice(0, head.first, bytes.numel(), head.stride).contiguous());
    const at::Tensor sums_N = nats_R.view({blocks, -1}).sum(1);
    nats_N = nats_N.defined() ? nats_N + sums_N : sums_N;
  }
  return nats_N;
}

at::Tensor most_likely_blocks(const std::vector<ByteLogits>& heads, int64_t blocks, int64_t block_bytes) {
  at::Tensor bytes = at::zeros({blocks * block_bytes}, at::kByte);
  for (const ByteLogits& head : heads) {
    at::Tensor best_R;
    if (head.bits) {
      const at::Tensor weights = at::pow(2, at::arange(kBits - 1, -1, -1, at::TensorOptions(at::kLong))).to(at::kLong);
      best_R = ((head.logits_RV.cpu() > 0).to(at::kLong) * weights).sum(1);
    } else {
      const at::Tensor scores_RV = head.logits_RV.cpu().contiguous();
      best_R = most_likely_values(scores_RV.scalar_type() == at::kDouble ? scores_RV.to(at::kFloat) : scores_RV);
    }
    bytes.slice(0, head.first, bytes.numel(), head.stride).copy_(best_R);
  }
  return bytes.view({blocks, block_bytes});
}

std::vector<uint8_t> choose_block(const std::vector<ByteLogits>& heads, int64_t block_bytes, Chooser& chooser) {
  std::vector<at::Tensor> logits;
  logits.reserve(heads.size());
  for (const ByteLogits& head : heads) logits.push_back(head.logits_RV.to(at::kFloat).contiguous());
  std::vector<uint8_t> bytes(static_cast<size_t>(block_bytes), 0);
  for (int64_t place = 0; place < block_bytes; ++place) {
    for (size_t h = 0; h < heads.size(); ++h) {
      const int64_t behind = place - heads[h].first;
      if (behind < 0 || behind % heads[h].stride != 0) continue;
      const float* row = logits[h].data_ptr<float>() + behind / heads[h].stride * logits[h].size(1);
      bytes[place] = choose_byte(row, heads[h], chooser);
    }
    // The text of the block has ended.
    if (place % 4 == 3 && bytes[place] == 0 && bytes[place - 1] == 0 && bytes[place - 2] == 0 && bytes[place - 3] == 0)
      break;
  }
  return bytes;
}

}  // namespace verbatim
