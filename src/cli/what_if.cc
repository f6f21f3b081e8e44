#include "cli/what_if.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "blocks/blocks.h"
#include "blocks/what_if.h"
#include "cli/interruption.h"
#include "corpus/corpus.h"
#include "text/utf8.h"
#include "tokenizers/tokenizer.h"

namespace verbatim {
namespace {

struct WhatIfCommandFlags {
  WhatIfFlags what_if;
  std::string data;
};

constexpr std::string_view kUsualEncoder = "tokun:4x4x4";

const std::string& encoder_of(const WhatIfFlags& flags) {
  static const std::string usual(kUsualEncoder);
  return flags.encoder.empty() ? usual : flags.encoder;
}

Chain parse_encoder(const std::string& encoder) {
  constexpr std::string_view kFamily = "tokun:";
  if (!encoder.starts_with(kFamily)) {
    throw UsageError(fmt::format("--encoder {}: expected tokun: and a chain, such as tokun:4x4x4", encoder));
  }
  return parse_chain(std::string_view(encoder).substr(kFamily.size()));
}

// "1,046,858,752"
std::string in_thousands(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t i = digits.size(); i > 3;) digits.insert(i -= 3, 1, ',');
  return digits;
}

// What positions a text has.
struct TextCounts {
  uint64_t bytes = 0;
  uint64_t characters = 0;
  uint64_t blocks = 0;
  std::optional<uint64_t> tokens;
};

TextCounts count_text(const WhatIfCommandFlags& flags, const Chain& chain) {
  const BlockCoder coder({.chain = chain});
  const std::shared_ptr<const Tokenizer> tokenizer =
      flags.what_if.tokenizer.empty() ? nullptr : Tokenizer::open(flags.what_if.tokenizer);
  TextCounts counts;
  const std::unique_ptr<DocumentSource> documents = open_documents(flags.data);
  for (uint64_t i = 0; i < documents->document_count(); ++i) {
    throw_if_interrupted();
    const std::string_view text = documents->document(i);
    counts.bytes += text.size();
    counts.characters += count_utf8_units(text);
    counts.blocks += coder.count(text);
    if (tokenizer != nullptr) counts.tokens = counts.tokens.value_or(0) + tokenizer->encode(text).ids.size();
  }
  return counts;
}

double ratio(uint64_t a, uint64_t b) { return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b); }

// Of the dense layers; attention to earlier positions is left out.
double multiplications_per_character(const LanguageModelSize& size, uint64_t positions, uint64_t characters) {
  return static_cast<double>(size.multiplications()) * ratio(positions, characters);
}

Record record_of(const LanguageModelSize& size) {
  Record record;
  record.set("embedding_parameters", size.embedding).set("layers_parameters", size.layers);
  record.set("last_norm_parameters", size.last_norm).set("head_parameters", size.head);
  record.set("parameters", size.total());
  record.set("embedding_multiplications_per_position", size.embedding_multiplications);
  record.set("layers_multiplications_per_position", size.layers_multiplications);
  record.set("head_multiplications_per_position", size.head_multiplications);
  record.set("multiplications_per_position", size.multiplications());
  return record.set("multiplications_per_earlier_position", size.multiplications_each_earlier);
}

struct Comparison {
  const LanguageModelShape& shape;
  AutoencoderShape autoencoder;
  LanguageModelSize before;
  LanguageModelSize after;
  std::optional<TextCounts> text;
};

Record record_of(const Comparison& comparison, const WhatIfCommandFlags& flags) {
  Record record;
  record.set("model", comparison.shape.name).set("encoder", encoder_of(flags.what_if));
  record.set("characters_per_position", comparison.autoencoder.chain.block_characters());
  record.set("encoder_parameters", count_parameters(comparison.autoencoder).total());
  record.set("before", record_of(comparison.before)).set("after", record_of(comparison.after));
  // Signed: a small vocabulary may cost less than the autoencoder.
  record.set("saved_parameters",
             static_cast<int64_t>(comparison.before.total()) - static_cast<int64_t>(comparison.after.total()));
  if (!comparison.text) return record;
  const TextCounts& text = *comparison.text;
  record.set("bytes", text.bytes).set("characters", text.characters).set("positions_after", text.blocks);
  record.set("multiplications_per_character_after",
             multiplications_per_character(comparison.after, text.blocks, text.characters));
  if (!text.tokens) return record;
  record.set("positions_before", *text.tokens);
  return record.set("multiplications_per_character_before",
                    multiplications_per_character(comparison.before, *text.tokens, text.characters));
}

