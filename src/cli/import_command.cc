#include <memory>

#include "cli/tensor_options.h"
#include "pretrained/hierarchy_checkpoint.h"
#include "pretrained/llama_import.h"
#include "pretrained/tfree_checkpoint.h"

namespace verbatim {
namespace {

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

CommandDefinition import_command() { return define_import(run_import); }

}  // namespace verbatim
