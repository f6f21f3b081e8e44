#include "tokenizers/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

constexpr std::string_view kSpaces =
    R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kWordCharacters = R"(\p{L}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kHexDigits = "0-9a-fA-F";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD, a symbol

// Stack of the compiled code for one match; deep patterns need more than the 32 KiB it takes by itself.
constexpr size_t kJitStackStart = size_t{32} << 10;
constexpr size_t kJitStackMost = size_t{16} << 20;

std::string translate(std::string_view pattern, std::string_view where) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char name = pattern[++i];
      const std::string_view members = name == 's' || name == 'S'   ? kSpaces
                                       : name == 'w' || name == 'W' ? kWordCharacters
                                       : name == 'h' || name == 'H' ? kHexDigits
                                                                    : std::string_view{};
      const bool negated = name == 'S' || name == 'W' || name == 'H';
      if (members.empty() || (in_class && name == 'S') || (in_class && name == 'W')) {
        // Inside a class the negations stay with PCRE2; they differ from Oniguruma in a few rare characters only.
        out += c;
        out += name;
      } else if (in_class && negated) {
        throw_input("{}: the regular expression {} uses \\{} inside a class, which is not supported", where, pattern,
                    name);
      } else if (in_class) {
        out += members;
      } else {
        out += negated ? "[^" : "[";
        out += members;
        out += ']';
      }
      continue;
    }
    if (!in_class && c == '[') {
      in_class = true;
      out += c;
      // A bracket right behind the opening (or its negation) is a member.
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') out += pattern[++i];
      continue;
    }
    if (in_class && c == '[' && i + 1 < pattern.size() && pattern[i + 1] == ':') {
      const size_t close = pattern.find(":]", i);
      if (close != std::string_view::npos) {
        out += pattern.substr(i, close + 2 - i);
        i = close + 1;
        continue;
      }
    }
    if (in_class && c == '&' && i + 1 < pattern.size() && pattern[i + 1] == '&') {
      throw_input("{}: the regular expression {} intersects classes (&&), which is not supported", where, pattern);
    }
    if (in_class && c == '[') {
      throw_input("{}: the regular expression {} nests classes, which is not supported", where, pattern);
    }
    if (in_class && c == ']') in_class = false;
    out += c;
  }
  return out;
}

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(code, buffer, sizeof(buffer)) < 0) return "error " + std::to_string(code);
  return reinterpret_cast<const char*>(buffer);
}

template <auto free_function>
struct Freer {
  template <class T>
  void operator()(T* pointer) const {
    free_function(pointer);
  }
};
using MatchData = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack_free>>;

}  // namespace

struct Regex::Compiled {
  std::unique_ptr<pcre2_code, Freer<pcre2_code_free>> code;
  std::string pattern;
  std::string where;

  // Matches in valid UTF-8.
  [[nodiscard]] std::vector<Match> find_all(std::string_view text) const;
};

Regex::Regex(std::string_view pattern, std::string_view where) : compiled_(std::make_unique<Compiled>()) {
  compiled_->pattern = pattern;
  compiled_->where = where;
  const std::string translated = translate(pattern, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  compiled_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
  if (!compiled_->code) {
    throw_input("{}: the regular expression {} is not understood: {}", where, pattern, message_of(error));
  }
  // Without machine code (it may be forbidden on a system) matching is slower and otherwise the same.
  (void)pcre2_jit_compile(compiled_->code.get(), PCRE2_JIT_COMPLETE);
}

Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

std::vector<Regex::Match> Regex::Compiled::find_all(std::string_view text) const {
  std::vector<Match> matches;
  const MatchData data(pcre2_match_data_create_from_pattern(code.get(), nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  if (!data || !context) throw std::bad_alloc();
  JitStack stack;
  for (size_t position = 0; position < text.size();) {
    int result = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), position,
                             PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data.get(), context.get());
    if (result == PCRE2_ERROR_JIT_STACKLIMIT && !stack) {
      stack.reset(pcre2_jit_stack_create(kJitStackStart, kJitStackMost, nullptr));
      if (!stack) throw std::bad_alloc();
      pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
      continue;
    }
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      throw_input("{}: the regular expression {} failed at byte {} of a text: {}", where, pattern, position,
                  message_of(result));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    // \K can move the begin; such a match is cut to what lies ahead.
    const size_t begin = std::max<size_t>(ends[0], position);
    const size_t end = ends[1];
    if (end <= begin) break;
    matches.push_back({begin, end});
    position = end;
  }
  return matches;
}

std::vector<Regex::Match> Regex::find_all(std::string_view text) const {
  if (is_valid_utf8(text)) return compiled_->find_all(text);
  // Matching happens on a readable copy; its offsets are moved back, both lists being in order.
  const std::string readable = replace_invalid_utf8(text);
  std::vector<Match> matches = compiled_->find_all(readable);
  size_t original = 0;
  size_t copied = 0;
  const auto back = [&](size_t target) {
    while (copied < target) {
      const CodePoint code_point = decode_utf8(text, original);
      original += code_point.size;
      copied += code_point.valid ? code_point.size : kReplacement.size();
    }
    return original;
  };
  for (Match& match : matches) {
    match.begin = back(match.begin);
    match.end = back(match.end);
  }
  return matches;
}

}  // namespace verbatim
