#include "evaluate/position_report.h"

#include <algorithm>
#include <numbers>

#include "base/error.h"
#include "model/boundaries.h"
#include "model/level.h"

namespace verbatim {

namespace {

const Level* level_of(const Backbone& backbone) { return dynamic_cast<const Level*>(&backbone); }

Rows rows_of(LanguageModel& model, std::string_view document, const Positions& positions) {
  PositionBatch batch;
  append_positions(batch, model.segmenter(), positions, document,
                   {.end = positions.size(), .start_row = true, .end_target = true});
  return Rows::of(batch);
}

}  // namespace

int64_t count_levels(const Backbone& backbone) {
  const Level* level = level_of(backbone);
  return level == nullptr ? 0 : 1 + count_levels(level->inner());
}

std::vector<TextPart> report_positions(LanguageModel& model, std::string_view document, const Positions& positions,
                                       const std::vector<double>* nats) {
  std::vector<TextPart> parts(positions.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].start = positions.begin(i);
    parts[i].end = positions.ends[i];
    parts[i].ids = model.encoder().table_ids(positions.ids_of(i));
    if (nats != nullptr) parts[i].bits = (*nats)[i] / std::numbers::ln2;
  }
  if (const Level* level = level_of(model.backbone())) {
    for (TextPart& part : parts) part.boundary_probability = 0.0;
    const Patches patches = find_patches(level->boundary(), rows_of(model, document, positions));
    for (const int64_t row : patches.boundary_row) {
      if (row > 0)
        parts[static_cast<size_t>(row) - 1].boundary_probability = 1.0;  // row 0 is the start of the document
    }
  }
  return parts;
}

std::vector<TextPart> report_patches(LanguageModel& model, std::string_view document, const Positions& positions,
                                     const std::vector<double>* nats, int64_t level) {
  const int64_t levels = count_levels(model.backbone());
  if (level < 1 || level > levels) {
    throw_input("level {} does not exist: this model has {}", level,
                levels == 0 ? std::string("no levels of patches") : fmt::format("levels 1 to {}", levels));
  }
  Rows rows = rows_of(model, document, positions);
  const Backbone* backbone = &model.backbone();
  for (int64_t l = 0; l < level; ++l) {
    const Level& here = *level_of(*backbone);
    rows = find_patches(here.boundary(), rows).inner;
    backbone = &here.inner();
  }
  std::vector<TextPart> parts;
  size_t position = 0;
  const auto add = [&](uint64_t end) {
    const uint64_t start = parts.empty() ? 0 : parts.back().end;
    if (end == start) return;  // the start of the document closes a patch without bytes
    TextPart part{.start = start, .end = end, .ids = {}};
    if (nats != nullptr) part.bits = 0;
    for (; position < positions.size() && positions.ends[position] <= end; ++position) {
      if (nats != nullptr) *part.bits += (*nats)[position] / std::numbers::ln2;
    }
    parts.push_back(std::move(part));
  };
  for (const uint32_t end : rows.ends) add(end);
  add(document.size());
  return parts;
}

}  // namespace verbatim
