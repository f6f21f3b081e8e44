#include "cli/completion.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/option_entry.h"

namespace verbatim {
namespace {

using Entry = OptionSet::Entry;

// 'text' for a shell: quotes end, one is written, quotes begin.
std::string quote(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

// The names at the beginnings of the lines of a settings reference: "  optim.lr   learning rate (...)".
std::vector<std::string> setting_names(const Entry& entry) {
  std::vector<std::string> names;
  if (!entry.reference) return names;
  const std::string text = entry.reference();
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const size_t first = text.find_first_not_of(' ', start);
    const std::string name = first < end ? text.substr(first, std::min(text.find(' ', first), end) - first) : "";
    // Two families may have a setting of one name.
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    start = end + 1;
  }
  return names;
}

// All spellings that a user may begin with a dash.
std::vector<std::string> flag_words(const CommandDefinition& command) {
  std::vector<std::string> words;
  for (const auto& entry : command.options.entries()) {
    if (entry->kind == Entry::Kind::kOverrides) {
      for (const std::string& name : setting_names(*entry)) words.push_back("--" + name + "=");
    } else if (!entry->is_positional()) {
      words.insert(words.end(), entry->names.begin(), entry->names.end());
    }
  }
  return words;
}

const Entry* first_positional(const CommandDefinition& command) {
  for (const auto& entry : command.options.entries()) {
    if (entry->is_positional()) return entry.get();
  }
  return nullptr;
}

std::string bash_values(const OptionInfo& info) {
  if (!info.choices.empty())
    return fmt::format("compgen -W {} -- \"$word\"", quote(fmt::format("{}", fmt::join(info.choices, " "))));
  if (info.completes == Completes::kFolder) return "compgen -d -- \"$word\"";
  if (info.completes == Completes::kFile) return "compgen -f -- \"$word\"";
  return "true";
}

std::string bash_script(const std::vector<CommandDefinition>& commands) {
  std::string names;
  for (const CommandDefinition& command : commands) names += command.name + " ";
  std::string text =
      "# bash completion for verbatim; use: source <(verbatim completion bash)\n"
      "_verbatim() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\" IFS=$'\\n'\n"
      "  COMPREPLY=()\n"
      "  compopt -o filenames 2>/dev/null\n"
      "  if ((COMP_CWORD == 1)); then\n"
      "    COMPREPLY=($(IFS=' ' compgen -W '" +
      names +
      "help --help --version' -- \"$word\"))\n"
      "    return\n"
      "  fi\n"
      "  case \"${COMP_WORDS[1]}\" in\n";
  for (const CommandDefinition& command : commands) {
    text += fmt::format("    {})\n      case \"$previous\" in\n", command.name);
    for (const auto& entry : command.options.entries()) {
      if (!entry->takes_value()) continue;
      text += fmt::format("        {}) COMPREPLY=($(IFS=' ' {})); return ;;\n", fmt::join(entry->names, "|"),
                          bash_values(entry->info));
    }
    text += "      esac\n";
    text += fmt::format(
        "      if [[ $word == -* ]]; then\n"
        "        COMPREPLY=($(IFS=' ' compgen -W {} -- \"$word\"))\n"
        "        [[ ${{#COMPREPLY[@]}} == 1 && ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace 2>/dev/null\n"
        "      else\n",
        quote(fmt::format("{}", fmt::join(flag_words(command), " "))));
    const Entry* positional = first_positional(command);
    const std::string values = positional == nullptr ? "true" : bash_values(positional->info);
    text += fmt::format("        COMPREPLY=($(IFS=' ' {}))\n      fi ;;\n", values);
  }
  text +=
      "  esac\n"
      "}\n"
      "complete -F _verbatim verbatim\n";
  return text;
}

// Text inside of a zsh _arguments specification: brackets and colons have a meaning there.
std::string zsh_escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string zsh_action(const OptionInfo& info) {
  std::string action = " ";
  if (!info.choices.empty()) action = fmt::format("({})", fmt::join(info.choices, " "));
  if (info.completes == Completes::kFolder) action = "_files -/";
  if (info.completes == Completes::kFile) action = "_files";
  return fmt::format(":{}:{}", zsh_escape(info.placeholder.empty() ? "value" : info.placeholder), action);
}

std::string zsh_script(const std::vector<CommandDefinition>& commands) {
  std::string text =
      "#compdef verbatim\n"
      "# zsh completion for verbatim; use: source <(verbatim completion zsh)\n"
      "_verbatim() {\n"
      "  if ((CURRENT == 2)); then\n"
      "    local -a commands=(\n";
  for (const CommandDefinition& command : commands) {
    text += fmt::format("      {}\n", quote(zsh_escape(command.name) + ":" + zsh_escape(command.summary)));
  }
  text +=
      "      'help:shows what there is'\n"
      "    )\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local name=${words[2]}\n"
      "  shift words\n"
      "  ((CURRENT--))\n"
      "  case $name in\n";
  for (const CommandDefinition& command : commands) {
    text += fmt::format("    {})\n      _arguments -s", command.name);
    size_t position = 1;
    for (const auto& entry : command.options.entries()) {
      const std::string help = zsh_escape(entry->info.help);
      if (entry->kind == Entry::Kind::kPositional) {
        text += fmt::format(" \\\n        {}", quote(fmt::format("{}{}", position++, zsh_action(entry->info))));
      } else if (entry->kind == Entry::Kind::kPositionalList) {
        text += fmt::format(" \\\n        {}", quote("*" + zsh_action(entry->info)));
      } else if (entry->kind == Entry::Kind::kOverrides) {
        for (const std::string& name : setting_names(*entry)) {
          text += fmt::format(" \\\n        {}", quote("--" + zsh_escape(name) + "=[setting]:value: "));
        }
      } else {
        const bool repeats = entry->kind == Entry::Kind::kList || entry->kind == Entry::Kind::kCounter;
        for (const std::string& name : entry->names) {
          const std::string action = entry->takes_value() ? zsh_action(entry->info) : "";
          text +=
              fmt::format(" \\\n        {}", quote(fmt::format("{}{}[{}]{}", repeats ? "*" : "", name, help, action)));
        }
      }
    }
    text += " ;;\n";
  }
  text +=
      "  esac\n"
      "}\n"
      "if [[ $funcstack[1] == _verbatim ]]; then _verbatim \"$@\"; else compdef _verbatim verbatim; fi\n";
  return text;
}

std::string fish_script(const std::vector<CommandDefinition>& commands) {
  std::string text =
      "# fish completion for verbatim; use: verbatim completion fish | source\n"
      "complete -c verbatim -f\n"
      "complete -c verbatim -n __fish_use_subcommand -l version -d 'version and build'\n"
      "complete -c verbatim -n __fish_use_subcommand -l help -d 'what there is'\n";
  for (const CommandDefinition& command : commands) {
    text += fmt::format("complete -c verbatim -n __fish_use_subcommand -a {} -d {}\n", command.name,
                        quote(command.summary));
  }
  for (const CommandDefinition& command : commands) {
    const std::string condition = fmt::format("-n '__fish_seen_subcommand_from {}'", command.name);
    for (const auto& entry : command.options.entries()) {
      const OptionInfo& info = entry->info;
      std::string values;
      if (!info.choices.empty()) values = fmt::format(" -a {}", quote(fmt::format("{}", fmt::join(info.choices, " "))));
      if (info.completes == Completes::kFolder) values = " -a '(__fish_complete_directories)'";
      if (info.completes == Completes::kFile) values = " -rF";
      if (entry->is_positional()) {
        if (!values.empty()) text += fmt::format("complete -c verbatim {}{}\n", condition, values);
      } else if (entry->kind == Entry::Kind::kOverrides) {
        for (const std::string& name : setting_names(*entry)) {
          text += fmt::format("complete -c verbatim {} -a {}\n", condition, quote("--" + name + "="));
        }
      } else {
        text += fmt::format("complete -c verbatim {}", condition);
        for (const std::string& name : entry->names) {
          text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
        }
        text += fmt::format("{} -d {}\n",
                            !entry->takes_value() ? ""
                            : values == " -rF"    ? values
                                                  : " -x" + values,
                            quote(info.help));
      }
    }
  }
  return text;
}

}  // namespace

std::string completion_script(Shell shell, const std::vector<CommandDefinition>& commands) {
  switch (shell) {
    case Shell::kBash:
      return bash_script(commands);
    case Shell::kZsh:
      return zsh_script(commands);
    case Shell::kFish:
      return fish_script(commands);
  }
  return "";
}

}  // namespace verbatim
