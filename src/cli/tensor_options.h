#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/what_if.h"
#include "generate/generate_options.h"
#include "pretrained/llama_options.h"

// The words that the commands of libverbatim_tensor.so take, in the program itself: their help needs no LibTorch. What
// they do with them is in NAME_command.cc.
namespace verbatim {

struct TrainFlags {
  std::filesystem::path config;
  std::filesystem::path data;
  std::filesystem::path out;
  std::vector<std::string> overrides;
  bool dry_run = false;
};

struct EvalFlags {
  std::filesystem::path model;
  std::string data;
  std::vector<std::string> suites;
  std::string precision = "float32";
  std::string device = "auto";
  std::optional<int64_t> window_bytes;
  int64_t stride_bytes = 0;
  std::optional<int64_t> batch_bytes;
  int64_t max_bytes = 0;
};

struct GenerateFlags {
  std::filesystem::path model;
  std::optional<std::string> prompt;
  std::optional<std::string> file;
  GenerateOptions generate;
  std::optional<int64_t> seed;
  std::optional<int64_t> context_bytes;
  bool display_prompt = true;
  bool chat = false;
  std::string system;
  std::string chat_template = "auto";
  std::string draft;
  std::string draft_text;
};

struct EncodeFlags {
  std::filesystem::path model;
  std::string text = "-";
  std::filesystem::path file;
  std::filesystem::path html;
  std::optional<int64_t> level;
  bool bytes = false;
  bool table = false;
};

struct InspectFlags {
  std::filesystem::path model;
  std::vector<std::string> overrides;
  std::string data;
  std::string embeddings;
  int64_t points = 1500;
  WhatIfFlags what_if;  // for the help; answered in what_if.cc
};

struct ImportFlags {
  std::filesystem::path source;
  std::filesystem::path out;
  LlamaImportOptions options;
};

struct ExportFlags {
  std::filesystem::path model;
  std::filesystem::path out;
  LlamaExportOptions options;
};

// What a command does with its words; nothing where only its help is wanted.
template <class Flags>
using RunWith = std::function<int(const Flags&, CommandContext&)>;

// `reference` gives the settings that --help-all shows.
CommandDefinition define_train(RunWith<TrainFlags> run, std::function<std::string()> reference);
CommandDefinition define_eval(RunWith<EvalFlags> run);
CommandDefinition define_generate(RunWith<GenerateFlags> run);
CommandDefinition define_encode(RunWith<EncodeFlags> run);
CommandDefinition define_inspect(RunWith<InspectFlags> run);
CommandDefinition define_import(RunWith<ImportFlags> run);
CommandDefinition define_export(RunWith<ExportFlags> run);

// The commands above without anything to run: for --help.
[[nodiscard]] const std::vector<NamedMaker>& tensor_command_helps();

}  // namespace verbatim
