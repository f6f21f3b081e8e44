#include "words/dictionary.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mix.h"
#include "base/text_format.h"
#include "text/utf8.h"
#include "words/word_counts.h"

namespace verbatim {
namespace {

// Numbers the different row keys in the order of their first occurrence.
struct MixedHash {
  size_t operator()(uint64_t key) const { return mix_bits(key); }
};
using RowNumbers = std::unordered_map<uint64_t, uint32_t, MixedHash>;

// Finds the ids that a word has more than once without sorting: counts per id, valid while `word_of` names the word.
class RepeatedIds {
 public:
  explicit RepeatedIds(uint32_t vocabulary) : seen_(vocabulary) {}

  void begin_word() {
    ++word_;
    repeated_.clear();
  }
  void add(uint32_t id, bool is_edge) {
    Seen& seen = seen_[id];
    if (seen.word != word_) {
      seen = {word_, 0, 0};
    } else if (seen.inner + seen.edge == 1) {
      repeated_.push_back(id);
    }
    uint16_t& count = is_edge ? seen.edge : seen.inner;
    if (count < std::numeric_limits<uint16_t>::max()) ++count;
  }
  [[nodiscard]] const std::vector<uint32_t>& repeated() const { return repeated_; }
  [[nodiscard]] uint16_t inner(uint32_t id) const { return seen_[id].inner; }
  [[nodiscard]] uint16_t edge(uint32_t id) const { return seen_[id].edge; }

