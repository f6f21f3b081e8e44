#include "cli/tensor_options.h"

#include <memory>
#include <utility>

namespace verbatim {
namespace {

template <class Flags>
std::function<int(CommandContext&)> run_with(RunWith<Flags> run, std::shared_ptr<Flags> flags) {
  return [run = std::move(run), flags = std::move(flags)](CommandContext& context) { return run(*flags, context); };
}

}  // namespace

CommandDefinition define_train(RunWith<TrainFlags> run, std::function<std::string()> reference) {
  auto flags = std::make_shared<TrainFlags>();
  CommandDefinition command{
      .name = "train",
      .summary = "trains a model on prepared text; the same command resumes",
      .usage = "CONFIG.toml|MODEL --data DIR --out RUN [--section.key=value]...",
      .examples = {
          {"verbatim train configs/debug/patch-space.toml --data data --out runs/first", "seconds, to see it work"},
          {"verbatim train configs/patch-space-small.toml --data data --out runs/space --train.max_seconds=600",
           "ten minutes"},
          {"verbatim train configs/patch-space-small.toml --data data --out runs/space --dry-run",
           "settings, parameters and memory only"}}};
  command.options.positional(
      "CONFIG.toml", flags->config,
      {.help = "settings of the run; or a model to go on with: its settings, and its weights (train.from)",
       .completes = Completes::kFile,
       .required = true});
  command.options.option("--data", flags->data,
                         {.help = "folder made by `verbatim prepare`",
                          .placeholder = "DIR",
                          .completes = Completes::kFolder,
                          .required = true});
  command.options.option("-o,--out", flags->out,
                         {.help = "run folder; resumed when it holds a checkpoint",
                          .placeholder = "RUN",
                          .completes = Completes::kFolder,
                          .required = true});
  command.options.flag("--dry-run", flags->dry_run,
                       {.help = "print the final settings, parameters and memory, and stop"});
  command.options.overrides(flags->overrides, std::move(reference));
  command.run = run_with(std::move(run), flags);
  return command;
}

CommandDefinition define_eval(RunWith<EvalFlags> run) {
  auto flags = std::make_shared<EvalFlags>();
  CommandDefinition command{
      .name = "eval",
      .usage = "MODEL --data PATH [--suite NAME]",
      .examples = {{"verbatim eval run/ --data data/", "bits per byte of the held-out part of a prepared folder"},
                   {"verbatim eval run/ --data letter.txt --json", "of any text, for other programs"},
                   {"verbatim eval run/ --data data/ --suite speed", "bytes/s of evaluation and generation"},
                   {"verbatim eval tokenizer.json --data letter.txt --suite fertility",
                    "positions per word, by script"}},
      .notes =
          "Every byte of every document is scored exactly once, document ends included. A window scores its last "
          "quarter after three quarters of context (the first window of a document scores all of it); --stride "
          "changes that. Bits per byte are total bits over the bytes of the original text. The suites fertility and "
          "duplicates "
          "look at the cutting of text and at vocabularies only: for them MODEL may also be a CONFIG.toml, a "
          "tokenizer.json or a SentencePiece .model."};
  OptionSet& options = command.options;
  options.positional("MODEL", flags->model,
                     {.help = "model folder or run folder", .completes = Completes::kFolder, .required = true});
  options.option("--data", flags->data,
                 {.help = "prepared folder (DIR, DIR:train), memory map, text file or folder of texts",
                  .placeholder = "PATH",
                  .completes = Completes::kFile});
  options.option("--suite", flags->suites,
                 {.help = "what to measure; may be given several times",
                  .default_text = "likelihood",
                  .choices = {"likelihood", "reconstruction", "speed", "fertility", "duplicates"}});
  options.option("--window", flags->window_bytes,
                 {.help = "text that the model sees at once",
                  .unit = "bytes",
                  .default_text = "window of training",
                  .minimum = 2});
  options.option("--stride", flags->stride_bytes,
                 {.help = "from one window to the next; 0: a quarter of the window", .unit = "bytes", .minimum = 0});
  options.option(
      "--batch", flags->batch_bytes,
      {.help = "text computed together", .unit = "bytes", .default_text = "batch of training", .minimum = 1});
  options.option("--max-bytes", flags->max_bytes,
                 {.help = "score only the beginning of the data; 0: all of it", .unit = "bytes", .minimum = 0});
  options.option("--precision", flags->precision, {.help = "type of activations", .choices = {"float32", "bfloat16"}});
  options.option("--device", flags->device, {.help = "where to compute", .choices = {"auto", "cpu", "cuda"}});
  command.run = run_with(std::move(run), flags);
  return command;
}

CommandDefinition define_generate(RunWith<GenerateFlags> run) {
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
                 {.help = "how many choices are recent", .minimum = 0, .maximum = 1e9, .advanced = true});
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
  command.run = run_with(std::move(run), flags);
  return command;
}

