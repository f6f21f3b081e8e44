#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/text_format.h"
#include "cli/embeddings.h"
#include "cli/model_argument.h"
#include "cli/tensor_options.h"
#include "corpus/corpus.h"
#include "evaluate/speed.h"
#include "model/weights.h"

namespace verbatim {
namespace {

// Prose for costs that depend on the text (words, patches, tokens) when no data is given.
constexpr std::string_view kSampleText =
    "The river had risen during the night, and by the time the first boats came down from the hills the lower meadows "
    "lay "
    "under a sheet of grey water. Nobody in the village was surprised. Every spring it was the same: the snow went, "
    "the "
    "stream behind the mill grew loud, and for two or three days people walked on planks from one house to the next. "
    "Children thought it the best time of the year. Their parents counted sacks of flour, carried what they could to "
    "the "
    "upper floors, and waited, as their own parents had waited, until the road to the town could be used again.\n";

struct Part {
  std::string name;
  std::string what;
  int64_t parameters = 0;
  int depth = 0;
};

int64_t count(const torch::nn::Module& module) {
  int64_t total = 0;
  for (const at::Tensor& parameter : module.parameters()) total += parameter.numel();
  return total;
}

// "mmmT" to "3 Mamba-2, 1 attention with MLP".
std::string describe_layers(const std::string& kinds) {
  std::string text;
  for (size_t first = 0; first < kinds.size();) {
    const size_t end = std::min(kinds.find_first_not_of(kinds[first], first), kinds.size());
    const char kind = static_cast<char>(std::tolower(kinds[first]));
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", end - first,
                        kind == 't'   ? "attention"
                        : kind == 'm' ? "Mamba-2"
                                      : "Mamba-1");
    if (kind != kinds[first] && kind != 't') text += " with MLP";
    if (kind == kinds[first] && kind == 't') text += " without MLP";
    first = end;
  }
  return text.empty() ? "no layers" : text;
}

std::string describe_stack(const StackSettings& stack, const std::string& kinds) {
  std::string text = fmt::format("{}, width {}", describe_layers(kinds), stack.width);
  const bool has_attention = kinds.find_first_of("tT") != std::string::npos;
  const bool has_mlp = kinds.find_first_of("TMS") != std::string::npos;
  if (kinds.find_first_of("mMsS") != std::string::npos)
    text += fmt::format(", {} channels with {} states", stack.expand * stack.width, stack.state);
  if (has_mlp) text += fmt::format(", hidden {}", stack.hidden);
  if (!has_attention) return text;
  text += fmt::format(", {} heads", stack.heads);
  if (stack.key_value_heads != stack.heads) text += fmt::format(" ({} for keys and values)", stack.key_value_heads);
  text += fmt::format(" of {}", stack.head_width);
  text += stack.window > 0 ? fmt::format(", sees {} rows", stack.window) : std::string(", sees all rows");
  return text;
}

void add_backbone(const std::string& name, const BackboneSettings& settings, const torch::nn::Module& module, int depth,
                  std::vector<Part>& parts) {
  if (settings.is_megabyte()) {
    parts.push_back({name, fmt::format("megabyte: {} stages, width {}", settings.widths.size(), settings.width()),
                     count(module), depth});
    const auto stages = module.named_children()["stages"]->children();
    for (size_t s = 0; s < stages.size(); ++s) {
      const StackSettings stage = settings.megabyte_stage(s);
      parts.push_back({fmt::format("stage {}", s + 1),
                       fmt::format("{} layers, width {}, hidden {}, {} heads", stage.layers, stage.width, stage.hidden,
                                   stage.heads),
                       count(*stages[s]), depth + 1});
    }
    return;
  }
  if (settings.is_none()) {
    parts.push_back({name, fmt::format("none: vectors of width {} pass as they are", settings.width()), 0, depth});
    return;
  }
  if (!settings.is_level()) {
    parts.push_back({name, fmt::format("{}: {}", settings.kind, describe_stack(settings.stack, settings.layer_kinds())),
                     count(module), depth});
    return;
  }
  parts.push_back({name,
                   settings.kind == "grouped" ? fmt::format("level: groups of {} bytes, concatenated, width {}",
                                                            settings.group, settings.width())
                   : settings.learns_boundaries()
                       ? fmt::format("level: learned boundaries, target {:g} rows per patch, width {}", settings.target,
                                     settings.width())
                       : fmt::format("level: boundary {}, pool {}, upsample {}, width {}", settings.boundary,
                                     settings.pool, settings.upsample, settings.width()),
                   count(module), depth});
  int64_t own = count(module);
  for (const auto& child : module.named_children()) {
    const int64_t parameters = count(*child.value());
    if (child.key() == "before") {
      parts.push_back({"before", describe_stack(settings.stack, settings.kinds_before()), parameters, depth + 1});
    } else if (child.key() == "after") {
      parts.push_back({"after", describe_stack(settings.stack, settings.kinds_after()), parameters, depth + 1});
    } else if (child.key() == "inner") {
      add_backbone("inner", settings.inner.front(), *child.value(), depth + 1, parts);
    } else {
      continue;
    }
    own -= parameters;
  }
  parts.push_back({"between", "rows to patches and back", own, depth + 1});
}

std::vector<Part> parts_of(LanguageModel& model) {
  const ModelSettings& settings = model.settings();
  std::vector<Part> parts;
  parts.push_back({"model", "family " + settings.family, model.parameter_count(), 0});
  const std::string encoder = settings.family == "token"   ? "table of tokens"
                              : settings.family == "tfree" ? "table of hashed ids"
                                                           : "table of bytes";
  parts.push_back(
      {"encoder", fmt::format("{}, width {}", encoder, model.encoder().width()), count(model.encoder()), 1});
  add_backbone("backbone", settings.backbone, model.backbone(), 1, parts);
  const bool tied = model.decoder().parameters().empty();
  const std::string decoder = settings.family == "tfree" ? "multi-label head, dictionary of words"
                              : tied                     ? "softmax, tied to the encoder's table"
                                                         : "softmax";
  parts.push_back({"decoder", decoder, count(model.decoder()), 1});
  return parts;
}

struct Sizes {
  double saved_bytes = 0;        // activations of one byte of text in training, float32
  double cache_bytes = 0;        // keys and values that one byte of text leaves behind (without windows)
  double fixed_cache_bytes = 0;  // the most that windows hold, and states of state-space layers
};

void add_sizes(const Backbone& backbone, double rows_per_byte, const Rows& rows, Sizes& sizes) {
  const StackMemory memory = backbone.memory();
  sizes.saved_bytes += rows_per_byte * 4 * memory.saved_per_row;
  sizes.cache_bytes += rows_per_byte * 4 * memory.floats_per_row;
  sizes.fixed_cache_bytes += 4 * memory.floats_per_stream;
  if (backbone.inner() == nullptr) return;
  const Rows inner = backbone.inner_rows(rows);
  add_sizes(*backbone.inner(), rows_per_byte * static_cast<double>(inner.count()) / static_cast<double>(rows.count()),
            inner, sizes);
}

int run_inspect(const InspectFlags& flags, CommandContext& context) {
  if (!flags.what_if.encoder.empty() || !flags.what_if.tokenizer.empty()) {
    throw UsageError("--encoder and --tokenizer belong to --what-if NAME, which takes the place of MODEL");
  }
  if (!flags.embeddings.empty()) {
    if (flags.data.empty()) throw UsageError("--embeddings needs text whose blocks are shown: give --data PATH");
    const ModelArgument trained = open_model(flags.model);
    write_embeddings(*trained.model, *open_documents(flags.data), flags.points, flags.embeddings, context);
    return 0;
  }
  const ModelArgument argument = open_model_or_shapes(flags.model, flags.overrides);
  LanguageModel& model = *argument.model;

  std::string text(kSampleText);
  if (!flags.data.empty()) {
    constexpr size_t kMostText = 1 << 18;
    const std::unique_ptr<DocumentSource> documents = open_documents(flags.data);
    text.clear();
    for (uint64_t d = 0; d < documents->document_count() && text.size() < kMostText; ++d) {
      text += documents->document(d).substr(0, kMostText - text.size());
    }
  }
  const int64_t window = argument.training_window.value_or(kDefaultWindow);
  const int64_t batch_bytes = argument.training_batch.value_or(16 * window);
  if (text.size() > static_cast<size_t>(window)) text.resize(static_cast<size_t>(window));

  const Positions positions = model.segmenter().segment(text, DocumentPart::kStart);
  PositionBatch batch;
  append_positions(batch, model.segmenter(), positions, text, {.end = positions.size()});
  const auto bytes = static_cast<double>(text.size());
  const BackboneCost cost = model.cost(batch);
  Sizes sizes;
  add_sizes(model.backbone(), static_cast<double>(batch.rows()) / bytes, Rows::of(batch), sizes);

  const auto parameters = static_cast<double>(model.parameter_count());
  const double weights = 4 * parameters;
  const double optimizer = 8 * parameters;
  const double activations = sizes.saved_bytes * static_cast<double>(batch_bytes);
  const double caches = sizes.cache_bytes * static_cast<double>(window) + sizes.fixed_cache_bytes;

  const std::vector<Part> parts = parts_of(model);
  if (context.output.is_json()) {
    std::vector<Record> records;
    records.reserve(parts.size());
    for (const Part& part : parts) {
      records.push_back(Record()
                            .set("name", part.name)
                            .set("depth", part.depth)
                            .set("what", part.what)
                            .set("parameters", part.parameters));
    }
    Record record;
    record.set("family", model.settings().family).set("likelihood", name_of(model.decoder().likelihood()));
    record.set("parameters", model.parameter_count())
        .set("parameters_without_tables", model.parameter_count_without_tables());
    record.set("parts", records);
    record.set("bytes_per_position", bytes / static_cast<double>(std::max<size_t>(positions.size(), 1)));
    record.set("bytes_per_innermost_row", bytes / cost.innermost_rows);
    record.set("multiplications_per_byte", cost.multiplications / bytes);
    record.set("weights_bytes", weights).set("training_memory_bytes", 2 * weights + optimizer + activations);
    record.set("training_batch_bytes", batch_bytes).set("activations_bytes", activations);
    record.set("generation_memory_bytes", weights + caches).set("generation_context_bytes", window);
    record.set("weight_bytes_read_per_byte",
               weight_bytes_per_position(model, text) * static_cast<double>(positions.size()) / bytes);
    context.output.json(record);
    return 0;
  }
  size_t name_width = 0;
  for (const Part& part : parts)
    name_width = std::max(name_width, part.name.size() + 2 * static_cast<size_t>(part.depth));
  for (const Part& part : parts) {
    const std::string name = std::string(2 * static_cast<size_t>(part.depth), ' ') + part.name;
    context.output.text(fmt::format("{:<{}}  {:>8}  {}\n", name, name_width,
                                    format_count(static_cast<double>(part.parameters)), part.what));
  }
  const auto line = [&](std::string_view name, const std::string& value) {
    context.output.text(fmt::format("{:<24} {}\n", name, value));
  };
  const auto size = [](double value) { return format_bytes(static_cast<uint64_t>(value)); };
  context.output.text("\n");
  line("outside tables", format_count(static_cast<double>(model.parameter_count_without_tables())) + " parameters");
  line("likelihood", std::string(name_of(model.decoder().likelihood())));
  line("bytes per position",
       fmt::format("{:.2f}{}", bytes / static_cast<double>(positions.size()),
                   flags.data.empty() ? " (on a paragraph of English; --data measures it on your text)" : ""));
  line("bytes per innermost row", fmt::format("{:.2f}", bytes / cost.innermost_rows));
  line("multiplications", format_count(cost.multiplications / bytes) + " per byte (forward)");
  line("memory for training",
       fmt::format("{} (weights {}, gradients {}, optimizer {}, activations about {} for batches of {})",
                   size(2 * weights + optimizer + activations), size(weights), size(weights), size(optimizer),
                   size(activations), size(static_cast<double>(batch_bytes))));
  line("memory for generation", fmt::format("{} (weights {}, caches {} for {} of context)", size(weights + caches),
                                            size(weights), size(caches), size(static_cast<double>(window))));
  return 0;
}

}  // namespace

CommandDefinition inspect_command() { return define_inspect(run_inspect); }

}  // namespace verbatim
