#pragma once

#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "words/dictionary_search.h"
#include "words/trigram_hasher.h"

namespace verbatim::reference {

// A dictionary word by the letter of the T-Free specification, section 8.1.
struct PlainWord {
  std::set<int32_t> inner;
  std::set<int32_t> edge;
  size_t trigrams = 0;
};

inline PlainWord plain_word(const TrigramHasher& hasher, std::string_view word) {
  WordRows rows;
  hasher.hash(word, rows);
  PlainWord plain;
  plain.trigrams = rows.row_keys.size();
  const size_t m = hasher.options().ids_per_trigram;
  for (size_t i = 0; i < rows.ids.size(); ++i) (rows.edge[i / m] != 0 ? plain.edge : plain.inner).insert(rows.ids[i]);
  return plain;
}

// Its score by the letter of section 8.2 (variants 1 and 2) and 13 (variant 3), in double precision.
inline double plain_score(const PlainWord& word, const TrigramOptions& hashing, std::span<const float> logits,
                          const ScoreOptions& options) {
  const double g = options.edge_weight;
  const double ids = static_cast<double>(hashing.ids_per_trigram) * static_cast<double>(word.trigrams);
  const auto activation = [&](int32_t id) { return 1 / (1 + std::exp(-double{logits[static_cast<size_t>(id)]})); };
  std::set<int32_t> both = word.inner;
  both.insert(word.edge.begin(), word.edge.end());
  double sum = 0;
  switch (options.variant) {
    case ScoreVariant::kFirst:
      for (const int32_t id : both) sum += (word.edge.contains(id) ? g : 1) * activation(id);
      return sum / ids;
    case ScoreVariant::kCurrent: {
      double all = 0;
      for (size_t v = 0; v < logits.size(); ++v) all += activation(static_cast<int32_t>(v));
      for (const int32_t id : word.inner) sum += activation(id);
      for (const int32_t id : word.edge) sum += g * activation(id);
      const double others = hashing.vocabulary - ids;
      return sum / ids + (others > 0 ? (sum - all) / others : 0);
    }
    case ScoreVariant::kLogLikelihood:
      for (const int32_t id : both) {
        sum += (word.edge.contains(id) ? g : 1) *
               (double{logits[static_cast<size_t>(id)]} - std::log(double{options.positive_weight}));
      }
      return sum;
  }
  return sum;
}

}  // namespace verbatim::reference
