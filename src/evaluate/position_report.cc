#include "evaluate/position_report.h"

#include <algorithm>
#include <numbers>
#include <optional>

#include "base/error.h"
#include "text/text_marks.h"

namespace verbatim {

namespace {

bool learns_boundaries(const Backbone& backbone) {
  for (const Backbone* level = &backbone; level != nullptr; level = level->inner()) {
    if (level->learns_boundaries()) return true;
  }
  return false;
}

// The rows of all levels tile the text: each inner row ends where the outer row that closed it does.
std::vector<LevelBoundaries> boundaries_by_rule(LanguageModel& model, std::string_view document,
                                                const Positions& positions) {
  PositionBatch batch;
  append_positions(batch, model.segmenter(), positions, document,
                   {.end = positions.size(), .start_row = true, .end_target = true});
  std::vector<LevelBoundaries> levels;
  std::vector<float> has_row(positions.size(), 1.0F);
  Rows rows = Rows::of(batch);
  for (const Backbone* level = &model.backbone(); level->inner() != nullptr; level = level->inner()) {
    rows = level->inner_rows(rows);
    LevelBoundaries boundaries{.probability = std::vector<float>(positions.size(), -1.0F), .begins_patch = false};
    size_t row = 0;
    for (size_t i = 0; i < positions.size(); ++i) {
      if (has_row[i] == 0) continue;
      while (row < rows.ends.size() && rows.ends[row] < positions.ends[i]) ++row;
      boundaries.probability[i] = row < rows.ends.size() && rows.ends[row] == positions.ends[i] ? 1.0F : 0.0F;
      has_row[i] = boundaries.probability[i];
    }
    levels.push_back(std::move(boundaries));
  }
  return levels;
}

}  // namespace

int64_t count_levels(const Backbone& backbone) {
  return backbone.inner() == nullptr ? 0 : 1 + count_levels(*backbone.inner());
}

std::vector<LevelBoundaries> report_boundaries(LanguageModel& model, std::string_view document,
                                               const Positions& positions, const PositionNats* scored) {
  std::vector<LevelBoundaries> levels;
  if (!learns_boundaries(model.backbone())) {
    levels = boundaries_by_rule(model, document, positions);
  } else if (scored == nullptr) {
    throw_input(
        "this model learns where its patches begin; that needs the weights of a trained model, not settings alone");
  } else if (positions.ends.empty()) {
    levels.resize(static_cast<size_t>(count_levels(model.backbone())));
  } else {
    levels = scored->levels;
  }
  // What a level with a rule looks at is what the levels below it, too, have to cut at.
  const Backbone* backbone = &model.backbone();
  for (size_t i = 0; i < levels.size(); ++i, backbone = backbone->inner()) {
    levels[i].marks = backbone->marks();
    for (size_t below = 0; below < i; ++below) {
      if (levels[below].begins_patch) levels[below].marks |= backbone->marks();
    }
  }
  return levels;
}

std::vector<TextPart> report_positions(LanguageModel& model, std::string_view document, const Positions& positions,
                                       const PositionNats* scored) {
  const std::vector<LevelBoundaries> levels = report_boundaries(model, document, positions, scored);
  std::vector<TextPart> parts(positions.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].start = positions.begin(i);
    parts[i].end = positions.ends[i];
    parts[i].ids = model.encoder().table_ids(positions.ids_of(i));
    if (scored != nullptr) parts[i].bits = scored->nats[i] / std::numbers::ln2;
    if (!levels.empty()) parts[i].boundary_probability = static_cast<double>(levels.front().probability[i]);
  }
  return parts;
}

namespace {

// What a row of a level stands for.
struct RowText {
  uint64_t begin = 0, end = 0;
  uint8_t marks = 0;        // of the text since the row before
  uint64_t marked_end = 0;  // where text with these marks ends
};

// The rows of the outermost level.
std::vector<RowText> rows_of_positions(const Positions& positions, std::string_view document) {
  std::vector<RowText> rows(positions.size());
  TextMarkReader reader;
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] = {.begin = positions.begin(i), .end = positions.ends[i], .marked_end = positions.ends[i]};
    rows[i].marks = reader.read(static_cast<uint8_t>(document[rows[i].end - 1]));
  }
  return rows;
}

}  // namespace

std::vector<std::vector<uint64_t>> patch_ends(const std::vector<LevelBoundaries>& levels, const Positions& positions,
                                              std::string_view document) {
  const uint64_t text_end = positions.ends.empty() ? 0 : positions.ends.back();
  VERBATIM_ASSERT(text_end == document.size(), "positions end at byte {} of a text of {}", text_end, document.size());
  // The row at each position: at first the position itself, further inside the patch that the row came from.
  std::vector<RowText> row = rows_of_positions(positions, document);
  std::vector<std::vector<uint64_t>> result;
  for (const LevelBoundaries& level : levels) {
    VERBATIM_ASSERT(level.probability.size() == positions.size(), "a level has {} boundaries for {} positions",
                    level.probability.size(), positions.size());
    std::vector<uint64_t>& ends = result.emplace_back();
    const auto add = [&](uint64_t end) {
      if (end > (ends.empty() ? 0 : ends.back())) ends.push_back(end);
    };
    std::optional<size_t> open;  // the position whose row began the patch at hand
    uint8_t marks = 0;           // since the boundary before
    for (size_t i = 0; i < level.probability.size(); ++i) {
      if (level.probability[i] < 0) continue;
      marks |= row[i].marks;
      if (level.probability[i] <= 0.5F) continue;
      const bool ends_marked = (row[i].marks & level.marks) != 0;
      const bool begins = level.begins_patch && !ends_marked;
      const uint64_t cut = ends_marked ? row[i].marked_end : begins ? row[i].begin : row[i].end;
      if (open.has_value()) row[*open].end = cut;
      open = begins ? std::optional(i) : std::nullopt;
      const uint64_t begin = level.begins_patch ? cut : ends.empty() ? 0 : ends.back();
      row[i] = {.begin = begin, .end = cut, .marks = marks, .marked_end = cut};
      add(cut);
      marks = 0;
    }
    if (open.has_value()) row[*open].end = text_end;
    add(text_end);
  }
  return result;
}

std::vector<TextPart> report_patches(LanguageModel& model, std::string_view document, const Positions& positions,
                                     const PositionNats* scored, int64_t level) {
  const int64_t levels = count_levels(model.backbone());
  if (level < 1 || level > levels) {
    throw_input("level {} does not exist: this model has {}", level,
                levels == 0   ? std::string("no levels of patches")
                : levels == 1 ? std::string("level 1 alone")
                              : fmt::format("levels 1 to {}", levels));
  }
  const std::vector<LevelBoundaries> levels_of_text = report_boundaries(model, document, positions, scored);
  const std::vector<uint64_t> ends = patch_ends(levels_of_text, positions, document).at(static_cast<size_t>(level - 1));
  std::vector<TextPart> parts;
  size_t position = 0;
  for (const uint64_t end : ends) {
    TextPart part{.start = parts.empty() ? 0 : parts.back().end, .end = end, .ids = {}};
    if (scored != nullptr) part.bits = 0;
    for (; position < positions.size() && positions.ends[position] <= end; ++position) {
      if (scored != nullptr) *part.bits += scored->nats[position] / std::numbers::ln2;
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace verbatim
