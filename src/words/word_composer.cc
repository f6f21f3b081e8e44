#include "words/word_composer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "words/dictionary_search.h"

namespace verbatim {
namespace {

// Which bytes may come next in well-formed UTF-8 (the Unicode standard's table 3-7).
struct Utf8State {
  uint8_t missing = 0;  // continuation bytes until the character is complete
  uint8_t low = 0x80;   // bounds of the next continuation byte
  uint8_t high = 0xBF;

  [[nodiscard]] bool is_complete() const { return missing == 0; }
  [[nodiscard]] bool allows(uint8_t byte) const {
    if (missing > 0) return byte >= low && byte <= high;
    return byte < 0x80 || (byte >= 0xC2 && byte <= 0xF4);
  }
  // After an allowed byte.
  [[nodiscard]] Utf8State after(uint8_t byte) const {
    if (missing > 0) return {static_cast<uint8_t>(missing - 1)};
    if (byte < 0x80) return {};
    if (byte < 0xE0) return {1};
    if (byte < 0xF0) {
      return {2, static_cast<uint8_t>(byte == 0xE0 ? 0xA0 : 0x80), static_cast<uint8_t>(byte == 0xED ? 0x9F : 0xBF)};
    }
    return {3, static_cast<uint8_t>(byte == 0xF0 ? 0x90 : 0x80), static_cast<uint8_t>(byte == 0xF4 ? 0x8F : 0xBF)};
  }
};

uint8_t lower_ascii(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte; }

bool is_letter_or_blank(uint8_t byte) {
  const uint8_t lower = lower_ascii(byte);
  return byte == ' ' || (lower >= 'a' && lower <= 'z');
}

uint32_t pack(uint8_t a, uint8_t b, uint8_t c) { return uint32_t{a} | uint32_t{b} << 8 | uint32_t{c} << 16; }

// Whether the trigram that `symbol` completes stands already in the blank and the bytes before it.
bool has_trigram(std::string_view bytes, WordContext context, uint8_t third) {
  const auto at = [&](size_t i) { return i == 0 ? uint8_t{' '} : static_cast<uint8_t>(bytes[i - 1]); };
  for (size_t i = 0; i + 2 <= bytes.size(); ++i) {
    if (at(i) == context.first && at(i + 1) == context.second && at(i + 2) == third) return true;
  }
  return false;
}

// The beginning of a word.
struct Beginning {
  std::string bytes;
  Utf8State utf8;
  float score = 0;     // of its trigrams so far
  float possible = 0;  // how much the trigrams to come can add at most
  double log_prior = 0;
};

struct Extension {
  size_t parent = 0;
  uint8_t byte = 0;
  float score = 0;
  float possible = 0;
  double log_prior = 0;
  double rank = 0;
};

}  // namespace

std::span<const int32_t> row_behind(const TrigramHasher& hasher, WordContext context, size_t symbol) {
  const uint8_t third = symbol == kWordEnd ? uint8_t{' '} : static_cast<uint8_t>(symbol);
  const uint32_t trigram = pack(context.first, context.second, third);
  const bool shares = !hasher.options().strict || (is_letter_or_blank(context.first) &&
                                                   is_letter_or_blank(context.second) && is_letter_or_blank(third));
  if (!shares) return hasher.row(trigram, trigram);
  return hasher.row(trigram, pack(lower_ascii(context.first), lower_ascii(context.second), lower_ascii(third)));
}

// One call: the values that are summed, and what was found.
struct WordComposer::Search {
  static constexpr uint32_t kRowSumBits = 14;

  Search(const WordComposer& composer, std::span<const float> logits, const ComposeOptions& options)
      : composer(composer), options(options), seen(logits.size()), least_rank(options.least) {
    const float log_weight = std::log(options.positive_weight);
    values.reserve(logits.size());
    for (const float logit : logits) values.push_back(logit - log_weight);
  }

