#include "cli/completion.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/tensor_library.h"

namespace verbatim {
namespace {

struct CompletionOptions {
  std::string shell;
};

int run_completion(const CompletionOptions& options, CommandContext& context) {
  // The tensor library knows the options of all commands; the program alone those of its own.
  if (tensor_definitions().empty()) {
    try {
      return run_tensor_command("completion", {options.shell});
    } catch (const InputError&) {
      // No library: completion of what there is.
    }
  }
  CommonOptions common;
  std::vector<CommandDefinition> definitions;
  for (const CommandRow& row : commands()) {
    for (const std::vector<NamedMaker>* makers : {&plain_definitions(), &std::as_const(tensor_definitions())}) {
      for (const NamedMaker& maker : *makers) {
        if (maker.name == row.name) definitions.push_back(complete_definition(maker.make, common));
      }
    }
  }
  const Shell shell = options.shell == "bash" ? Shell::kBash : options.shell == "zsh" ? Shell::kZsh : Shell::kFish;
  context.output.text(completion_script(shell, definitions));
  return 0;
}

}  // namespace

CommandDefinition completion_command() {
  auto options = std::make_shared<CompletionOptions>();
  CommandDefinition command{
      .name = "completion",
      .usage = "SHELL",
      .examples = {{"source <(verbatim completion bash)", "for this shell"},
                   {"verbatim completion fish > ~/.config/fish/completions/verbatim.fish", "for good"}},
      .has_json = false};
  command.options.positional("SHELL", options->shell,
                             {.help = "which shell", .choices = {"bash", "zsh", "fish"}, .required = true});
  command.run = [options](CommandContext& context) { return run_completion(*options, context); };
  return command;
}

}  // namespace verbatim
