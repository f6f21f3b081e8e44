#include <algorithm>
#include <cctype>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "settings/settings_tree.h"

namespace verbatim {
namespace {

// Names are short; a longer word is a mistake that no suggestion helps.
constexpr size_t kMaxNameBytes = 200;

char fold(char c) {
  if (c == '-') return '_';
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

// Edits (insertion, removal, change, swap of neighbours) that turn `a` into `b`; '-' equals '_', case does not count.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  std::iota(previous.begin(), previous.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = fold(a[i - 1]) == fold(b[j - 1]);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1])) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    before.swap(previous);
    previous.swap(current);
  }
  return previous[b.size()];
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  if (name.empty() || name.size() > kMaxNameBytes) return "";
  std::string best;
  size_t best_distance = std::max<size_t>(1, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    if (candidate.size() > kMaxNameBytes) continue;
    size_t distance = edit_distance(name, candidate);
    // "learning" for "learning_rate": a beginning of at least three letters is near, but less than a slip of the pen.
    const bool begins = name.size() >= 3 && candidate.size() > name.size() &&
                        edit_distance(name, std::string_view(candidate).substr(0, name.size())) == 0;
    if (begins) distance = std::min(distance, std::max<size_t>(1, name.size() / 3));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace verbatim