  // Sum over the word's set of ids, exactly.
  float score_of(std::string_view word) {
    composer.hasher_.hash(word, rows);
    ++round;
    double sum = 0;  // so that words with the same trigrams in another order tie
    for (const int32_t id : rows.ids) {
      if (seen[static_cast<size_t>(id)] == round) continue;
      seen[static_cast<size_t>(id)] = round;
      sum += values[static_cast<size_t>(id)];
    }
    return static_cast<float>(sum);
  }

  [[nodiscard]] bool is_one_word(std::string_view word) {
    words.clear();
    composer.splitter_.split(word, words);
    return words.list.size() == 1 && words.list[0].text == word;
  }

  // Sums of the values of one row, and of those above 0.
  struct RowSum {
    uint32_t trigram = ~uint32_t{0};
    float all = 0;
    float positive = 0;
  };

  // Beginnings of a beam are alike and ask for the same rows: a table with one place per trigram, a newer one replaces
  // an older one.
  const RowSum& row_sum(WordContext context, uint8_t byte) {
    const uint32_t trigram = pack(context.first, context.second, byte);
    RowSum& sum = row_sums[trigram * 0x9E3779B1U >> (32 - kRowSumBits)];
    if (sum.trigram == trigram) return sum;
    sum = {trigram, 0, 0};
    for (const int32_t id : row_behind(composer.hasher_, context, byte)) {
      const float value = values[static_cast<size_t>(id)];
      sum.all += value;
      sum.positive += std::max(value, 0.0F);
    }
    return sum;
  }

  const std::array<double, kWordSymbols>& prior_behind(WordContext context) {
    const auto [place, is_new] = priors.try_emplace(context.number());
    if (is_new) {
      place->second = composer.prior_->distribution(context);
      for (double& probability : place->second) probability = std::log(probability);
    }
    return place->second;
  }

  double log_prior_of(std::string_view word) {
    double sum = prior_behind(WordContext::behind(word))[kWordEnd];
    for (size_t size = 0; size < word.size(); ++size) {
      sum += prior_behind(WordContext::behind(word.substr(0, size)))[static_cast<uint8_t>(word[size])];
    }
    return sum;
  }

  // The symbols worth trying behind a context.
  std::span<const uint16_t> symbols_behind(WordContext context) {
    if (composer.prior_ != nullptr && options.seen_only) return composer.prior_->continuations(context);
    if (all_symbols.empty()) {
      for (uint16_t symbol = 0; symbol < kWordSymbols; ++symbol) all_symbols.push_back(symbol);
    }
    return all_symbols;
  }

  void finish(const Beginning& beginning, double log_prior) {
    const auto rank = [&](const ComposedWord& word) { return word.score + options.prior_weight * word.log_prior; };
    ComposedWord word = {beginning.bytes, score_of(beginning.bytes), log_prior};
    if (rank(word) < least_rank) return;
    if (options.exclude != nullptr && options.exclude->find(word.word) >= 0) return;
    if (!is_one_word(word.word)) return;
    const auto place = std::ranges::find_if(found, [&](const ComposedWord& other) {
      if (rank(word) != rank(other)) return rank(word) > rank(other);
      return std::pair(word.word.size(), word.word) < std::pair(other.word.size(), other.word);
    });
    found.insert(place, std::move(word));
    if (found.size() > options.results) found.pop_back();
    if (found.size() == options.results) least_rank = rank(found.back());
  }

