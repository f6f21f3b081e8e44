#include <memory>

#include "cli/command.h"
#include "pretrained/hierarchy_checkpoint.h"
#include "pretrained/llama_import.h"
#include "pretrained/tfree_checkpoint.h"

namespace verbatim {
namespace {

struct ImportFlags {
  std::filesystem::path source;
  std::filesystem::path out;
  LlamaImportOptions options;
};

Record record_of(const ModelSettings& settings, const LanguageModel& model, const std::filesystem::path& out) {
  const StackSettings& stack = settings.backbone.stack;
  Record record;
  record.set("out", out.string()).set("family", settings.family).set("parameters", model.parameter_count());
  return record.set("layers", stack.layers).set("width", stack.width);
}

int import_tfree_folder(const ImportFlags& flags, CommandContext& context) {
  const TfreeImport import = import_tfree(flags.source, flags.out);
  context.output.record(record_of(import.model->settings(), *import.model, flags.out)
                            .set("architecture", "T-Free")
                            .set("symbols", import.model->encoder().table().size(0))
                            .set("stored_types", import.stored_types)
                            .set("dictionary_words", import.words));
  return 0;
}

int import_hierarchy_folder(const ImportFlags& flags, CommandContext& context) {
  const HierarchyImport import = import_hierarchy(flags.source, flags.out);
  Record record;
  record.set("out", flags.out.string())
      .set("family", import.model->settings().family)
      .set("parameters", import.model->parameter_count())
      .set("architecture", import.architecture)
      .set("symbols", import.model->encoder().table().size(0))
      .set("stored_types", import.stored_types);
  context.output.record(record);
  return 0;
}

int run_import(const ImportFlags& flags, CommandContext& context) {
  if (hierarchy_kind(flags.source) != HierarchyKind::kNone) return import_hierarchy_folder(flags, context);
  if (is_tfree_checkpoint(flags.source)) return import_tfree_folder(flags, context);
  const LlamaImport import = import_llama(flags.source, flags.out, flags.options);
  context.output.record(record_of(import.model->settings(), *import.model, flags.out)
                            .set("architecture", import.architecture)
                            .set("symbols", import.model->encoder().table().size(0))
                            .set("stored_types", import.stored_types)
                            .set("tokenizer", import.tokenizer_file));
  return 0;
}

}  // namespace

CommandDefinition import_command() {
  auto flags = std::make_shared<ImportFlags>();
  CommandDefinition command{
      .name = "import",
      .usage = "SOURCE --out DIR",
      .examples = {{"verbatim import llama-folder/ --out model", "config.json, safetensors and tokenizer of a Llama"},
                   {"verbatim generate model -p \"Once upon a time\"", "and write text with it"}},
      .notes =
          "SOURCE is a folder as published on model hubs, of the architecture LlamaForCausalLM or MistralForCausalLM: "
          "config.json, model.safetensors (one file or shards; F32, F16 or BF16) and tokenizer.json or a SentencePiece "
          "*.model. It becomes a model of family token with float32 weights. A folder with transformer/transformer.pt "
          "and the configurations beside it is a T-Free checkpoint and becomes a model of family tfree; its pickles "
          "are "
          "read as data, nothing in them is executed. A config.json with arch_layout beside one *.pt is an H-Net, one "
          "with d_model and n_layer (or model_type mamba, mamba2) beside pytorch_model.bin or safetensors a Mamba; "
          "over "
          "256 symbols they read bytes. One with d_local is a SpaceByte (patch_method) or its MegaByte (patch_size), "
          "one "
          "with num_tokens, dim and max_seq_len a MEGABYTE; their config.json holds the names of their programs, "
          "beside "
          "model.safetensors. What cannot be carried over is refused by "
          "name. The folder appears when everything is written, or not at all."};
  command.options.positional("SOURCE", flags->source,
                             {.help = "folder of the checkpoint", .completes = Completes::kFolder, .required = true});
  command.options.option(
      "-o,--out", flags->out,
      {.help = "folder to create", .placeholder = "DIR", .completes = Completes::kFolder, .required = true});
  command.options.option(
      "--end-id", flags->options.end_id,
      {.help = "id that ends a document, for checkpoints that were trained on another one than they say",
       .placeholder = "ID",
       .default_text = "eos_token_id of config.json",
       .minimum = 0,
       .maximum = 1 << 24});
  command.run = [flags](CommandContext& context) { return run_import(*flags, context); };
  return command;
}

}  // namespace verbatim
