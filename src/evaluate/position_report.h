#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "evaluate/likelihood.h"
#include "model/language_model.h"

namespace verbatim {

// What a model makes of one text, part by part. The parts tile the text.
struct TextPart {
  uint64_t start = 0, end = 0;      // bytes of the text
  std::vector<int32_t> ids;         // of a position, rows of the encoder's table; empty for patches
  std::optional<double> bits = {};  // cost of the part; their sum is the cost of the text without its end
  std::optional<double> boundary_probability = {};  // that a patch of the first level ends with this position
};

// How many levels of patches a backbone nests; 0 for a plain transformer.
[[nodiscard]] int64_t count_levels(const Backbone& backbone);

// The positions of a document, each with its bits when `nats` are given, and with the probability that it closes a
// patch when the backbone has levels (1 or 0 for rules that are certain).
[[nodiscard]] std::vector<TextPart> report_positions(LanguageModel& model, std::string_view document,
                                                     const Positions& positions, const std::vector<double>* nats);

// The patches of a level, 1 for the first one. The last part may still be open when the document ends. Throws
// InputError for a level that the model does not have.
[[nodiscard]] std::vector<TextPart> report_patches(LanguageModel& model, std::string_view document,
                                                   const Positions& positions, const std::vector<double>* nats,
                                                   int64_t level);

}  // namespace verbatim
