#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/backbone.h"

namespace verbatim {

// Where levels put their boundaries, summed over forward passes. Only levels that learn them are reported; levels count
// from 1, the outermost.
class BoundaryStatistics {
 public:
  void add(const std::vector<LevelNotes>& levels);

  // chunk/levelN/mean_bytes: bytes of text for each patch; rows_per_patch, and ratio_to_target: the same over what
  // training aims at; mean_probability; at_spaces: share of boundaries at or just behind a space-like byte (1 / 0 for
  // spaces alone / never).
  [[nodiscard]] std::vector<std::pair<std::string, double>> figures() const;
  // "5.1 (target 6), then 2.9 (target 3) rows per patch, 81 % at spaces"; empty without such a level.
  [[nodiscard]] std::string summary() const;
  // Advice for each level that has stopped to choose: nearly every row is a boundary, or nearly none.
  [[nodiscard]] std::vector<std::string> collapses() const;

 private:
  struct Level {
    double rows = 0, patches = 0, probability = 0, at_spaces = 0, target = 0;
  };
  double bytes_ = 0;
  std::vector<Level> levels_;
};

}  // namespace verbatim
