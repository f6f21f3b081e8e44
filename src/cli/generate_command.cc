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
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/line_editor.h"
#include "cli/model_argument.h"
#include "generate/chat.h"
#include "generate/generate.h"

namespace verbatim {
namespace {

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
  record.set("prompt_bytes", result.prompt_bytes).set("prompt_seconds", result.prompt_seconds);
  record.set("seconds", result.seconds).set("bytes_per_second", result.bytes_per_second());
  record.set("passes", result.passes).set("guessed", result.guessed).set("kept", result.kept);
  return record;
}

// Made anew for each text: what is written must depend on nothing before it.
std::unique_ptr<Draft> make_draft(const GenerateFlags& flags) {
  if (flags.draft.empty()) return nullptr;
  if (flags.draft == "ngram") {
    return std::make_unique<NgramDraft>(flags.draft_text.empty() ? std::string() : read_file(flags.draft_text));
  }
  return std::make_unique<ModelDraft>(open_model(flags.draft).model);
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
  const std::unique_ptr<Draft> draft = make_draft(flags);
  options.draft = draft.get();
  const GenerateResult result = generate(model, {prompt}, options);
  const bool on_terminal = isatty(STDOUT_FILENO) != 0;
  for (const GeneratedText& text : result.texts) {
    context.output.json(record_of(text, prompt, result, seed));
    if (!streams) context.output.text(shown_prompt + text.text);
    if (!streams || on_terminal) context.output.text(text.text.ends_with('\n') ? "" : "\n");
    if (!streams && &text != &result.texts.back()) context.output.text("---\n");
  }
  context.output.flush();
  spdlog::info("{} bytes in {} ({}), prompt of {} bytes in {}, seed {}", result.bytes, format_duration(result.seconds),
               format_rate(result.bytes_per_second()), result.prompt_bytes, format_duration(result.prompt_seconds),
               seed);
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
                          .set("seed", seed));
  context.output.text("\n");
  context.output.flush();
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

CommandDefinition generate_command() {
  auto flags = std::make_shared<GenerateFlags>();
  CommandDefinition command{
      .name = "generate",
      .usage = "MODEL [-p TEXT | -f FILE] [-n BYTES]",
      .examples = {{"verbatim generate run/ -p \"Once upon a time\" -n 300", "goes on with a text"},
                   {"verbatim generate run/ --temp 0 < /dev/null", "the most likely new text"},
                   {"verbatim generate run/", "asks for beginnings, on a terminal"},
                   {"verbatim generate run/ --chat -p \"What is a word?\"", "one answer of a model for conversations"},
                   {"echo \"In the beginning\" | verbatim generate run/ -f - --json", "for other programs"}},
      .notes =
          "The filters work on the probabilities at temperature 1, in the order repetition penalty, top-k, top-p, "
          "min-p; the temperature is applied to what is left. Without -s every call writes another text; the seed "
          "is logged, so that a text can be had again."};
  SamplingOptions& sampling = flags->generate.sampling;
  OptionSet& options = command.options;
  options.positional("MODEL", flags->model,
                     {.help = "model folder or run folder", .completes = Completes::kFolder, .required = true});
  options.option("-p,--prompt", flags->prompt, {.help = "text to go on with; none: a new text", .placeholder = "TEXT"});
  options.option("-f,--file", flags->file,
                 {.help = "file with the text to go on with; - reads stdin",
                  .placeholder = "FILE",
                  .completes = Completes::kFile});
  options.option("-n,--bytes", flags->generate.max_bytes,
                 {.help = "longest text; 0: until the model ends it", .unit = "bytes", .minimum = 0});
  options.option("--stop", flags->generate.stop,
                 {.help = "ends the text before this string; may be given several times", .placeholder = "TEXT"});
  options.option("--samples", flags->generate.samples, {.help = "texts to write", .minimum = 1, .maximum = 65536});
  options.flag("--display-prompt,--no-display-prompt", flags->display_prompt,
               {.help = "whether the prompt is written before its text"});
  options.flag("--chat", flags->chat,
               {.help = "answers -p, or lines from the terminal or stdin, as a model trained on conversations"});
  options.option("--system", flags->system,
                 {.help = "what the conversation begins with", .placeholder = "TEXT", .advanced = true});
  options.option("--chat-template", flags->chat_template,
                 {.help = "how the model was trained (prepare --chat-template)",
                  .choices = {"auto", "tfree", "plain"},
                  .advanced = true});
  options.group("Sampling");
  options.option("--temp", sampling.temperature,
                 {.help = "temperature; 0: always the most likely choice", .minimum = 0});
  options.option("--top-k", sampling.top_k, {.help = "keep the most likely choices; 0: all", .minimum = 0});
  options.option("--top-p", sampling.top_p,
                 {.help = "keep the fewest choices that reach this probability; 1: all", .minimum = 0, .maximum = 1});
  options.option("--min-p", sampling.min_p,
                 {.help = "drop choices below this share of the most likely one", .minimum = 0, .maximum = 1});
  options.option("--repeat-penalty", sampling.repetition_penalty,
                 {.help = "lowers scores of recent choices; 1: off", .minimum = 0});
  options.option("--repeat-last-n", sampling.repetition_window,
                 {.help = "how many choices are recent", .minimum = 0, .maximum = 1e9});
  options.option("-s,--seed", flags->seed,
                 {.help = "of the random numbers", .default_text = "another one each time", .minimum = 0});
  options.group("Memory and speed");
  options.option("-c,--context", flags->context_bytes,
                 {.help = "bytes of context; when full, its last half is read again; 0: no limit",
                  .unit = "bytes",
                  .default_text = "window of training",
                  .minimum = 0});
  options.option("--draft", flags->draft,
                 {.help = "guesses bytes, read in one pass; same text",
                  .placeholder = "ngram|MODEL",
                  .completes = Completes::kFolder});
  options.option("--draft-text", flags->draft_text,
                 {.help = "text that the draft ngram learns from beforehand",
                  .placeholder = "FILE",
                  .completes = Completes::kFile,
                  .advanced = true});
  command.run = [flags](CommandContext& context) { return run_generate(*flags, context); };
  return command;
}

}  // namespace verbatim
