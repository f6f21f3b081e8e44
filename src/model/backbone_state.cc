#include "model/backbone.h"

namespace verbatim {

BackboneState BackboneState::mark(int64_t count) const {
  BackboneState marked;
  for (const LayerMemory& layer : layers) {
    marked.layers.push_back({.attention = layer.attention.mark(count), .scan = layer.scan});
  }
  marked.rows = rows;
  marked.last_symbol = last_symbol;
  marked.open_patch = open_patch;
  marked.open_rows = open_rows;
  marked.marks = marks;
  marked.last_query = last_query;
  marked.above = above;
  for (const BackboneState& state : inner) marked.inner.push_back(state.mark(count));
  return marked;
}

void BackboneState::go_back(const BackboneState& marked) {
  for (size_t l = 0; l < layers.size(); ++l) {
    layers[l].attention.go_back(marked.layers[l].attention);
    layers[l].scan = marked.layers[l].scan;
  }
  rows = marked.rows;
  last_symbol = marked.last_symbol;
  open_patch = marked.open_patch;
  open_rows = marked.open_rows;
  marks = marked.marks;
  last_query = marked.last_query;
  above = marked.above;
  for (size_t i = 0; i < inner.size(); ++i) inner[i].go_back(marked.inner[i]);
}

}  // namespace verbatim
