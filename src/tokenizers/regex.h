#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace verbatim {

// A regular expression of a tokenizer.json, run by PCRE2 (compiled to machine code where possible). The file's dialect
// is Oniguruma's; the character classes \s \w \h are translated to what they mean there (White_Space; letters, marks,
// decimal digits and connectors; hexadecimal digits). Bytes outside valid UTF-8 look like one symbol character each.
// Thread safe after construction.
class Regex {
 public:
  // Throws InputError when the expression is not understood; `where` names the file.
  Regex(std::string_view pattern, std::string_view where);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  struct Match {
    size_t begin = 0;
    size_t end = 0;
  };
  // All matches from left to right, none overlapping, none empty. Throws InputError when matching needs too many steps.
  [[nodiscard]] std::vector<Match> find_all(std::string_view text) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace verbatim
