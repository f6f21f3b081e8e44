#include "cli/options.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "base/names.h"
#include "base/text_format.h"
#include "cli/option_entry.h"

namespace verbatim {
namespace {

using Entry = OptionSet::Entry;

struct Suffix {
  std::string_view word;
  double factor;
};
constexpr Suffix kByteSuffixes[] = {{"k", 1e3},     {"K", 1e3},     {"M", 1e6},        {"G", 1e9},
                                    {"T", 1e12},    {"Ki", 1024.0}, {"Mi", 1048576.0}, {"Gi", 1073741824.0},
                                    {"Ti", 0x1p40}, {"B", 1.0}};
constexpr Suffix kTimeSuffixes[] = {{"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400}};

template <class List>
double take_suffix(std::string_view& text, const List& suffixes) {
  const size_t digits = text.find_last_of("0123456789.") + 1;  // npos + 1 == 0
  for (const Suffix& suffix : suffixes) {
    if (text.substr(digits) == suffix.word) {
      text = text.substr(0, digits);
      return suffix.factor;
    }
  }
  return 1;
}

[[noreturn]] void throw_value(const Entry& entry, const std::string& text, std::string_view expected) {
  const std::string unit = entry.info.unit.empty() ? "" : fmt::format(" ({})", entry.info.unit);
  throw UsageError(fmt::format("{} must be {}{}, got {}", entry.shown_name(), expected, unit, quote_bytes(text)));
}

void check_bounds(const Entry& entry, double value, const std::string& text) {
  const OptionInfo& info = entry.info;
  if (value >= info.minimum && value <= info.maximum) return;
  if (info.maximum >= 1e300) throw_value(entry, text, fmt::format("at least {}", info.minimum));
  if (info.minimum <= -1e300) throw_value(entry, text, fmt::format("at most {}", info.maximum));
  throw_value(entry, text, fmt::format("between {} and {}", info.minimum, info.maximum));
}

template <class Number>
Number read_number(const Entry& entry, const std::string& text) {
  constexpr bool kIsInteger = std::is_integral_v<Number>;
  const std::string_view expected = kIsInteger ? "an integer" : "a number";
  std::string_view digits = text;
  double factor = 1;
  if (entry.info.unit == "bytes") factor = take_suffix(digits, kByteSuffixes);
  if (entry.info.unit == "seconds") factor = take_suffix(digits, kTimeSuffixes);
  if (digits.starts_with('+')) digits.remove_prefix(1);
  const char* end = digits.data() + digits.size();

  Number value{};
  if (kIsInteger && factor == 1) {
    const auto [stop, code] = std::from_chars(digits.data(), end, value);
    if (code != std::errc() || stop != end) throw_value(entry, text, expected);
  } else {
    double number = 0;
    const auto [stop, code] = std::from_chars(digits.data(), end, number);
    if (code != std::errc() || stop != end || !std::isfinite(number)) throw_value(entry, text, expected);
    number *= factor;
    if constexpr (kIsInteger) {
      if (std::abs(number) >= 9.2e18) throw_value(entry, text, "an integer of 64 bits");
      value = static_cast<Number>(std::llround(number));
    } else {
      value = number;
    }
  }
  check_bounds(entry, static_cast<double>(value), text);
  return value;
}

void check_choice(const Entry& entry, const std::string& text) {
  const auto& choices = entry.info.choices;
  if (choices.empty() || std::find(choices.begin(), choices.end(), text) != choices.end()) return;
  throw UsageError(fmt::format("{} must be one of {}, got {}{}", entry.shown_name(), fmt::join(choices, ", "),
                               quote_bytes(text), suggest_names(text, choices, 1)));
}

void read_into(const Entry& entry, const std::string& text, int64_t& target) {
  target = read_number<int64_t>(entry, text);
}
void read_into(const Entry& entry, const std::string& text, double& target) {
  target = read_number<double>(entry, text);
}
void read_into(const Entry& entry, const std::string& text, std::string& target) {
  check_choice(entry, text);
  target = text;
}
void read_into(const Entry&, const std::string& text, std::filesystem::path& target) { target = text; }
void read_into(const Entry& entry, const std::string& text, std::vector<std::string>& target) {
  check_choice(entry, text);
  target.push_back(text);
}
template <class T>
void read_into(const Entry& entry, const std::string& text, std::optional<T>& target) {
  T value{};
  read_into(entry, text, value);
  target = std::move(value);
}

std::string default_words(int64_t value) { return fmt::format("{}", value); }
std::string default_words(double value) { return fmt::format("{}", value); }
std::string default_words(const std::string& value) { return value; }
std::string default_words(const std::filesystem::path& value) { return value.string(); }
std::string default_words(const std::vector<std::string>& value) { return fmt::format("{}", fmt::join(value, ", ")); }
template <class T>
std::string default_words(const std::optional<T>& value) {
  return value.has_value() ? default_words(*value) : "";
}

template <class T>
std::string placeholder_for(const T&) {
  if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, std::optional<int64_t>>) return "N";
  if constexpr (std::is_same_v<T, double> || std::is_same_v<T, std::optional<double>>) return "X";
  if constexpr (std::is_same_v<T, std::filesystem::path>) return "PATH";
  return "TEXT";
}

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= names.size();) {
    const size_t end = std::min(names.find(',', start), names.size());
    std::string_view part = names.substr(start, end - start);
    while (part.starts_with(' ')) part.remove_prefix(1);
    parts.emplace_back(part);
    start = end + 1;
  }
  return parts;
}

// "section.key" or "section.key=value" without its dashes; empty when the word is nothing of the kind.
std::string_view setting_words(std::string_view word) {
  if (word.starts_with("--")) {
    word.remove_prefix(2);
  } else if (word.find('=') == std::string_view::npos) {
    return {};  // without dashes only an assignment is a setting; "a.txt" is a file
  }
  const std::string_view name = word.substr(0, word.find('='));
  if (name.find('.') == std::string_view::npos || name.ends_with('.')) return {};
  if (name.starts_with('.') || name.starts_with('-')) return {};
  for (const char c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '.') return {};
  }
  return word;
}

