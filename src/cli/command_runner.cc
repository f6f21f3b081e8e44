#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <new>
#include <system_error>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/interruption.h"
#include "cli/logging.h"
#include "cli/terminal.h"

namespace verbatim {
namespace {

void add_common_options(CommandDefinition& command, CommonOptions& common) {
  command.options.group("Common options");
  if (command.has_json) {
    command.options.flag("--json", common.json, {.help = "print results as JSON, one object per line"});
  }
  const CommandRow* row = find_command(command.name);
  if (row != nullptr && row->needs_tensors) {
    command.options.option(
        "-t,--threads", common.num_threads,
        {.help = "threads for computing", .default_text = "all cores", .minimum = 0, .maximum = 4096});
  }
  command.options.counter("-v,--verbose", common.verbosity, {.help = "log more; -vv for everything"});
  command.options.option("--log-file", common.log_file,
                         {.help = "write the log here as well", .completes = Completes::kFile});
  command.options.option("--log-colors", common.log_colors,
                         {.help = "colours on stderr", .placeholder = "WHEN", .choices = {"auto", "always", "never"}});
  command.options.flag("-h,--help", common.help, {.help = "examples and the usual options"});
  command.options.flag("--help-all", common.help_all, {.help = "all options"});
}

// Whether a flag stands among the words before "--". Asked before parsing, so that --help works beside mistakes.
bool has_word(const std::vector<std::string>& arguments, std::string_view word) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  return std::find(arguments.begin(), end, word) != end;
}

}  // namespace

bool asks_for_help(const std::vector<std::string>& arguments) {
  return (has_word(arguments, "--help") || has_word(arguments, "-h")) && !has_word(arguments, "--help-all");
}

CommandDefinition complete_definition(DefinitionMaker make, CommonOptions& common) {
  CommandDefinition command = make();
  if (const CommandRow* row = find_command(command.name); row != nullptr && command.summary.empty()) {
    command.summary = row->summary;
  }
  add_common_options(command, common);
  return command;
}

int run_command(DefinitionMaker make, const std::vector<std::string>& arguments,
                void (*prepare)(const CommonOptions&)) {
  std::string name;
  try {
    CommonOptions common;
    CommandDefinition command = complete_definition(make, common);
    name = command.name;
    Output help_output(Output::Format::kText);
    if (has_word(arguments, "--help-all")) {
      help_output.text(command_help(command, HelpExtent::kAll));
      help_output.flush();
      return 0;
    }
    if (asks_for_help(arguments)) {
      help_output.text(command_help(command, HelpExtent::kScreen));
      help_output.flush();
      return 0;
    }
    command.options.parse(arguments);
    set_up_logging(name, common);
    install_interruption_handlers();
    if (prepare != nullptr) prepare(common);
    Output output(common.json ? Output::Format::kJson : Output::Format::kText);
    CommandContext context{output, common};
    const int code = command.run(context);
    output.flush();
    return code;
  } catch (...) {
    return report_exception(name);
  }
}

int report_exception(std::string_view command) {
  clear_live_line();
  // What the command wrote before it failed stays in front of the message when both go to one terminal.
  std::fflush(stdout);
  const std::string program = command.empty() ? "verbatim" : fmt::format("verbatim {}", command);
  const auto report = [&](std::string_view message) {
    // Through the log when it is set up, which brings the message into the log file as well.
    if (spdlog::default_logger_raw() != nullptr && spdlog::default_logger_raw()->name() == "verbatim") {
      spdlog::error("{}", message);
    } else {
      write_error_line(fmt::format("{}: error: {}", program, message));
    }
  };
  try {
    throw;
  } catch (const UsageError& error) {
    report(error.what());
    write_error_line(fmt::format("Try '{} --help'.", program));
    return 2;
  } catch (const InputError& error) {
    report(error.what());
    return 2;
  } catch (const Interrupted&) {
    report("interrupted");
    return 130;
  } catch (const InternalError& error) {
    report(fmt::format("{} (this is a mistake in verbatim; please report it)", error.what()));
    return 1;
  } catch (const std::bad_alloc&) {
    report("not enough memory");
    return 1;
  } catch (const std::exception& error) {
    if (interrupted()) {  // a system call that a signal ended
      report("interrupted");
      return 130;
    }
    report(error.what());
    return 1;
  } catch (...) {
    report("unknown failure");
    return 1;
  }
}

}  // namespace verbatim
