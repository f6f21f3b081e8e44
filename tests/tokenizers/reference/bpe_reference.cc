#include "tokenizers/reference/bpe_reference.h"

#include <algorithm>
#include <set>

namespace verbatim::reference {
namespace {

using Pair = std::pair<std::string, std::string>;

std::vector<std::string> bytes_of(const std::string& word) {
  std::vector<std::string> symbols;
  for (const char byte : word) symbols.emplace_back(1, byte);
  return symbols;
}

}  // namespace

std::vector<std::string> merge_by_definition(std::vector<std::string> symbols, const std::vector<Pair>& merges) {
  std::map<Pair, size_t> ranks;
  for (size_t i = 0; i < merges.size(); ++i) ranks[merges[i]] = i;
  for (;;) {
    size_t best = symbols.size();
    size_t best_rank = merges.size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks.find({symbols[i], symbols[i + 1]});
      if (found != ranks.end() && found->second < best_rank) {
        best = i;
        best_rank = found->second;
      }
    }
    if (best == symbols.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::vector<Pair> learn_by_definition(const std::map<std::string, int64_t>& word_counts, size_t num_merges,
                                      int64_t min_count, size_t max_token_bytes) {
  std::vector<std::pair<std::vector<std::string>, int64_t>> words;
  for (const auto& [word, count] : word_counts) words.emplace_back(bytes_of(word), count);
  std::set<std::string> tokens;
  std::vector<Pair> merges;
  while (merges.size() < num_merges) {
    std::map<Pair, int64_t> counts;
    for (const auto& [symbols, count] : words) {
      for (size_t i = 0; i + 1 < symbols.size(); ++i) counts[{symbols[i], symbols[i + 1]}] += count;
    }
    const Pair* best = nullptr;
    int64_t best_count = 0;
    for (const auto& [pair, count] : counts) {
      const std::string joined = pair.first + pair.second;
      if (count < min_count || joined.size() > max_token_bytes || tokens.contains(joined)) continue;
      if (count > best_count) {
        best = &pair;
        best_count = count;
      }
    }
    if (best == nullptr) break;
    merges.push_back(*best);
    tokens.insert(best->first + best->second);
    for (auto& [symbols, count] : words) {
      std::vector<std::string> joined;
      for (size_t i = 0; i < symbols.size(); ++i) {
        if (i + 1 < symbols.size() && symbols[i] == merges.back().first && symbols[i + 1] == merges.back().second) {
          joined.push_back(symbols[i] + symbols[i + 1]);
          ++i;
        } else {
          joined.push_back(symbols[i]);
        }
      }
      symbols = joined;
    }
  }
  return merges;
}

}  // namespace verbatim::reference
