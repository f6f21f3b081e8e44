#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace verbatim::reference {

// Byte-pair encoding by its definition, on strings: as long as a neighbouring pair is in `merges`, join the pair that
// comes first in the list (leftmost first). Quadratic and obviously right.
[[nodiscard]] std::vector<std::string> merge_by_definition(
    std::vector<std::string> symbols, const std::vector<std::pair<std::string, std::string>>& merges);

// Byte-pair learning by its definition: counts all pairs of all words again for every merge. Takes the most frequent
// pair, of equals the smallest; a pair that spells a token already there is passed over.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> learn_by_definition(
    const std::map<std::string, int64_t>& word_counts, size_t num_merges, int64_t min_count, size_t max_token_bytes);

}  // namespace verbatim::reference