bool is_flag_like(std::string_view word) { return word.size() > 1 && word.starts_with('-'); }

}  // namespace

OptionSet::OptionSet() = default;
OptionSet::OptionSet(OptionSet&&) noexcept = default;
OptionSet& OptionSet::operator=(OptionSet&&) noexcept = default;
OptionSet::~OptionSet() = default;

OptionSet::Entry& OptionSet::add(std::string_view names, OptionInfo info) {
  auto entry = std::make_unique<Entry>();
  entry->names = split_names(names);
  entry->info = std::move(info);
  entry->group = group_;
  entries_.push_back(std::move(entry));
  return *entries_.back();
}

void OptionSet::group(std::string_view title) { group_ = title; }

void OptionSet::flag(std::string_view names, bool& target, OptionInfo info) {
  Entry& entry = add(names, std::move(info));
  entry.kind = Entry::Kind::kFlag;
  if (target && entry.info.default_text.empty()) entry.info.default_text = "on";
  entry.set = [&target](const std::string& text) { target = text == "true"; };
}

void OptionSet::counter(std::string_view names, int64_t& target, OptionInfo info) {
  Entry& entry = add(names, std::move(info));
  entry.kind = Entry::Kind::kCounter;
  entry.set = [&target](const std::string&) { ++target; };
}

