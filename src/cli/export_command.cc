#include <memory>

#include "cli/command.h"
#include "cli/model_argument.h"
#include "pretrained/llama_export.h"
#include "pretrained/tfree_checkpoint.h"

namespace verbatim {
namespace {

struct ExportFlags {
  std::filesystem::path model;
  std::filesystem::path out;
  LlamaExportOptions options;
};

int run_export(ExportFlags flags, CommandContext& context) {
  const ModelArgument argument = open_model(flags.model);
  if (argument.model->settings().family == "tfree") {
    export_tfree(*argument.model, flags.out);
    context.output.record(Record()
                              .set("out", flags.out.string())
                              .set("architecture", "T-Free")
                              .set("family", "tfree")
                              .set("parameters", argument.model->parameter_count()));
    return 0;
  }
  const LlamaExport written = export_llama(*argument.model, flags.out, flags.options);
  context.output.record(Record()
                            .set("out", flags.out.string())
                            .set("architecture", written.architecture)
                            .set("family", argument.model->settings().family)
                            .set("parameters", written.parameters)
                            .set("dtype", flags.options.dtype)
                            .set("positions", written.positions)
                            .set("tokenizer", written.tokenizer_file));
  return 0;
}

}  // namespace

CommandDefinition export_command() {
  auto flags = std::make_shared<ExportFlags>();
  CommandDefinition command{
      .name = "export",
      .usage = "MODEL --out DIR",
      .examples = {{"verbatim export run/ --out llama-folder", "for programs that read Llama checkpoints"},
                   {"verbatim export run/ --out llama-folder --dtype bfloat16", "half the size"}},
      .notes =
          "Writes config.json, model.safetensors, the tokenizer and what else such folders hold, under Llama's names. "
          "Models of family token, and of family byte without n-grams, have this shape; with an attention window they "
          "become Mistral's. A model of family tfree with encoder.mode = \"strict\" becomes a T-Free checkpoint. The "
          "folder appears when everything is written, or not at all."};
  OptionSet& options = command.options;
  options.positional("MODEL", flags->model,
                     {.help = "model folder or run folder", .completes = Completes::kFolder, .required = true});
  options.option("-o,--out", flags->out,
                 {.help = "folder to create", .placeholder = "DIR", .completes = Completes::kFolder, .required = true});
  options.option("--dtype", flags->options.dtype,
                 {.help = "type of the stored weights", .choices = {"float32", "bfloat16", "float16"}});
  options.option("--positions", flags->options.positions,
                 {.help = "longest text that other programs may feed (max_position_embeddings)",
                  .unit = "rows",
                  .default_text = "of training where known, else 2048",
                  .minimum = 1,
                  .maximum = 1 << 30});
  command.run = [flags](CommandContext& context) { return run_export(*flags, context); };
  return command;
}

}  // namespace verbatim
