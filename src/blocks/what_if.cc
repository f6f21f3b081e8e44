#include "blocks/what_if.h"

#include "base/error.h"
#include "base/names.h"

namespace verbatim {
namespace {

LanguageModelSize count_body(const LanguageModelShape& shape) {
  const uint64_t queries = shape.heads * shape.head_width;
  const uint64_t keys = shape.key_value_heads * shape.head_width;
  LanguageModelSize size;
  size.attention = 2 * shape.width * queries + 2 * shape.width * keys;
  size.feed_forward = 3 * shape.width * shape.hidden;
  size.layers = shape.layers * (size.attention + size.feed_forward + 2 * shape.width);
  size.last_norm = shape.width;
  size.layers_multiplications = shape.layers * (size.attention + size.feed_forward);
  size.multiplications_each_earlier = shape.layers * 2 * queries;
  return size;
}

}  // namespace

const std::vector<LanguageModelShape>& known_language_models() {
  static const std::vector<LanguageModelShape> models = {
      {.name = "llama3-8b",
       .source = "the published configuration",
       .vocabulary = 128256,
       .width = 4096,
       .layers = 32,
       .heads = 32,
       .key_value_heads = 8,
       .head_width = 128,
       .hidden = 14336},
      {.name = "llama3.2-1b",
       .source = "the published configuration",
       .vocabulary = 128256,
       .width = 2048,
       .layers = 16,
       .heads = 32,
       .key_value_heads = 8,
       .head_width = 64,
       .hidden = 8192,
       .tied_head = true},
      {.name = "tokun-article",
       .source = "what the tokun-16 article takes llama3-8B for (May 2024)",
       .vocabulary = 128000,
       .width = 4096,
       .layers = 32,
       .heads = 32,
       .key_value_heads = 32,
       .head_width = 128,
       .hidden = 16384},
      {.name = "tokun-article-256",
       .source = "the same at the width of tokun's vectors",
       .vocabulary = 128000,
       .width = 256,
       .layers = 32,
       .heads = 32,
       .key_value_heads = 32,
       .head_width = 8,
       .hidden = 1024},
  };
  return models;
}

const LanguageModelShape& known_language_model(std::string_view name) {
  std::vector<std::string> names;
  for (const LanguageModelShape& shape : known_language_models()) {
    if (shape.name == name) return shape;
    names.push_back(shape.name);
  }
  throw_input("no language model {} is known by its shapes{}; known are {}", name, suggest_names(name, names),
              fmt::join(names, ", "));
}

LanguageModelSize count_with_vocabulary(const LanguageModelShape& shape) {
  LanguageModelSize size = count_body(shape);
  size.embedding = shape.vocabulary * shape.width;
  size.head = shape.tied_head ? 0 : size.embedding;
  size.head_multiplications = shape.vocabulary * shape.width;
  return size;
}

LanguageModelSize count_with_autoencoder(const LanguageModelShape& shape, const AutoencoderShape& autoencoder) {
  const AutoencoderParameters parameters = count_parameters(autoencoder);
  const AutoencoderCost cost = count_multiplications(autoencoder);
  const uint64_t matrix = autoencoder.width == shape.width ? 0 : autoencoder.width * shape.width;
  LanguageModelSize size = count_body(shape);
  size.embedding = parameters.encoder() + matrix;
  size.head = parameters.decoder() + matrix;
  size.embedding_multiplications = cost.encoder + matrix;
  size.head_multiplications = cost.decoder + cost.head + matrix;
  return size;
}

}  // namespace verbatim
