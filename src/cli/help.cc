#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/option_entry.h"

namespace verbatim {
namespace {

using Entry = OptionSet::Entry;

constexpr size_t kColumns = 100;
constexpr size_t kMaxLeftWidth = 30;
constexpr std::string_view kCommonGroup = "Common options";

struct Row {
  std::string left, right;
};

// Rows in two columns; long texts go on below their beginning.
std::string format_rows(const std::vector<Row>& rows) {
  size_t width = 0;
  for (const Row& row : rows) {
    if (row.left.size() <= kMaxLeftWidth) width = std::max(width, row.left.size());
  }
  std::string text;
  for (const Row& row : rows) {
    text += fmt::format("  {:<{}}", row.left, width);
    size_t column = 2 + std::max(row.left.size(), width);
    const size_t indent = width + 4;
    if (row.left.size() > width && !row.right.empty()) {
      text += "\n" + std::string(indent - 2, ' ');
      column = indent - 2;
    }
    text += "  ";
    column += 2;
    for (size_t start = 0; start < row.right.size();) {
      const size_t end = std::min(row.right.find(' ', start), row.right.size());
      const size_t length = end - start;
      if (column + length > kColumns && column > indent) {
        while (text.ends_with(' ')) text.pop_back();
        text += "\n" + std::string(indent, ' ');
        column = indent;
      }
      text += row.right.substr(start, length) + " ";
      column += length + 1;
      start = end + 1;
    }
    while (text.ends_with(' ')) text.pop_back();
    text += '\n';
  }
  return text;
}

std::string left_column(const Entry& entry) {
  if (entry.kind == Entry::Kind::kPositional) return entry.names.front();
  if (entry.kind == Entry::Kind::kPositionalList) return entry.names.front() + "...";
  if (entry.kind == Entry::Kind::kOverrides) return "    --SECTION.KEY=VALUE";
  const bool has_short = !entry.names.front().starts_with("--");
  std::string text = (has_short ? "" : "    ") + fmt::format("{}", fmt::join(entry.names, ", "));
  if (entry.takes_value()) text += " " + entry.info.placeholder;
  return text;
}

std::string right_column(const Entry& entry) {
  const OptionInfo& info = entry.info;
  std::vector<std::string> notes;
  if (!info.unit.empty()) notes.push_back(info.unit);
  if (!info.choices.empty()) notes.push_back(fmt::format("one of {}", fmt::join(info.choices, ", ")));
  if (entry.kind == Entry::Kind::kList) notes.push_back("may be repeated");
  if (info.required && !entry.is_positional()) {
    notes.push_back("required");
  } else if (!info.default_text.empty()) {
    notes.push_back("default: " + info.default_text);
  }
  return info.help + (notes.empty() ? "" : fmt::format(" ({})", fmt::join(notes, "; ")));
}

std::string format_examples(const std::vector<CommandExample>& examples) {
  std::vector<Row> rows;
  size_t width = 0;
  for (const CommandExample& example : examples) width = std::max(width, example.line.size());
  if (width <= 60) {
    for (const CommandExample& example : examples) {
      rows.push_back({fmt::format("{:<{}}", example.line, width), example.meaning});
    }
    std::string text;
    for (const Row& row : rows) {
      text += fmt::format("  {}{}{}", row.left, row.right.empty() ? "" : "   ", row.right);
      while (text.ends_with(' ')) text.pop_back();
      text += '\n';
    }
    return text;
  }
  std::string text;
  for (const CommandExample& example : examples) {
    if (!example.meaning.empty()) text += fmt::format("  # {}\n", example.meaning);
    text += fmt::format("  {}\n", example.line);
  }
  return text;
}

}  // namespace

std::string program_help() {
  std::string text =
      "verbatim - language models that read and write text as it is written\n"
      "\n"
      "Examples:\n";
  std::vector<CommandExample> examples;
  const auto add = [&](std::string_view name, std::string line, std::string meaning) {
    if (find_command(name) != nullptr) examples.push_back({std::move(line), std::move(meaning)});
  };
  add("prepare", "verbatim prepare notes/ --out data", "text files into memory maps");
  add("train", "verbatim train configs/patch-space-small.toml --data data --out run", "train, or go on training");
  add("eval", "verbatim eval run --data data", "bits per byte");
  add("generate", "verbatim generate run -p \"Once upon a time\"", "write");
  if (examples.empty()) {
    for (const CommandRow& row : commands()) examples.push_back({fmt::format("verbatim {} --help", row.name), ""});
  }
  text += format_examples(examples) + "\nCommands:\n";
  std::vector<Row> rows;
  for (const CommandRow& row : commands()) rows.push_back({std::string(row.name), std::string(row.summary)});
  text += format_rows(rows);
  text +=
      "\n"
      "verbatim COMMAND --help    examples and options of a command\n"
      "verbatim --version         version, commit, compiler, LibTorch and BLAS\n"
      "\n"
      "Results go to stdout, logs and progress to stderr. Exit codes: 0 done, 1 failed, 2 bad usage, settings or\n"
      "input, 130 interrupted.\n";
  return text;
}

std::string command_help(const CommandDefinition& command, HelpExtent extent) {
  const bool is_all = extent == HelpExtent::kAll;
  std::string text = fmt::format("verbatim {} - {}\n\nExamples:\n", command.name, command.summary);
  text += format_examples(command.examples);
  text += fmt::format("\nUsage: verbatim {} {}{}[OPTIONS]\n", command.name, command.usage,
                      command.usage.empty() ? "" : " ");

  std::vector<std::pair<std::string, std::vector<Row>>> groups;
  size_t num_hidden = 0;
  const Entry* overrides = nullptr;
  for (const auto& entry : command.options.entries()) {
    if (entry->kind == Entry::Kind::kOverrides) overrides = entry.get();
    if (!is_all && (entry->info.advanced || entry->group == kCommonGroup)) {
      ++num_hidden;
      continue;
    }
    const std::string title = entry->is_positional() ? "Arguments" : entry->group;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& known) { return known.first == title; });
    if (group == groups.end()) group = groups.insert(groups.end(), {title, {}});
    group->second.push_back({left_column(*entry), right_column(*entry)});
  }
  for (const auto& [title, rows] : groups) text += fmt::format("\n{}:\n{}", title, format_rows(rows));

  if (is_all) {
    if (overrides != nullptr && overrides->reference) text += "\nSettings:\n" + overrides->reference();
    if (!command.notes.empty()) text += "\n" + command.notes + (command.notes.ends_with('\n') ? "" : "\n");
  } else if (num_hidden > 0) {
    text += fmt::format("\nverbatim {} --help-all lists {} more{}.\n", command.name, num_hidden,
                        overrides != nullptr && overrides->reference ? " and all settings" : "");
  }
  return text;
}

}  // namespace verbatim