  // All extensions of one beginning, the end of the word among them.
  void extend(const std::vector<Beginning>& beam, size_t parent, std::vector<Extension>& extensions) {
    const Beginning& beginning = beam[parent];
    const WordContext context = WordContext::behind(beginning.bytes);
    const bool has_row = !beginning.bytes.empty();  // a blank and one byte are no trigram yet
    for (const uint16_t symbol : symbols_behind(context)) {
      double log_prior = beginning.log_prior;
      if (options.prior_weight != 0 && composer.prior_ != nullptr) log_prior += prior_behind(context)[symbol];
      if (symbol == kWordEnd) {
        if (has_row && beginning.utf8.is_complete()) finish(beginning, log_prior);
        continue;
      }
      const auto byte = static_cast<uint8_t>(symbol);
      if (byte == ' ' || !beginning.utf8.allows(byte) || beginning.bytes.size() == options.longest) continue;
      Extension extension = {parent, byte, beginning.score, beginning.possible, log_prior, 0};
      if (has_row && !has_trigram(beginning.bytes, context, byte)) {
        const RowSum& row = row_sum(context, byte);
        extension.score += row.all;
        extension.possible -= row.positive;
      }
      extension.rank = extension.score + options.prior_weight * log_prior;
      // Ids that several trigrams share were taken off `possible` twice, so it can fall below 0.
      if (extension.rank + std::max(extension.possible, 0.0F) < least_rank) continue;
      extensions.push_back(extension);
    }
  }

  const WordComposer& composer;
  const ComposeOptions& options;
  std::vector<float> values;   // [V]
  std::vector<uint32_t> seen;  // [V] round in which an id was last summed
  uint32_t round = 0;
  WordRows rows;
  Words words;
  std::vector<RowSum> row_sums = std::vector<RowSum>(size_t{1} << kRowSumBits);
  std::unordered_map<size_t, std::array<double, kWordSymbols>> priors;  // logarithms, by context
  std::vector<uint16_t> all_symbols;
  std::vector<ComposedWord> found;  // best first
  double least_rank;                // what a word must reach to be kept
};

WordComposer::WordComposer(const TrigramHasher& hasher, const WordSplitter& splitter, const TrigramPrior* prior)
    : hasher_(hasher), splitter_(splitter), prior_(prior) {
  if (hasher.options().whole_words) throw_input("words that are hashed whole cannot be composed from trigrams");
}

std::vector<ComposedWord> WordComposer::compose(std::span<const float> logits_V, const ComposeOptions& options) const {
  check_logits(logits_V, hasher_.options().vocabulary);
  if (!(options.positive_weight > 0))
    throw_input("the weight of positives is {}, expected a number above 0", options.positive_weight);
  if (options.beam == 0) throw_input("the beam is 0 wide, expected 1 or more");
  if (options.results == 0) return {};
  Search search(*this, logits_V, options);

  Beginning start;
  for (const float value : search.values) start.possible += std::max(value, 0.0F);
  std::vector<Beginning> beam = {start};
  std::vector<Extension> extensions;
  while (!beam.empty()) {
    extensions.clear();
    for (size_t i = 0; i < beam.size(); ++i) search.extend(beam, i, extensions);
    // First bytes have no trigram to be judged by: all of them stay.
    const bool is_first = beam.size() == 1 && beam[0].bytes.empty();
    if (!is_first && extensions.size() > options.beam) {
      const auto is_better = [](const Extension& a, const Extension& b) {
        if (a.rank != b.rank) return a.rank > b.rank;
        return a.parent != b.parent ? a.parent < b.parent : a.byte < b.byte;
      };
      const auto end = extensions.begin() + static_cast<ptrdiff_t>(options.beam);
      std::partial_sort(extensions.begin(), end, extensions.end(), is_better);
      extensions.erase(end, extensions.end());
    }
    std::vector<Beginning> next;
    for (const Extension& extension : extensions) {
      const Beginning& parent = beam[extension.parent];
      next.push_back({parent.bytes + static_cast<char>(extension.byte), parent.utf8.after(extension.byte),
                      extension.score, extension.possible, extension.log_prior});
    }
    beam = std::move(next);
  }
  if (options.prior_weight == 0 && prior_ != nullptr) {  // the search did without
    for (ComposedWord& word : search.found) word.log_prior = search.log_prior_of(word.word);
  }
  return std::move(search.found);
}

}  // namespace verbatim
