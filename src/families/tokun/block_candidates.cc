#include "families/tokun/block_candidates.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>

#include "blocks/utf32.h"
#include "families/tokun/block_bytes.h"

namespace verbatim {

namespace {

// Values of each of the four bytes of a character that are tried.
constexpr std::array<size_t, 4> kValues = {1, 2, 6, 10};
constexpr int64_t kByteValues = 256;

// What a decoder says of single bytes: [N, T, 256] float32, the logarithms of probabilities, as far as they differ.
at::Tensor logarithms_of_bytes(const std::vector<ByteLogits>& heads, int64_t blocks, int64_t block_bytes) {
  at::Tensor result = at::full({blocks * block_bytes, kByteValues}, -1e9, at::kFloat);
  result.select(1, 0).zero_();  // bytes that nothing is said of are 0
  for (const ByteLogits& head : heads) {
    const at::Tensor logits_RV = head.logits_RV.to(at::kFloat).cpu();
    at::Tensor said_R256 = at::full({logits_RV.size(0), kByteValues}, -1e9, at::kFloat);
    if (head.bits) {
      const at::Tensor values = at::arange(kByteValues, at::kLong).unsqueeze(1);
      const at::Tensor bits = values.bitwise_right_shift(at::arange(7, -1, -1, at::kLong)).bitwise_and(1);
      said_R256 = at::mm(logits_RV, bits.to(at::kFloat).t());
    } else {
      said_R256.narrow(1, 0, logits_RV.size(1)).copy_(at::log_softmax(logits_RV, 1));
    }
    result.slice(0, head.first, result.size(0), head.stride).copy_(said_R256);
  }
  return result.view({blocks, block_bytes, kByteValues});
}

// The values with the highest scores, the highest first.
std::vector<int32_t> highest(const float* scores, size_t count) {
  std::vector<int32_t> values(kByteValues);
  std::iota(values.begin(), values.end(), 0);
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(values.begin(), middle, values.end(),
                    [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  values.resize(count);
  return values;
}

// Characters that are known as wholes, the likeliest. scores [K]: logarithms, `trust` that of the way.
std::vector<Candidate> known_candidates(const KnownCharacters& known, const float* scores, float trust) {
  constexpr int64_t kMost = 32;
  std::vector<int32_t> order(static_cast<size_t>(known.count()));
  std::iota(order.begin(), order.end(), 0);
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(std::min(kMost, known.count()));
  std::partial_sort(order.begin(), middle, order.end(),
                    [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  std::vector<Candidate> candidates;
  for (auto row = order.begin(); row != middle; ++row) {
    candidates.push_back({trust + scores[*row], known.unit(*row)});
  }
  return candidates;
}

// Characters that a place may hold, the likeliest first: `known` ones, and what four bytes may be, whose scores [4,
// 256] are above `another`.
std::vector<Candidate> candidates_of(const float* scores, float another, const std::vector<Candidate>& known) {
  std::vector<Candidate> all = {{.score = another, .unit = 0}};
  for (size_t byte = 0; byte < kValues.size(); ++byte) {
    const float* of_byte = scores + byte * kByteValues;
    std::vector<Candidate> longer;
    for (const int32_t value : highest(of_byte, kValues[byte])) {
      for (const Candidate& start : all) longer.push_back({start.score + of_byte[value], start.unit << 8 | value});
    }
    all = std::move(longer);
  }
  std::erase_if(all, [&](const Candidate& candidate) {
    const auto unit = static_cast<char32_t>(candidate.unit);
    if (unit >= kEscape && !is_escape(unit)) return true;
    return std::any_of(known.begin(), known.end(), [&](const Candidate& one) { return one.unit == candidate.unit; });
  });
  all.insert(all.end(), known.begin(), known.end());
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  return all;
}

}  // namespace

Units units_of_blocks(const at::Tensor& bytes_NT) {
  constexpr int32_t kReplacement = 0xFFFD;
  const std::string_view stream(reinterpret_cast<const char*>(bytes_NT.data_ptr<uint8_t>()),
                                static_cast<size_t>(bytes_NT.numel()));
  Units units;
  for (size_t at = 0; at < stream.size(); at += 4) {
    const char32_t unit = read_unit(stream, at);
    units.push_back(unit < kEscape || is_escape(unit) ? static_cast<int32_t>(unit) : kReplacement);
  }
  return units;
}

PositionBatch batch_of_units(Units units, size_t characters) {
  PositionBatch batch;
  const size_t rows = units.size() / characters;
  batch.ids = std::move(units);
  for (size_t row = 0; row <= rows; ++row) batch.id_offsets.push_back(static_cast<int64_t>(row * characters));
  batch.offsets.push_back(static_cast<int64_t>(rows));
  return batch;
}

void write_units(const Units& units, uint8_t* to) {
  for (const int32_t unit : units) to = write_unit(to, unit);
}

std::vector<std::vector<Candidate>> candidates_of_places(const BlockLogits& logits, int64_t blocks,
                                                         int64_t block_bytes) {
  const at::Tensor said = logarithms_of_bytes(logits.bytes, blocks, block_bytes);
  at::Tensor known_MK, trust_M, distrust_M;
  if (logits.known != nullptr) {
    known_MK = at::log_softmax(logits.known_MK.to(at::kFloat).cpu(), 1).contiguous();
    trust_M = at::log_sigmoid(logits.trust_M.to(at::kFloat).cpu()).contiguous();
    distrust_M = at::log_sigmoid(-logits.trust_M.to(at::kFloat).cpu()).contiguous();
  }
  std::vector<std::vector<Candidate>> candidates;
  for (int64_t place = 0; place < blocks * block_bytes / 4; ++place) {
    const float* bytes = said.data_ptr<float>() + place * 4 * kByteValues;
    if (logits.known == nullptr) {
      candidates.push_back(candidates_of(bytes, 0, {}));
      continue;
    }
    const float* known = known_MK.data_ptr<float>() + place * known_MK.size(1);
    candidates.push_back(candidates_of(bytes, distrust_M.data_ptr<float>()[place],
                                       known_candidates(*logits.known, known, trust_M.data_ptr<float>()[place])));
  }
  return candidates;
}

}  // namespace verbatim
