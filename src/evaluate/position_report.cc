#include "evaluate/position_report.h"

#include <algorithm>
#include <numbers>
#include <optional>

#include "base/error.h"

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
  if (!learns_boundaries(model.backbone())) return boundaries_by_rule(model, document, positions);
  if (scored == nullptr) {
    throw_input(
        "this model learns where its patches begin; that needs the weights of a trained model, not settings alone");
  }
  if (!positions.ends.empty()) return scored->levels;
  return std::vector<LevelBoundaries>(static_cast<size_t>(count_levels(model.backbone())));
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

std::vector<std::vector<uint64_t>> patch_ends(const std::vector<LevelBoundaries>& levels, const Positions& positions) {
  // What the row at each position stands for at the level at hand: at first the position itself, further inside the
  // patch that the row came from.
  std::vector<ByteRange> row(positions.size());
  for (size_t i = 0; i < row.size(); ++i) row[i] = {positions.begin(i), positions.ends[i]};
  std::vector<std::vector<uint64_t>> result;
  for (const LevelBoundaries& level : levels) {
    VERBATIM_ASSERT(level.probability.size() == positions.size(), "a level has {} boundaries for {} positions",
                    level.probability.size(), positions.size());
    std::vector<uint64_t>& ends = result.emplace_back();
    const auto add = [&](uint64_t end) {
      if (end > (ends.empty() ? 0 : ends.back())) ends.push_back(end);
    };
    std::optional<size_t> open;  // the position whose row began the patch at hand
    for (size_t i = 0; i < level.probability.size(); ++i) {
      if (level.probability[i] <= 0.5F) continue;
      if (level.begins_patch) {
        const uint64_t begin = row[i].begin;
        if (open.has_value()) row[*open].end = begin;
        open = i;
        add(begin);
      } else {
        row[i].begin = ends.empty() ? 0 : ends.back();
        add(row[i].end);
      }
    }
    if (open.has_value()) row[*open].end = positions.ends.back();
    if (!positions.ends.empty()) add(positions.ends.back());
  }
  return result;
}

std::vector<TextPart> report_patches(LanguageModel& model, std::string_view document, const Positions& positions,
                                     const PositionNats* scored, int64_t level) {
  const int64_t levels = count_levels(model.backbone());
  if (level < 1 || level > levels) {
    throw_input("level {} does not exist: this model has {}", level,
                levels == 0 ? std::string("no levels of patches") : fmt::format("levels 1 to {}", levels));
  }
  const std::vector<LevelBoundaries> levels_of_text = report_boundaries(model, document, positions, scored);
  const std::vector<uint64_t> ends = patch_ends(levels_of_text, positions).at(static_cast<size_t>(level - 1));
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
