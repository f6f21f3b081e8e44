#include <memory>

#include "cli/model_argument.h"
#include "cli/tensor_options.h"
#include "pretrained/llama_export.h"
#include "pretrained/tfree_checkpoint.h"

namespace verbatim {
namespace {

int run_export(const ExportFlags& flags, CommandContext& context) {
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

CommandDefinition export_command() { return define_export(run_export); }

}  // namespace verbatim
