#include "train/boundary_statistics.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/space_like.h"

namespace verbatim {

namespace {

bool is_space(uint16_t symbol) { return symbol > 255 || is_space_like(static_cast<uint8_t>(symbol)); }

// Beyond these a level does not choose any more.
constexpr double kFewestRows = 1.1;  // per patch
constexpr double kMostOfTarget = 5;  // rows per patch over the target

}  // namespace

void BoundaryStatistics::add(const std::vector<LevelNotes>& levels) {
  if (levels.empty()) return;
  levels_.resize(levels.size());
  bytes_ += static_cast<double>(levels.front().boundary.size());
  for (size_t l = 0; l < levels.size(); ++l) {
    const LevelNotes& notes = levels[l];
    Level& level = levels_[l];
    level.target = notes.target;
    level.rows += static_cast<double>(notes.boundary.size());
    for (size_t row = 0; row < notes.boundary.size(); ++row) {
      if (!notes.probability.empty()) level.probability += static_cast<double>(notes.probability[row]);
      if (notes.boundary[row] == 0) continue;
      ++level.patches;
      if (is_space(notes.symbols[row]) || (row > 0 && is_space(notes.symbols[row - 1]))) ++level.at_spaces;
    }
  }
}

std::vector<std::pair<std::string, double>> BoundaryStatistics::figures() const {
  std::vector<std::pair<std::string, double>> figures;
  for (size_t l = 0; l < levels_.size(); ++l) {
    const Level& level = levels_[l];
    if (level.target == 0 || level.patches == 0) continue;
    const auto add = [&](const char* name, double value) {
      figures.emplace_back(fmt::format("chunk/level{}/{}", l + 1, name), value);
    };
    add("mean_bytes", bytes_ / level.patches);
    add("rows_per_patch", level.rows / level.patches);
    add("ratio_to_target", level.rows / level.patches / level.target);
    add("mean_probability", level.probability / level.rows);
    add("at_spaces", level.at_spaces / level.patches);
  }
  return figures;
}

std::string BoundaryStatistics::summary() const {
  std::string text;
  for (const Level& level : levels_) {
    if (level.target == 0 || level.patches == 0) continue;
    text += fmt::format("{}{:.1f} rows per patch (target {:g}, {:.0f} % at spaces)", text.empty() ? "" : ", then ",
                        level.rows / level.patches, level.target, 100 * level.at_spaces / level.patches);
  }
  return text;
}

std::vector<std::string> BoundaryStatistics::collapses() const {
  std::vector<std::string> advice;
  for (size_t l = 0; l < levels_.size(); ++l) {
    const Level& level = levels_[l];
    if (level.target == 0 || level.patches == 0) continue;
    const double rows = level.rows / level.patches;
    if (rows < kFewestRows && level.target > 2 * kFewestRows) {
      advice.push_back(
          fmt::format("level {} cuts nearly every row ({:.2f} rows per patch, target {:g}); raise its ratio_weight, or "
                      "lower optim.learning_rate",
                      l + 1, rows, level.target));
    } else if (rows > kMostOfTarget * level.target) {
      advice.push_back(
          fmt::format("level {} hardly cuts any more ({:.0f} rows per patch, target {:g}); raise its ratio_weight, or "
                      "lower optim.learning_rate",
                      l + 1, rows, level.target));
    }
  }
  return advice;
}

}  // namespace verbatim
