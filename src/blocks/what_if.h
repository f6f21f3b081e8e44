#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blocks/autoencoder_size.h"

// What changes in a language model of Llama's shape when a tokun autoencoder takes the place of its tables: counted
// from shapes, nothing is trained or loaded. Whether the model would still be any good is another question.
namespace verbatim {

// Without biases. Norms have one gain for each dimension.
struct LanguageModelShape {
  std::string name;
  std::string source;  // where the figures are from
  uint64_t vocabulary = 0;
  uint64_t width = 0;
  uint64_t layers = 0;
  uint64_t heads = 0;
  uint64_t key_value_heads = 0;
  uint64_t head_width = 0;
  uint64_t hidden = 0;     // of the gated feed-forward network, three matrices
  bool tied_head = false;  // the head is the embedding table again
};

// Those that are known by name, the first one being the usual one.
[[nodiscard]] const std::vector<LanguageModelShape>& known_language_models();
// Throws InputError with the nearest known name.
[[nodiscard]] const LanguageModelShape& known_language_model(std::string_view name);

// Parameters, and multiplications (each with its addition) for one position.
struct LanguageModelSize {
  uint64_t embedding = 0;
  uint64_t attention = 0;     // of one layer
  uint64_t feed_forward = 0;  // of one layer
  uint64_t layers = 0;        // all layers with two norms each
  uint64_t last_norm = 0;
  uint64_t head = 0;  // 0 when tied
  uint64_t embedding_multiplications = 0;
  uint64_t layers_multiplications = 0;
  uint64_t head_multiplications = 0;
  // For each earlier position that a position looks at: scores and sums, all layers and heads.
  uint64_t multiplications_each_earlier = 0;

  [[nodiscard]] uint64_t total() const { return embedding + layers + last_norm + head; }
  [[nodiscard]] uint64_t multiplications() const {
    return embedding_multiplications + layers_multiplications + head_multiplications;
  }
};

// With a table of the vocabulary at both ends.
[[nodiscard]] LanguageModelSize count_with_vocabulary(const LanguageModelShape& shape);

// With the autoencoder's encoder and decoder at the ends, and a matrix between its width and the model's where they
// differ.
[[nodiscard]] LanguageModelSize count_with_autoencoder(const LanguageModelShape& shape,
                                                       const AutoencoderShape& autoencoder);

}  // namespace verbatim
