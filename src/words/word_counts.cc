#include "words/word_counts.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "words/marker_words.h"

namespace verbatim {
namespace {

constexpr std::array<std::string_view, 16> kSpecialWords = {
    "<|\n|>",
    "<|endoftext|>",
    "<|no_ws|>",
    "<|ws|>",  //
    "<|2<-ws->|>",
    "<|4<-ws->|>",
    "<|6<-ws->|>",
    "<|8<-ws->|>",  //
    "<|2<-\n->|>",
    "<|4<-\n->|>",
    "<|6<-\n->|>",
    "<|8<-\n->|>",  //
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
};
constexpr size_t kAddedAtLoad = 12;
constexpr std::string_view kEndOfText = "<|endoftext|>";
constexpr size_t kStretchBytes = size_t{1} << 20;

// Look-up by view without making a string.
struct ViewHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using Counter = std::unordered_map<std::string, uint64_t, ViewHash, std::equal_to<>>;

uint64_t add_saturated(uint64_t a, uint64_t b) {
  return a > std::numeric_limits<uint64_t>::max() - b ? std::numeric_limits<uint64_t>::max() : a + b;
}

void add_to(Counter& counter, std::string_view word, uint64_t count) {
  const auto found = counter.find(word);
  if (found == counter.end()) {
    counter.emplace(word, count);
  } else {
    found->second = add_saturated(found->second, count);
  }
}

void sort_by_count(WordCounts& words) {
  std::stable_sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
}

std::vector<std::string_view> stretches_of(uint64_t num_documents,
                                           const std::function<std::string_view(uint64_t)>& document) {
  std::vector<std::string_view> stretches;
  for (uint64_t i = 0; i < num_documents; ++i) {
    std::string_view rest = document(i);
    while (rest.size() > kStretchBytes) {
      const size_t line_feed = rest.rfind('\n', kStretchBytes - 1);
      // Text without line feeds stays whole: a cut in it could fall into a word.
      const size_t cut = line_feed != std::string_view::npos ? line_feed : rest.find('\n', kStretchBytes);
      if (cut == std::string_view::npos) break;
      stretches.push_back(rest.substr(0, cut + 1));
      rest.remove_prefix(cut + 1);
    }
    if (!rest.empty()) stretches.push_back(rest);
  }
  return stretches;
}

}  // namespace

std::span<const std::string_view> special_words() { return kSpecialWords; }

bool is_special_word(std::string_view word) { return std::ranges::find(kSpecialWords, word) != kSpecialWords.end(); }

std::string_view single_word(std::string_view entry, const WordSplitter& splitter, Words& scratch) {
  const std::vector<std::string>& own_specials = splitter.options().special_words;
  if (is_special_word(entry) || std::ranges::find(own_specials, entry) != own_specials.end()) return entry;
  scratch.clear();
  splitter.split(entry, scratch);
  return scratch.list.size() == 1 ? scratch.list[0].text : std::string_view();
}

size_t remove_unusable_words(WordCounts& words, const WordSplitter& splitter) {
  Words scratch;
  return std::erase_if(words, [&](const auto& entry) { return single_word(entry.first, splitter, scratch).empty(); });
}

WordCounts add_counters(std::span<const WordCounts> counters) {
  std::unordered_map<std::string_view, size_t> place_of;
  WordCounts sum;
  for (const WordCounts& counter : counters) {
    for (const auto& [word, count] : counter) {
      const auto [place, is_new] = place_of.try_emplace(word, sum.size());
      if (is_new) {
        sum.emplace_back(word, count);
      } else {
        sum[place->second].second = add_saturated(sum[place->second].second, count);
      }
    }
  }
  std::erase_if(sum, [](const auto& entry) { return entry.second == 0; });
  return sum;
}

WordCounts words_at_load(std::span<const WordCounts> counters) {
  WordCounts words = add_counters(counters);
  for (const std::string_view special : special_words().first(kAddedAtLoad)) {
    const bool is_missing = std::ranges::find(words, special, &WordCounts::value_type::first) == words.end();
    if (is_missing) words.emplace_back(special, 0);
  }
  sort_by_count(words);
  return words;
}

WordCounts generate_words(std::span<const std::vector<WordCounts>> groups, size_t limit) {
  std::vector<WordCounts> lists;
  for (const std::vector<WordCounts>& group : groups) {
    lists.push_back(add_counters(group));
  }
  const WordCounts total_list = add_counters(lists);
  std::unordered_map<std::string_view, uint64_t> total(total_list.begin(), total_list.end());
  for (WordCounts& list : lists) {
    std::erase_if(list, [](const auto& entry) { return is_special_word(entry.first); });
    sort_by_count(list);
  }
  // Reversed before the stable sort, so that of equally long lists the later group comes first.
  std::reverse(lists.begin(), lists.end());
  std::stable_sort(lists.begin(), lists.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });

