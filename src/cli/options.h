#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace verbatim {

// A mistake in the words of the command line. The program prints it with a hint to --help and exits with code 2.
class UsageError : public InputError {
 public:
  using InputError::InputError;
};

// What the shell offers when completing a value.
enum class Completes { kNothing, kFile, kFolder };

// What an option is, said once: from it come parsing, checks, --help and completion.
struct OptionInfo {
  std::string help;                       // one line, no full stop needed
  std::string placeholder = "";           // stands for the value in the help: DIR, N, TEXT; from the type when empty
  std::string unit = "";                  // "bytes", "seconds"; see OptionSet::option for suffixes
  std::string default_text = "";          // shown instead of the value at declaration ("from the model")
  std::vector<std::string> choices = {};  // allowed words; empty for any
  double minimum = -1e300;                // inclusive bounds of a number
  double maximum = 1e300;
  Completes completes = Completes::kNothing;
  bool required = false;  // positionals: at least one; options: must be given
  bool advanced = false;  // listed by --help-all only
};

// The options of one command. Each call binds one option to a variable that must live as long as the set; the value it
// has at the call is the default shown in the help. Names are "--out" or "-o,--out"; spellings separated by commas.
//
// Numbers with unit "bytes" accept k, M, G, T (powers of 1000) and Ki, Mi, Gi, Ti (powers of 1024); numbers with unit
// "seconds" accept s, m, h, d. A list takes one value per mention (--suite a --suite b) and splits nothing.
class OptionSet {
 public:
  OptionSet();
  OptionSet(OptionSet&&) noexcept;
  OptionSet& operator=(OptionSet&&) noexcept;
  ~OptionSet();

  // Turned on by its mention. "--no-NAME" among the spellings turns it off.
  void flag(std::string_view names, bool& target, OptionInfo info);

  // Counts its mentions (-vv).
  void counter(std::string_view names, int64_t& target, OptionInfo info);

  void option(std::string_view names, int64_t& target, OptionInfo info);
  void option(std::string_view names, double& target, OptionInfo info);
  void option(std::string_view names, std::string& target, OptionInfo info);
  void option(std::string_view names, std::filesystem::path& target, OptionInfo info);
  void option(std::string_view names, std::vector<std::string>& target, OptionInfo info);
  void option(std::string_view names, std::optional<int64_t>& target, OptionInfo info);
  void option(std::string_view names, std::optional<double>& target, OptionInfo info);
  void option(std::string_view names, std::optional<std::string>& target, OptionInfo info);

  // Words without a flag, in the order of declaration. A list takes all that remain, so it comes last.
  void positional(std::string_view name, std::string& target, OptionInfo info);
  void positional(std::string_view name, std::filesystem::path& target, OptionInfo info);
  void positional(std::string_view name, std::vector<std::string>& target, OptionInfo info);

  // Accepts settings as `--section.key=value`, `--section.key value` or `section.key=value` and collects them as
  // "section.key=value" in their order, ready for SettingsTree::override_with. `reference` gives the text that
  // --help-all shows for them (see describe() in settings/settings_tree.h); it runs only then.
  void overrides(std::vector<std::string>& target, std::function<std::string()> reference = {});

  // Starts a titled group in the help; options declared after it belong to it.
  void group(std::string_view title);

  // Sets the bound variables. Throws UsageError with the nearest known name for a wrong flag.
  void parse(const std::vector<std::string>& arguments) const;

  // One declared option (option_entry.h); help and completion are made from them.
  struct Entry;
  [[nodiscard]] const std::vector<std::unique_ptr<Entry>>& entries() const { return entries_; }

 private:
  Entry& add(std::string_view names, OptionInfo info);
  template <class T>
  void add_value(std::string_view names, T& target, OptionInfo info, bool is_positional);

  std::vector<std::unique_ptr<Entry>> entries_;
  std::string group_ = "Options";
};

}  // namespace verbatim
