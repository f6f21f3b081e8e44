// Any bytes as TOML, JSON or an override: a tree or an InputError, and what is written reads back.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "settings/settings_tree.h"

namespace {

struct FuzzSettings : verbatim::Settings {
  std::string kind = "a";
  int64_t count = 1;
  double rate = 1;
  bool on = false;
  std::vector<double> list;

  void visit(verbatim::SettingsVisitor& visitor) override {
    visitor.setting("kind", kind, {.help = "", .choices = {"a", "b"}});
    visitor.setting("count", count, {.help = "", .minimum = 0});
    visitor.setting("rate", rate, {.help = "", .minimum = -1e9, .maximum = 1e9});
    if (kind == "a") visitor.setting("on", on, {.help = ""});
    visitor.setting("list", list, {.help = ""});
  }
};

template <class Action>
void ignore_mistakes(Action action) {
  try {
    action();
  } catch (const verbatim::InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ignore_mistakes([&] {
    FuzzSettings settings;
    verbatim::SettingsTree::from_toml(text, "fuzz").apply_to(settings);
    const std::string saved = verbatim::to_toml(settings, true);
    FuzzSettings again;
    verbatim::SettingsTree::from_toml(saved, "saved").apply_to(again);
    if (verbatim::to_toml(again, true) != saved) __builtin_trap();
  });
  ignore_mistakes([&] {
    FuzzSettings settings;
    verbatim::SettingsTree::from_json(text, "fuzz").apply_to(settings);
  });
  ignore_mistakes([&] {
    FuzzSettings settings;
    verbatim::SettingsTree tree;
    tree.override_with(text);
    tree.apply_to(settings);
  });
  return 0;
}
