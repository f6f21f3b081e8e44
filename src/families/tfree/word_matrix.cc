#include "families/tfree/word_matrix.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "nn/kernels/dense.h"
#include "nn/torch.h"

namespace verbatim {

WordMatrix::WordMatrix(const Dictionary& dictionary) {
  const auto words = static_cast<int64_t>(dictionary.size());
  std::vector<int64_t> row_ids, row_offsets = {0}, word_rows, word_offsets = {0}, repeated_ids, repeated_offsets = {0};
  std::unordered_map<uint64_t, int64_t> row_of_key;
  id_counts_K_ = at::empty({words}, at::kFloat);
  log_prior_K_ = at::empty({words}, at::kFloat);
  double total = 0;
  for (const uint64_t count : dictionary.counts()) total += static_cast<double>(count) + 0.5;
  log_prior_of_one_ = static_cast<float>(std::log(1.5 / std::max(total, 1.5)));
  WordRows rows;
  std::vector<int32_t> sorted;
  for (int64_t w = 0; w < words; ++w) {
    const auto index = static_cast<size_t>(w);
    dictionary.hasher().hash(dictionary.word(index), rows);
    const size_t per_row = rows.ids.size() / rows.row_keys.size();
    for (size_t r = 0; r < rows.row_keys.size(); ++r) {
      const auto [place, is_new] = row_of_key.try_emplace(rows.row_keys[r], static_cast<int64_t>(row_of_key.size()));
      if (is_new) {
        row_ids.insert(row_ids.end(), rows.ids.begin() + static_cast<std::ptrdiff_t>(r * per_row),
                       rows.ids.begin() + static_cast<std::ptrdiff_t>((r + 1) * per_row));
        row_offsets.push_back(static_cast<int64_t>(row_ids.size()));
      }
      word_rows.push_back(place->second);
    }
    word_offsets.push_back(static_cast<int64_t>(word_rows.size()));
    sorted.assign(rows.ids.begin(), rows.ids.end());
    std::sort(sorted.begin(), sorted.end());
    for (size_t i = 1; i < sorted.size(); ++i) {
      if (sorted[i] == sorted[i - 1]) repeated_ids.push_back(sorted[i]);
    }
    const auto repeated = static_cast<int64_t>(repeated_ids.size()) - repeated_offsets.back();
    repeated_offsets.push_back(static_cast<int64_t>(repeated_ids.size()));
    id_counts_K_.data_ptr<float>()[w] = static_cast<float>(static_cast<int64_t>(sorted.size()) - repeated);
    log_prior_K_.data_ptr<float>()[w] =
        static_cast<float>(std::log((static_cast<double>(dictionary.count(index)) + 0.5) / total));
  }
  const auto tensor = [](const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); };
  row_ids_ = tensor(row_ids);
  row_offsets_ = tensor(row_offsets);
  word_rows_ = tensor(word_rows);
  word_offsets_ = tensor(word_offsets);
  repeated_ids_ = tensor(repeated_ids);
  repeated_offsets_ = tensor(repeated_offsets);
}

at::Tensor WordMatrix::of(const at::Tensor& head_VD) const {
  const at::Device device = head_VD.device();
  const at::Tensor rows_RD = nn::gather_bags(head_VD, row_ids_.to(device), row_offsets_);
  at::Tensor words_KD = nn::gather_bags(rows_RD, word_rows_.to(device), word_offsets_);
  if (repeated_ids_.numel() == 0) return words_KD;
  return words_KD - nn::gather_bags(head_VD, repeated_ids_.to(device), repeated_offsets_);
}

}  // namespace verbatim
