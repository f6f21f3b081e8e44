#include "families/tokun/block_network.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>

#include "families/tokun/block_bytes.h"
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

// Argmax of each row, the first of equals, [R] int32.
at::Tensor most_likely_values(const at::Tensor& logits_RV) {
  constexpr int64_t kValuesPerTask = 16384;
  at::Tensor scores_RV = logits_RV.cpu().contiguous();
  if (scores_RV.scalar_type() == at::kDouble) scores_RV = scores_RV.to(at::kFloat);
  const int64_t width = scores_RV.size(1);
  at::Tensor best_R = at::empty({scores_RV.size(0)}, at::kInt);
  auto* best = best_R.data_ptr<int32_t>();
  const auto find = [&](const auto* scores) {
    at::parallel_for(
        0, scores_RV.size(0), std::max<int64_t>(kValuesPerTask / width, 1), [&](int64_t begin, int64_t end) {
          for (int64_t row = begin; row < end; ++row) {
            const auto* values = scores + row * width;
            nn::F32x16 most = nn::splat(static_cast<float>(values[0]));
            int64_t i = 0;
            for (; i + nn::kLanes <= width; i += nn::kLanes) {
              const nn::F32x16 some = nn::load(values + i, nn::AllLanes{});
              most = nn::maximum(some, most);
            }
            float maximum = nn::maximum_of_lanes(most);
            for (; i < width; ++i) maximum = std::max(maximum, static_cast<float>(values[i]));
            best[row] = static_cast<int32_t>(
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

// Logarithm of the probability of trusting the choice among known characters, and the bytes.
std::pair<at::Tensor, at::Tensor> logarithms_of_trust(const at::Tensor& trust_M) {
  return {at::log_sigmoid(trust_M), at::log_sigmoid(-trust_M)};
}

// Of the logits that stand at `index` in each row. [R], float32 or double
at::Tensor logarithms_at(const at::Tensor& logits_RV, const at::Tensor& index_R) {
  const bool in_double = logits_RV.scalar_type() == at::kDouble;
  return -(in_double ? nn::cross_entropy_plain(logits_RV, index_R) : nn::cross_entropy(logits_RV, index_R));
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
                                                        const TokunDecoderSettings& decoder, at::Generator& generator,
                                                        std::shared_ptr<BlockEncoderNetwork> encoder) {
  if (settings.network == "published") return std::make_shared<PublishedDecoder>(settings, generator);
  return std::make_shared<GatedDecoder>(settings, decoder, generator, std::move(encoder));
}

at::Tensor nats_of_blocks(const BlockLogits& said, const at::Tensor& bytes_NT, bool both_ways) {
  const int64_t blocks = bytes_NT.size(0);
  const at::Tensor bytes = bytes_NT.reshape({-1});
  const bool has_known = said.known != nullptr;
  at::Tensor spelled;  // [N], or [M] where characters are known besides
  for (const ByteLogits& head : said.bytes) {
    const at::Tensor nats_R = nats_of_rows(head, bytes.slice(0, head.first, bytes.numel(), head.stride).contiguous());
    const at::Tensor sums = nats_R.view({has_known ? bytes.numel() / 4 : blocks, -1}).sum(1);
    spelled = spelled.defined() ? spelled + sums : sums;
  }
  if (!has_known) return spelled;
  const at::Tensor row_M = said.known->rows(bytes.view({-1, 4})).to(said.known_MK.device());
  const at::Tensor whole_M = logarithms_at(said.known_MK, row_M);
  const auto [trust_M, distrust_M] = logarithms_of_trust(said.trust_M.to(whole_M.scalar_type()));
  const at::Tensor by_bytes_M = distrust_M - spelled;
  const at::Tensor is_known_M = row_M >= 0;
  at::Tensor nats_M = -at::where(is_known_M, at::logaddexp(trust_M + whole_M, by_bytes_M), by_bytes_M);
  if (both_ways) nats_M = nats_M - whole_M + spelled;
  const at::Tensor is_counted_M = bytes.slice(0, 0, bytes.numel(), 4) >= 0;
  return nats_M.masked_fill(is_counted_M.logical_not(), 0).view({blocks, -1}).sum(1);
}

// Where the likeliest known character is more likely than what its bytes say. bytes [N * T] uint8, the likeliest ones.
void write_trusted(const BlockLogits& said, const at::Tensor& bytes) {
  const at::Tensor best_M = most_likely_values(said.known_MK);
  const at::Tensor bytes_M4 = bytes.view({-1, 4}).to(at::kLong);
  const at::Tensor spelled_row_M = said.known->rows(bytes_M4);
  at::Tensor spelled_M, other_M;  // logarithms of what bytes say of the likeliest bytes
  for (const ByteLogits& head : said.bytes) {
    const at::Tensor best_R = bytes.slice(0, head.first, bytes.numel(), head.stride).to(at::kLong).contiguous();
    const at::Tensor sums = nats_of_rows(head, best_R.to(head.logits_RV.device())).view({bytes_M4.size(0), -1}).sum(1);
    spelled_M = spelled_M.defined() ? spelled_M - sums : -sums;
  }
  const at::Device device = said.known_MK.device();
  const auto [trust_M, distrust_M] = logarithms_of_trust(said.trust_M.to(at::kFloat));
  const at::Tensor whole_M = trust_M + logarithms_at(said.known_MK, best_M.to(at::kLong).to(device));
  const at::Tensor row_M = spelled_row_M.to(device);
  const at::Tensor by_bytes_M = distrust_M + spelled_M;
  // The bytes may spell a character that is known, too.
  const at::Tensor both_M =
      at::where(row_M >= 0, at::logaddexp(by_bytes_M, trust_M + logarithms_at(said.known_MK, row_M)), by_bytes_M);
  const at::Tensor is_whole_M = (whole_M > both_M).cpu().contiguous();
  const int32_t* best = best_M.data_ptr<int32_t>();
  const bool* is_whole = is_whole_M.data_ptr<bool>();
  auto* to = bytes.data_ptr<uint8_t>();
  for (int64_t place = 0; place < best_M.numel(); ++place, to += 4) {
    if (is_whole[place]) write_unit(to, said.known->unit(best[place]));
  }
}

at::Tensor most_likely_blocks(const BlockLogits& said, int64_t blocks, int64_t block_bytes) {
  at::Tensor bytes = at::zeros({blocks * block_bytes}, at::kByte);
  for (const ByteLogits& head : said.bytes) {
    at::Tensor best_R;
    if (head.bits) {
      const at::Tensor weights = at::pow(2, at::arange(kBits - 1, -1, -1, at::TensorOptions(at::kLong))).to(at::kLong);
      best_R = ((head.logits_RV.cpu() > 0).to(at::kLong) * weights).sum(1);
    } else {
      best_R = most_likely_values(head.logits_RV);
    }
    bytes.slice(0, head.first, bytes.numel(), head.stride).copy_(best_R);
  }
  if (said.known != nullptr) write_trusted(said, bytes);
  return bytes.view({blocks, block_bytes});
}

std::vector<uint8_t> choose_block(const BlockLogits& said, int64_t block_bytes, Chooser& chooser) {
  std::vector<at::Tensor> logits;
  logits.reserve(said.bytes.size());
  for (const ByteLogits& head : said.bytes) logits.push_back(head.logits_RV.to(at::kFloat).contiguous());
  const at::Tensor known_MK = said.known != nullptr ? said.known_MK.to(at::kFloat).cpu().contiguous() : at::Tensor();
  std::vector<uint8_t> bytes(static_cast<size_t>(block_bytes), 0);
  for (int64_t begin = 0; begin < block_bytes; begin += 4) {
    bool is_whole = false;
    if (said.known != nullptr) {
      std::array<float, 2> trust{0, said.trust_M[begin / 4].item<float>()};
      is_whole = chooser.choose(trust) == 1;
    }
    if (is_whole) {
      const float* row = known_MK.data_ptr<float>() + begin / 4 * known_MK.size(1);
      std::vector<float> scores(row, row + known_MK.size(1));
      write_unit(&bytes[begin], said.known->unit(chooser.choose(scores)));
    }
    for (int64_t place = begin; !is_whole && place < begin + 4; ++place) {
      for (size_t h = 0; h < said.bytes.size(); ++h) {
        const ByteLogits& head = said.bytes[h];
        const int64_t behind = place - head.first;
        if (behind < 0 || behind % head.stride != 0) continue;
        const float* row = logits[h].data_ptr<float>() + behind / head.stride * logits[h].size(1);
        bytes[place] = choose_byte(row, head, chooser);
      }
    }
    // The text of the block has ended.
    if (std::all_of(&bytes[begin], &bytes[begin] + 4, [](uint8_t byte) { return byte == 0; })) break;
  }
  return bytes;
}

}  // namespace verbatim