  WordCounts words;
  for (const std::string_view special : special_words()) {
    const auto found = total.find(special);
    words.emplace_back(special, found == total.end() ? 0 : found->second);
  }
  std::unordered_set<std::string_view> taken;
  const size_t longest = lists.empty() ? 0 : lists.front().size();
  for (size_t place = 0; place < longest; ++place) {
    for (const WordCounts& list : lists) {
      if (place >= list.size() || !taken.insert(list[place].first).second) continue;
      words.emplace_back(list[place].first, total.at(list[place].first));
    }
  }
  if (words.size() > limit) words.resize(limit);
  return words;
}

WordCounts reduce_words(WordCounts words, size_t n, bool strict) {
  if (words.size() <= n) return words;
  if (strict) {
    words.resize(n);
    return words;
  }
  const auto specials =
      static_cast<size_t>(std::ranges::count_if(words, has_marker_form, &WordCounts::value_type::first));
  size_t others = n > specials ? n - specials : 0;
  std::erase_if(words, [&](const auto& entry) {
    if (has_marker_form(entry.first)) return false;
    if (others == 0) return true;
    --others;
    return false;
  });
  return words;
}

WordCounts read_word_list(const std::filesystem::path& file) {
  const MappedFile mapped(file, MappedFile::Access::kSequential);
  WordCounts words;
  for (std::string_view rest = mapped.text(); !rest.empty();) {
    const size_t line_feed = rest.find('\n');
    std::string_view line = rest.substr(0, line_feed);
    rest.remove_prefix(line_feed == std::string_view::npos ? rest.size() : line_feed + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) words.emplace_back(line, 1);
  }
  return words;
}

WordCounts count_words(uint64_t num_documents, const std::function<std::string_view(uint64_t)>& document,
                       const WordSplitter& splitter, const CountOptions& options) {
  const std::vector<std::string_view> stretches = stretches_of(num_documents, document);
  std::atomic<size_t> next = 0;
  std::atomic<uint64_t> bytes_done = 0;
  std::atomic<bool> stop = false;
  std::mutex mutex;  // guards what follows
  std::exception_ptr failure;
  Counter counter;

  const auto work = [&](bool is_caller) {
    try {
      Counter own;
      Words words;
      for (size_t i = next++; i < stretches.size() && !stop; i = next++) {
        words.clear();
        splitter.split(stretches[i], words);
        for (const Word& word : words.list) add_to(own, word.text, 1);
        bytes_done += stretches[i].size();
        if (is_caller && options.progress) options.progress(bytes_done);
      }
      const std::lock_guard lock(mutex);
      if (counter.empty()) {
        counter.swap(own);
      } else {
        for (const auto& [word, count] : own) add_to(counter, word, count);
      }
    } catch (...) {
      stop = true;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const unsigned num_threads =
      options.num_threads != 0 ? options.num_threads : std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < num_threads && i < stretches.size(); ++i) threads.emplace_back(work, false);
  work(/*is_caller=*/true);
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);

  if (num_documents > 0) add_to(counter, kEndOfText, num_documents);
  WordCounts words;
  words.reserve(counter.size());
  while (!counter.empty()) {
    auto node = counter.extract(counter.begin());
    words.emplace_back(std::move(node.key()), node.mapped());
  }
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  return words;
}

}  // namespace verbatim