std::string line(std::string_view name, const std::string& before, const std::string& after,
                 const std::string& note = "") {
  std::string text = fmt::format("{:<32} {:>16} {:>16}  {}", name, before, after, note);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

std::string line(std::string_view name, uint64_t before, uint64_t after, const std::string& note = "") {
  return line(name, in_thousands(before), in_thousands(after), note);
}

std::string describe_sizes(const Comparison& comparison, const std::string& encoder) {
  const auto& [shape, autoencoder, before, after, ignored] = comparison;
  const AutoencoderParameters parameters = count_parameters(autoencoder);
  const auto parts_of = [](std::string_view name, uint64_t own, uint64_t all) {
    const std::string part = fmt::format("{} {}", name, in_thousands(own));
    return all == own ? part : part + fmt::format(", matrix {}", in_thousands(all - own));
  };
  std::string text = fmt::format("{} ({})\nwith {} in the place of its vocabulary: {} characters in a position\n\n",
                                 shape.name, shape.source, encoder, autoencoder.chain.block_characters());
  text += line("parameters", "before", "after");
  text += line("  embedding", before.embedding, after.embedding,
               parts_of("encoder", parameters.encoder(), after.embedding));
  text += line("  layers", before.layers, after.layers);
  text += line("  last norm", before.last_norm, after.last_norm);
  text += line("  head", before.head, after.head,
               parts_of("decoder", parameters.decoder(), after.head) + (shape.tied_head ? "; tied before" : ""));
  const bool saves = after.total() <= before.total();
  const uint64_t difference = saves ? before.total() - after.total() : after.total() - before.total();
  text += line("  total", before.total(), after.total(),
               fmt::format("{} {}, {:.1f} %", saves ? "saves" : "costs", in_thousands(difference),
                           100 * ratio(difference, before.total())));
  text += "\n";
  text += line("multiplications for a position", "before", "after");
  text += line("  embedding", before.embedding_multiplications, after.embedding_multiplications);
  text += line("  layers", before.layers_multiplications, after.layers_multiplications);
  text += line("  head", before.head_multiplications, after.head_multiplications);
  text += line("  total", before.multiplications(), after.multiplications(),
               fmt::format("{:.1f} % of before", 100 * ratio(after.multiplications(), before.multiplications())));
  text +=
      line("  and for each earlier position", before.multiplications_each_earlier, after.multiplications_each_earlier);
  return text;
}

std::string describe_text(const Comparison& comparison, const TextCounts& counts, const WhatIfCommandFlags& flags) {
  const std::string none = "-";
  std::string text = fmt::format("\n{}: {} bytes, {} characters\n", flags.data, in_thousands(counts.bytes),
                                 in_thousands(counts.characters));
  const auto per_character = [&](const LanguageModelSize& size, uint64_t positions) {
    return in_thousands(static_cast<uint64_t>(multiplications_per_character(size, positions, counts.characters)));
  };
  const auto per_position = [&](uint64_t positions) {
    return fmt::format("{:.2f}", ratio(counts.characters, positions));
  };
  const bool has_tokens = counts.tokens.has_value();
  const uint64_t tokens = counts.tokens.value_or(0);
  text += line("  positions", has_tokens ? in_thousands(tokens) : none, in_thousands(counts.blocks),
               has_tokens ? fmt::format("before: tokens of {}", flags.what_if.tokenizer.filename().string())
                          : "--tokenizer FILE counts its tokens, too");
  text += line("  characters in a position", has_tokens ? per_position(tokens) : none, per_position(counts.blocks));
  text += line("  multiplications for a character", has_tokens ? per_character(comparison.before, tokens) : none,
               per_character(comparison.after, counts.blocks), "attention to earlier positions left out");
  return text;
}

int run_what_if(const WhatIfCommandFlags& flags, CommandContext& context) {
  if (!flags.what_if.tokenizer.empty() && flags.data.empty()) {
    throw UsageError("--tokenizer counts tokens in a text: give --data PATH");
  }
  const LanguageModelShape& shape = known_language_model(flags.what_if.model);
  const AutoencoderShape autoencoder{.chain = parse_encoder(encoder_of(flags.what_if))};
  Comparison comparison{shape, autoencoder, count_with_vocabulary(shape), count_with_autoencoder(shape, autoencoder),
                        std::nullopt};
  if (!flags.data.empty()) comparison.text = count_text(flags, autoencoder.chain);
  context.output.json(record_of(comparison, flags));
  context.output.text(describe_sizes(comparison, encoder_of(flags.what_if)));
  if (comparison.text) context.output.text(describe_text(comparison, *comparison.text, flags));
  return 0;
}

}  // namespace

void add_what_if_options(OptionSet& options, WhatIfFlags& flags) {
  std::vector<std::string> names;
  for (const LanguageModelShape& shape : known_language_models()) names.push_back(shape.name);
  options.group("Another encoder in a known model, counted from shapes");
  options.option("--what-if", flags.model,
                 {.help = "which model, instead of MODEL", .placeholder = "NAME", .choices = names});
  options.option("--encoder", flags.encoder,
                 {.help = "tokun: and the factors of its blocks, from the bytes up",
                  .placeholder = "tokun:CHAIN",
                  .default_text = std::string(kUsualEncoder)});
  options.option("--tokenizer", flags.tokenizer,
                 {.help = "counts its tokens in the text of --data, too", .completes = Completes::kFile});
}

bool asks_what_if(const std::vector<std::string>& arguments) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  const auto has = [&](auto matches) { return std::any_of(arguments.begin(), end, matches); };
  return has([](const std::string& word) { return word == "--what-if" || word.starts_with("--what-if="); }) &&
         !has([](const std::string& word) { return word == "-h" || word == "--help" || word == "--help-all"; });
}

CommandDefinition what_if_command() {
  auto flags = std::make_shared<WhatIfCommandFlags>();
  CommandDefinition command{.name = "inspect",
                            .usage = "--what-if NAME",
                            .examples = {{"verbatim inspect --what-if llama3-8b --encoder tokun:4x4x4", ""}}};
  command.options.option(
      "--data", flags->data,
      {.help = "text in which positions are counted", .placeholder = "PATH", .completes = Completes::kFile});
  add_what_if_options(command.options, flags->what_if);
  command.run = [flags](CommandContext& context) { return run_what_if(*flags, context); };
  return command;
}

}  // namespace verbatim