template <class T>
void OptionSet::add_value(std::string_view names, T& target, OptionInfo info, bool is_positional) {
  constexpr bool kIsList = std::is_same_v<T, std::vector<std::string>>;
  Entry& entry = add(names, std::move(info));
  if (is_positional) {
    entry.kind = kIsList ? Entry::Kind::kPositionalList : Entry::Kind::kPositional;
  } else {
    entry.kind = kIsList ? Entry::Kind::kList : Entry::Kind::kValue;
  }
  if (entry.info.placeholder.empty()) {
    entry.info.placeholder = entry.info.completes == Completes::kFolder ? "DIR"
                             : entry.info.completes == Completes::kFile ? "FILE"
                                                                        : placeholder_for(target);
  }
  if (entry.info.default_text.empty()) entry.info.default_text = default_words(target);
  // A list given on the command line replaces the default instead of growing it.
  entry.set = [&target, &entry, is_first = true](const std::string& text) mutable {
    if constexpr (kIsList) {
      if (is_first) target.clear();
      is_first = false;
    }
    read_into(entry, text, target);
  };
}

void OptionSet::option(std::string_view names, int64_t& target, OptionInfo info) {
  add_value(names, target, std::move(info), /*is_positional=*/false);
}
void OptionSet::option(std::string_view names, double& target, OptionInfo info) {
  add_value(names, target, std::move(info), /*is_positional=*/false);
}
void OptionSet::option(std::string_view names, std::string& target, OptionInfo info) {
  add_value(names, target, std::move(info), /*is_positional=*/false);
}
void OptionSet::option(std::string_view names, std::filesystem::path& target, OptionInfo info) {
  add_value(names, target, std::move(info), /*is_positional=*/false);
}
void OptionSet::option(std::string_view names, std::vector<std::string>& target, OptionInfo info) {
  add_value(names, target, std::move(info), /*is_positional=*/false);
}
void OptionSet::option(std::string_view names, std::optional<int64_t>& target, OptionInfo info) {
  add_value(names, target, std::move(info), /*is_positional=*/false);
}
void OptionSet::option(std::string_view names, std::optional<double>& target, OptionInfo info) {
  add_value(names, target, std::move(info), /*is_positional=*/false);
}
void OptionSet::option(std::string_view names, std::optional<std::string>& target, OptionInfo info) {
  add_value(names, target, std::move(info), /*is_positional=*/false);
}

void OptionSet::positional(std::string_view name, std::string& target, OptionInfo info) {
  add_value(name, target, std::move(info), /*is_positional=*/true);
}
void OptionSet::positional(std::string_view name, std::filesystem::path& target, OptionInfo info) {
  add_value(name, target, std::move(info), /*is_positional=*/true);
}
void OptionSet::positional(std::string_view name, std::vector<std::string>& target, OptionInfo info) {
  add_value(name, target, std::move(info), /*is_positional=*/true);
}

void OptionSet::overrides(std::vector<std::string>& target, std::function<std::string()> reference) {
  Entry& entry = add("--SECTION.KEY", {.help = "sets one setting, also as SECTION.KEY=VALUE", .placeholder = "VALUE"});
  entry.kind = Entry::Kind::kOverrides;
  entry.reference = std::move(reference);
  entry.set = [&target](const std::string& text) { target.push_back(text); };
}

