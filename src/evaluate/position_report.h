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

// The positions of a document, each with its bits when it was scored, and with the probability of a boundary of the
// first level there (1 or 0 for rules that are certain). Throws InputError for levels that learn their boundaries when
// the document was not scored.
[[nodiscard]] std::vector<TextPart> report_positions(LanguageModel& model, std::string_view document,
                                                     const Positions& positions, const PositionNats* scored);

// The patches of a level, 1 for the first one. The last part may still be open when the document ends. Throws
// InputError for a level that the model does not have.
[[nodiscard]] std::vector<TextPart> report_patches(LanguageModel& model, std::string_view document,
                                                   const Positions& positions, const PositionNats* scored,
                                                   int64_t level);

// Boundaries of all levels at the positions of a document: what the scoring saw for levels that learn them, else what
// the rules say.
[[nodiscard]] std::vector<LevelBoundaries> report_boundaries(LanguageModel& model, std::string_view document,
                                                             const Positions& positions, const PositionNats* scored);

// The bytes behind each patch of every level, outermost first; the patches of a level tile the text, and each consists
// of whole patches of the level before. The last one may still be open.
[[nodiscard]] std::vector<std::vector<uint64_t>> patch_ends(const std::vector<LevelBoundaries>& levels,
                                                            const Positions& positions, std::string_view document);

}  // namespace verbatim