 private:
  struct Seen {
    uint32_t word = 0;
    uint16_t inner = 0;
    uint16_t edge = 0;
  };
  std::vector<Seen> seen_;
  std::vector<uint32_t> repeated_;
  uint32_t word_ = 0;
};

std::string word_of(const nlohmann::json& json, const std::string& where) {
  if (json.is_string()) return json.get<std::string>();
  if (!json.is_object() || json.size() != 1 || !json.contains("bytes") || !json["bytes"].is_array()) {
    throw_input("{}: expected a word in quotes or {{\"bytes\": [...]}}, found {}", where, json.dump());
  }
  std::string word;
  for (const nlohmann::json& byte : json["bytes"]) {
    if (!byte.is_number_unsigned() || byte.get<uint64_t>() > 255) {
      throw_input("{}: expected bytes from 0 to 255, found {}", where, byte.dump());
    }
    word.push_back(static_cast<char>(byte.get<uint8_t>()));
  }
  return word;
}

}  // namespace

Dictionary::Dictionary(const WordCounts& words, const TrigramHasher& hasher, const WordSplitter& splitter)
    : hasher_(hasher), splitter_(splitter) {
  add_texts(words);
  add_rows();
}

size_t Dictionary::slot_of(std::string_view word) const {
  size_t slot = hash128(word).low & (slots_.size() - 1);
  while (slots_[slot] != 0 && this->word(slots_[slot] - 1) != word) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

int64_t Dictionary::find(std::string_view word) const { return int64_t{slots_[slot_of(word)]} - 1; }

void Dictionary::add_texts(const WordCounts& words) {
  if (words.size() >= std::numeric_limits<uint32_t>::max() / 2) throw_input("{} words are too many", words.size());
  size_t slots = 16;
  while (slots < words.size() * 2) slots *= 2;
  slots_.assign(slots, 0);
  Words scratch;
  for (const auto& [entry, count] : words) {
    const std::string_view word = single_word(entry, splitter_, scratch);
    if (word.empty()) {
      ++rejected_;
      continue;
    }
    uint32_t& slot = slots_[slot_of(word)];
    if (slot != 0) {
      counts_[slot - 1] += count;
      continue;
    }
    text_ += word;
    text_begins_.push_back(text_.size());
    counts_.push_back(count);
    slot = static_cast<uint32_t>(counts_.size());
  }
}

void Dictionary::add_rows() {
  const uint32_t vocabulary = hasher_.options().vocabulary;
  const uint32_t ids_per_row = hasher_.options().ids_per_trigram;
  // Rows and repetitions in the order of their first occurrence, and for each word which of them it has.
  RowNumbers number_of_row;
  std::vector<uint32_t> row_ids;  // [R * m]
  std::vector<uint8_t> row_is_edge;
  std::vector<uint32_t> words_of_row;
  RowNumbers number_of_repetition;
  RepeatedIds ids(vocabulary);
  std::vector<uint64_t> begins = {0};  // of each word in `entries`
  std::vector<uint32_t> entries;       // row, or kIsRepetition + repetition
  constexpr uint32_t kIsRepetition = uint32_t{1} << 31;

  WordRows rows;
  for (size_t w = 0; w < size(); ++w) {
    hasher_.hash(word(w), rows);
    const size_t num_rows = rows.row_keys.size();
    ids.begin_word();
    for (size_t r = 0; r < num_rows; ++r) {
      const auto [place, is_new] =
          number_of_row.try_emplace(rows.row_keys[r], static_cast<uint32_t>(row_is_edge.size()));
      const bool is_edge = rows.edge[r] != 0;
      const auto first_id = rows.ids.begin() + static_cast<ptrdiff_t>(r * ids_per_row);
      if (is_new) {
        VERBATIM_ASSERT(row_is_edge.size() < kIsRepetition, "too many different trigrams");
        row_is_edge.push_back(is_edge ? 1 : 0);
        words_of_row.push_back(0);
        row_ids.insert(row_ids.end(), first_id, first_id + ids_per_row);
      }
      VERBATIM_ASSERT((row_is_edge[place->second] != 0) == is_edge, "a trigram is not always at the edge");
      ++words_of_row[place->second];
      entries.push_back(place->second);
      for (auto id = first_id; id != first_id + ids_per_row; ++id) ids.add(static_cast<uint32_t>(*id), is_edge);
    }
    for (const uint32_t id : ids.repeated()) {
      const Repetition repetition = {id, ids.inner(id), ids.edge(id)};
      const uint64_t key = uint64_t{id} << 32 | uint64_t{repetition.inner} << 16 | repetition.edge;
      const auto [place, is_new] = number_of_repetition.try_emplace(key, static_cast<uint32_t>(repetitions_.size()));
      if (is_new) repetitions_.push_back(repetition);
      entries.push_back(kIsRepetition + place->second);
    }
    begins.push_back(entries.size());
  }

  // The rows of most words come first, where the sums stay in the nearest cache.
  const auto num_rows = static_cast<uint32_t>(row_is_edge.size());
  std::vector<uint32_t> by_use(num_rows);
  std::iota(by_use.begin(), by_use.end(), 0);
  std::ranges::stable_sort(by_use, std::greater<>(), [&](uint32_t row) { return words_of_row[row]; });
  std::vector<uint32_t> new_number(num_rows);
  std::vector<uint64_t> row_begins = {0};
  std::vector<uint32_t> sorted_ids;
  sorted_ids.reserve(row_ids.size());
  for (uint32_t i = 0; i < num_rows; ++i) {
    new_number[by_use[i]] = i;
    row_is_edge_.push_back(row_is_edge[by_use[i]]);
    const auto first_id = row_ids.begin() + static_cast<ptrdiff_t>(size_t{by_use[i]} * ids_per_row);
    sorted_ids.insert(sorted_ids.end(), first_id, first_id + ids_per_row);
    row_begins.push_back(sorted_ids.size());
  }
  row_sums_ = ListSums(row_begins, sorted_ids, vocabulary);

  std::vector<uint32_t> trigrams(size());
  for (size_t w = 0; w < size(); ++w) {
    for (uint64_t i = begins[w]; i < begins[w + 1]; ++i) {
      const bool is_repetition = entries[i] >= kIsRepetition;
      trigrams[w] += is_repetition ? 0 : 1;
      entries[i] = is_repetition ? num_rows + (entries[i] - kIsRepetition) : new_number[entries[i]];
    }
    // Sorted, so that words with the same set of trigrams are summed in the same order and tie exactly.
    std::sort(entries.begin() + static_cast<ptrdiff_t>(begins[w]),
              entries.begin() + static_cast<ptrdiff_t>(begins[w + 1]));
  }
  word_sums_ = ListSums(begins, entries, num_rows + static_cast<uint32_t>(repetitions_.size()));

  inverse_ids_.reserve(size());
  inverse_other_ids_.reserve(size());
  for (const uint32_t w : word_sums_.order()) {
    const double ids_of_word = static_cast<double>(ids_per_row) * trigrams[w];
    const double other_ids = vocabulary - ids_of_word;
    inverse_ids_.push_back(static_cast<float>(1 / ids_of_word));
    inverse_other_ids_.push_back(other_ids > 0 ? static_cast<float>(1 / other_ids) : 0);
  }
}

WordCounts Dictionary::load_words(const std::filesystem::path& file) {
  const MappedFile mapped(file, MappedFile::Access::kSequential);
  WordCounts words;
  size_t line_number = 0;
  for (std::string_view rest = mapped.text(); !rest.empty();) {
    const size_t line_feed = rest.find('\n');
    std::string_view line = rest.substr(0, line_feed);
    rest.remove_prefix(line_feed == std::string_view::npos ? rest.size() : line_feed + 1);
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_array() || json.size() != 2) {
      throw_input("{}:{}: expected a JSON array [word, count], found {}", file.string(), line_number,
                  quote_bytes(line));
    }
    if (!json[1].is_number_unsigned()) {
      throw_input("{}:{}: expected a count of 0 or more, found {}", file.string(), line_number, json[1].dump());
    }
    words.emplace_back(word_of(json[0], fmt::format("{}:{}", file.string(), line_number)), json[1].get<uint64_t>());
  }
  return words;
}

std::string Dictionary::serialize(const WordCounts& words) {
  std::string text;
  for (const auto& [word, count] : words) {
    if (is_valid_utf8(word)) {
      text += fmt::format("[{},{}]\n", nlohmann::json(word).dump(), count);
    } else {
      const std::vector<uint8_t> bytes(word.begin(), word.end());
      text += fmt::format("[{{\"bytes\":{}}},{}]\n", nlohmann::json(bytes).dump(), count);
    }
  }
  return text;
}

namespace {

WordCounts words_missing_in(const Dictionary& base, std::span<const std::string_view> words) {
  WordCounts missing;
  for (const std::string_view word : words) {
    if (base.find(word) < 0) missing.emplace_back(word, 0);
  }
  return missing;
}

}  // namespace

DictionaryOverlay::DictionaryOverlay(const Dictionary& base, std::span<const std::string_view> more_words)
    : base_(base), more_(words_missing_in(base, more_words), base.hasher(), base.splitter()) {}

int64_t DictionaryOverlay::find(std::string_view word) const {
  const int64_t in_base = base_.find(word);
  if (in_base >= 0) return in_base;
  const int64_t in_more = more_.find(word);
  return in_more < 0 ? -1 : in_more + static_cast<int64_t>(base_.size());
}

}  // namespace verbatim
