#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// Finds fixed strings in text: the leftmost match, and of those that begin there the longest.
class LiteralMatcher {
 public:
  struct Match {
    size_t begin = std::string_view::npos;  // npos: none
    size_t size = 0;
    int32_t value = 0;
  };

  // `literal` must not be empty. Of two equal literals the first one stays.
  void add(std::string literal, int32_t value);
  // The first match that begins at or behind `from`.
  [[nodiscard]] Match find(std::string_view text, size_t from) const;
  [[nodiscard]] bool empty() const { return num_literals_ == 0; }

 private:
  struct Literal {
    std::string text;
    int32_t value = 0;
  };
  // By first byte, longest first, then in byte order.
  std::vector<std::vector<Literal>> by_first_byte_{256};
  size_t num_literals_ = 0;
};

}  // namespace verbatim