CommandDefinition define_encode(RunWith<EncodeFlags> run) {
  auto flags = std::make_shared<EncodeFlags>();
  CommandDefinition command{
      .name = "encode",
      .usage = "MODEL|CONFIG.toml [TEXT|-] [--file FILE] [--html OUT.html]",
      .examples = {{"verbatim encode run/ \"The cat sat on the mat.\"", "the parts of a text and what they cost"},
                   {"verbatim encode run/ --file letter.txt --html letter.html", "a page to look at in a browser"},
                   {"verbatim encode configs/patch-space-small.toml \"The cat sat.\"", "the parts, without a model"},
                   {"verbatim encode run/ - --json < letter.txt", "one object for each part"}},
      .notes =
          "Models with patches show the patches of their first level, those with several levels all of them, others "
          "their positions. The bits of all parts together are the cost of the text without its end. A page shows all "
          "of it at once: colour by bits per byte, boundaries of each level and how likely they were."};
  OptionSet& options = command.options;
  options.option("--level", flags->level,
                 {.help = "show the patches of this level, 1 for the first", .minimum = 1, .maximum = 64});
  options.flag("--bytes", flags->bytes,
               {.help = "show each byte (or token), with its boundary probability for patches"});
  options.flag("--table", flags->table, {.help = "one line for each part"});
  options.option("--file", flags->file,
                 {.help = "read the text from a file (any bytes)", .completes = Completes::kFile});
  options.option(
      "--html", flags->html,
      {.help = "write a page to look at in a browser", .placeholder = "OUT.html", .completes = Completes::kFile});
  options.positional(
      "MODEL", flags->model,
      {.help = "model folder, run folder or settings file", .completes = Completes::kFile, .required = true});
  options.positional("TEXT", flags->text, {.help = "the text, or with --html the name of a file; - reads stdin"});
  command.run = run_with(std::move(run), flags);
  return command;
}

CommandDefinition define_inspect(RunWith<InspectFlags> run) {
  auto flags = std::make_shared<InspectFlags>();
  CommandDefinition command{
      .name = "inspect",
      .usage = "MODEL|CONFIG.toml",
      .examples = {
          {"verbatim inspect run/", "structure, parameters, memory, cost per byte"},
          {"verbatim inspect configs/patch-space-small.toml --backbone.inner.layers=6", "before training"},
          {"verbatim inspect autoencoder/ --data texts/ --embeddings page.html", "vectors of blocks as a picture"},
          {"verbatim inspect --what-if llama3-8b --encoder tokun:4x4x4", "a known model without its vocabulary"}}};
  command.options.positional(
      "MODEL", flags->model,
      {.help = "model folder, run folder or settings file", .completes = Completes::kFile, .required = true});
  command.options.option(
      "--data", flags->data,
      {.help = "text on which costs are counted", .placeholder = "PATH", .completes = Completes::kFile});
  command.options.option("--embeddings", flags->embeddings,
                         {.help = "family tokun: write a page that shows the vectors of the blocks of --data",
                          .placeholder = "FILE",
                          .completes = Completes::kFile});
  command.options.option(
      "--points", flags->points,
      {.help = "blocks on that page", .unit = "blocks", .default_text = "1500", .minimum = 2, .maximum = 5000});
  command.options.overrides(flags->overrides);
  add_what_if_options(command.options, flags->what_if);
  command.run = run_with(std::move(run), flags);
  return command;
}

CommandDefinition define_import(RunWith<ImportFlags> run) {
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
          "with num_tokens, dim and max_seq_len a MEGABYTE. What cannot be carried over is refused by "
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
  command.run = run_with(std::move(run), flags);
  return command;
}

CommandDefinition define_export(RunWith<ExportFlags> run) {
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
  command.run = run_with(std::move(run), flags);
  return command;
}

const std::vector<NamedMaker>& tensor_command_helps() {
  // The settings of `train` are known to the library only, which answers --help-all.
  static const std::vector<NamedMaker> makers = {
      {"train", [] { return define_train({}, [] { return std::string(); }); }},
      {"eval", [] { return define_eval({}); }},
      {"generate", [] { return define_generate({}); }},
      {"encode", [] { return define_encode({}); }},
      {"inspect", [] { return define_inspect({}); }},
      {"import", [] { return define_import({}); }},
      {"export", [] { return define_export({}); }},
  };
  return makers;
}

}  // namespace verbatim
