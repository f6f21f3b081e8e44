#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <memory>
#include <random>

#include "base/error.h"
#include "base/file.h"
#include "base/text_format.h"
#include "cli/draft_argument.h"
#include "cli/interruption.h"
#include "cli/line_editor.h"
#include "cli/model_argument.h"
#include "cli/tensor_options.h"
#include "generate/chat.h"
#include "generate/generate.h"

namespace verbatim {
namespace {

uint64_t chosen_seed(const GenerateFlags& flags) {
  if (flags.seed.has_value()) return static_cast<uint64_t>(*flags.seed);
  constexpr uint32_t kShort = 0x7FFFFFFF;  // easy to type again
  return std::random_device()() & kShort;
}

std::string read_prompt_file(const std::string& name) {
  if (name != "-") return read_file(name);
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

Record record_of(const GeneratedText& text, const std::string& prompt, const GenerateResult& result, uint64_t seed) {
  Record record;
  record.set("prompt", prompt).set_text(text.text).set("finish", name_of(text.finish));
  if (!text.stop_string.empty()) record.set("stop", text.stop_string);
  record.set("generated_bytes", text.text.size()).set("positions", text.positions).set("seed", seed);
  record.set("replaced", text.replaced);
  record.set("prompt_bytes", result.prompt_bytes).set("prompt_seconds", result.prompt_seconds);
  record.set("seconds", result.seconds).set("bytes_per_second", result.bytes_per_second());
  record.set("passes", result.passes).set("guessed", result.guessed).set("kept", result.kept);
  return record;
}

// Numbers of a model over blocks that are no text.
void warn_of_replaced(int64_t replaced) {
  if (replaced == 0) return;
  spdlog::warn("{} of the characters that the model wrote {} no text and became U+FFFD", replaced,
               replaced == 1 ? "was" : "were");
}

// Generates from one prompt and writes the texts: as they come when there is one, one after the other otherwise.
void write_texts(const GenerateFlags& flags, LanguageModel& model, const std::string& prompt, uint64_t seed,
                 CommandContext& context) {
  GenerateOptions options = flags.generate;
  options.sampling.seed = seed;
  options.interrupted = &interruption_flag();
  const bool streams = options.samples == 1 && !context.output.is_json();
  const std::string shown_prompt = flags.display_prompt ? prompt : std::string();
  if (streams) {
    context.output.text(shown_prompt);
    context.output.flush();
    options.on_text = [&](size_t /*sample*/, std::string_view bytes) {
      context.output.text(bytes);
      context.output.flush();
      return true;
    };
  }
  // Made anew for each text: what is written must depend on nothing before it.
  const std::unique_ptr<Draft> draft = flags.draft.empty() ? nullptr : open_draft(flags.draft, flags.draft_text);
  options.draft = draft.get();
  const GenerateResult result = generate(model, {prompt}, options);
  const bool on_terminal = isatty(STDOUT_FILENO) != 0;
  int64_t replaced = 0;
  for (const GeneratedText& text : result.texts) {
    context.output.json(record_of(text, prompt, result, seed));
    replaced += text.replaced;
    if (!streams) context.output.text(shown_prompt + text.text);
    if (!streams || on_terminal) context.output.text(text.text.ends_with('\n') ? "" : "\n");
    if (!streams && &text != &result.texts.back()) context.output.text("---\n");
  }
  context.output.flush();
  spdlog::info("{} bytes in {} ({}), prompt of {} bytes in {}, seed {}", result.bytes, format_duration(result.seconds),
               format_rate(result.bytes_per_second()), result.prompt_bytes, format_duration(result.prompt_seconds),
               seed);
  warn_of_replaced(replaced);
  if (draft != nullptr) {
    spdlog::info("draft: {} passes over the weights, {} of {} guessed bytes kept", result.passes, result.kept,
                 result.guessed);
  }
  throw_if_interrupted();
}

void talk(const GenerateFlags& flags, LanguageModel& model, CommandContext& context) {
  LineEditor editor(state_file("generate_history"));
  context.output.text(
      "A line is the beginning of a text that the model goes on with; an empty one starts a new text. "
      "Ctrl-D ends.\n");
  context.output.flush();
  while (const std::optional<std::string> line = editor.read_line("> ")) {
    write_texts(flags, model, *line, chosen_seed(flags), context);
  }
  context.output.text("\n");
}

GeneratedText write_answer(const GenerateFlags& flags, Chat& chat, const std::string& question,
                           CommandContext& context) {
  GenerateOptions options = flags.generate;
  const uint64_t seed = chosen_seed(flags);
  options.sampling.seed = seed;
  options.interrupted = &interruption_flag();
  bool at_start = true;
  if (!context.output.is_json()) {
    options.on_text = [&](size_t /*sample*/, std::string_view bytes) {
      // The blank before an answer belongs to the template.
      if (at_start && bytes.starts_with(' ')) bytes.remove_prefix(1);
      at_start = false;
      context.output.text(bytes);
      context.output.flush();
      return true;
    };
  }
  GeneratedText answer = chat.answer(question, options);
  context.output.json(Record()
                          .set("question", question)
                          .set_text(chat.turns().back().answer)
                          .set("finish", name_of(answer.finish))
                          .set("turn", chat.turns().size())
                          .set("replaced", answer.replaced)
                          .set("seed", seed));
  context.output.text("\n");
  context.output.flush();
  warn_of_replaced(answer.replaced);
  return answer;
}

// One answer to -p, or a conversation on the terminal or line by line from stdin.
void run_chat(const GenerateFlags& flags, LanguageModel& model, CommandContext& context) {
  const ChatTemplate chat_template = flags.chat_template == "tfree"   ? ChatTemplate::kTFree
                                     : flags.chat_template == "plain" ? ChatTemplate::kPlain
                                                                      : likely_chat_template(model.segmenter());
  Chat chat(model, chat_template, flags.system);
  if (flags.prompt.has_value()) {
    (void)write_answer(flags, chat, *flags.prompt, context);
    throw_if_interrupted();
    return;
  }
  const bool interactive = isatty(STDIN_FILENO) != 0;
  if (interactive) {
    context.output.text("A line is what you say. RESET begins a new conversation, STOP or Ctrl-D ends.\n");
    context.output.flush();
  }
  LineEditor editor(state_file("chat_history"));
  while (const std::optional<std::string> line = editor.read_line(interactive ? "> " : "")) {
    if (*line == "STOP") break;
    if (*line == "RESET") {
      chat.reset();
    } else if (!line->empty()) {
      (void)write_answer(flags, chat, *line, context);
      throw_if_interrupted();
    }
  }
  if (interactive) context.output.text("\n");
}

int run_generate(GenerateFlags flags, CommandContext& context) {
  if (!flags.draft_text.empty() && flags.draft != "ngram") throw UsageError("--draft-text goes with --draft ngram");
  if (flags.prompt.has_value() && flags.file.has_value()) {
    throw UsageError("-p and -f both give the prompt; use one of them");
  }
  flags.generate.sampling.validate();
  const ModelArgument argument = open_model(flags.model);
  check_writes(*argument.model);
  flags.generate.context_bytes = flags.context_bytes.value_or(argument.training_window.value_or(0));
  if (flags.chat) {
    if (flags.file.has_value()) throw UsageError("--chat takes its question from -p, the terminal or stdin, not -f");
    run_chat(flags, *argument.model, context);
    return 0;
  }
  const bool interactive = !flags.prompt.has_value() && !flags.file.has_value() && isatty(STDIN_FILENO) != 0;
  if (interactive) {
    talk(flags, *argument.model, context);
    return 0;
  }
  std::string prompt = flags.prompt.value_or("");
  if (flags.file.has_value()) prompt = read_prompt_file(*flags.file);
  write_texts(flags, *argument.model, prompt, chosen_seed(flags), context);
  return 0;
}

}  // namespace

CommandDefinition generate_command() { return define_generate(run_generate); }

}  // namespace verbatim