void OptionSet::parse(const std::vector<std::string>& arguments) const {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();

  // CLI11 gets the named options; the words that remain are positionals, settings or mistakes and sorted below.
  Entry* overrides = nullptr;
  std::vector<Entry*> positionals;
  std::vector<std::pair<const Entry*, CLI::Option*>> named;
  for (const auto& owned : entries_) {
    Entry& entry = *owned;
    if (entry.is_positional()) {
      positionals.push_back(&entry);
    } else if (entry.kind == Entry::Kind::kOverrides) {
      overrides = &entry;
    } else if (entry.takes_value()) {
      const auto set = [&entry](const std::vector<std::string>& values) {
        for (const std::string& value : values) entry.set(value);
        return true;
      };
      CLI::Option* option = app.add_option(fmt::format("{}", fmt::join(entry.names, ",")), set);
      option->type_size(1)->expected(1)->allow_extra_args(false);
      option->multi_option_policy(entry.kind == Entry::Kind::kList ? CLI::MultiOptionPolicy::TakeAll
                                                                   : CLI::MultiOptionPolicy::TakeLast);
      named.emplace_back(&entry, option);
    } else {
      std::string spellings;
      for (const std::string& name : entry.names) {
        spellings += (spellings.empty() ? "" : ",") + std::string(name.starts_with("--no-") ? "!" : "") + name;
      }
      app.add_flag_function(spellings, [&entry](int64_t count) {
        if (entry.kind == Entry::Kind::kFlag) {
          entry.set(count > 0 ? "true" : "false");
        } else {
          for (int64_t i = 0; i < count; ++i) entry.set("true");
        }
      });
    }
  }

  const auto mark = std::find(arguments.begin(), arguments.end(), "--");
  try {
    app.parse(std::vector<std::string>(std::make_reverse_iterator(mark), arguments.rend()));
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string message = error.what();
    for (const auto& [entry, option] : named) {
      if (message.starts_with(option->get_name() + ":")) {
        throw UsageError(
            fmt::format("{} needs a value: {} {}", entry->shown_name(), entry->shown_name(), entry->info.placeholder));
      }
    }
    throw UsageError(message);
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }

  std::vector<std::string> words;
  const std::vector<std::string> remaining = app.remaining();
  for (size_t i = 0; i < remaining.size(); ++i) {
    const std::string& word = remaining[i];
    std::string setting(overrides == nullptr ? std::string_view() : setting_words(word));
    if (!setting.empty()) {
      if (setting.find('=') == std::string::npos) {
        if (i + 1 == remaining.size() || remaining[i + 1].starts_with("--")) {
          throw UsageError(fmt::format("{} needs a value: {}=VALUE", word, word));
        }
        setting += "=" + remaining[++i];
      }
      overrides->set(setting);
    } else if (is_flag_like(word)) {
      const std::string flag = word.substr(0, word.find('='));
      std::vector<std::string> known;
      for (const auto& entry : entries_) {
        if (entry->is_positional() || entry->kind == Entry::Kind::kOverrides) continue;
        for (const std::string& name : entry->names) {
          if (name.starts_with("--")) known.push_back(name.substr(2));
        }
      }
      known.insert(known.end(), {"help", "help-all"});
      std::string advice;
      if (flag.starts_with("--")) {
        const std::string_view typed = std::string_view(flag).substr(2);
        std::vector<std::string> near = nearest_names(typed, known, 1);
        // "--output" for "--out": no slip of the pen, but a longer word for the same.
        for (const std::string& name : known) {
          if (near.empty() && name.size() >= 3 && typed.starts_with(name)) near.push_back(name);
        }
        if (!near.empty()) advice = fmt::format("; did you mean --{}?", near.front());
      }
      throw UsageError(fmt::format("unknown flag {}{}", flag, advice));
    } else {
      words.push_back(word);
    }
  }
  if (mark != arguments.end()) words.insert(words.end(), mark + 1, arguments.end());

  size_t next = 0;
  for (Entry* entry : positionals) {
    const size_t last = entry->kind == Entry::Kind::kPositionalList ? words.size() : std::min(next + 1, words.size());
    if (next == last && entry->info.required) {
      throw UsageError(fmt::format("{} is missing: {}", entry->shown_name(), entry->info.help));
    }
    for (; next < last; ++next) entry->set(words[next]);
  }
  if (next < words.size()) throw UsageError(fmt::format("one word too many: {}", quote_bytes(words[next])));
  for (const auto& [entry, option] : named) {
    if (entry->info.required && option->count() == 0) {
      throw UsageError(
          fmt::format("{} {} is missing: {}", entry->shown_name(), entry->info.placeholder, entry->info.help));
    }
  }
}

}  // namespace verbatim
