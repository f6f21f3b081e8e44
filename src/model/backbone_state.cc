#include "model/backbone.h"

namespace verbatim {

BackboneState BackboneState::mark(int64_t count) const {
  BackboneState marked;
  for (const LayerMemory& layer : layers) {
    LayerMemory& copy = marked.layers.emplace_back();
    copy.attention = layer.attention.mark(count);
    copy.scan.window = layer.scan.window;
    copy.scan.state = layer.scan.state;
    copy.delayed = layer.delayed;
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
    layers[l].scan.window = marked.layers[l].scan.window;
    layers[l].scan.state = marked.layers[l].scan.state;
    layers[l].scan.keeps_trail = false;
    layers[l].delayed = marked.layers[l].delayed;
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

void BackboneState::begin_trail() {
  for (LayerMemory& layer : layers) layer.scan.begin_trail();
}

void BackboneState::go_back(const BackboneState& marked, int64_t kept) {
  if (kept == 0) return go_back(marked);
  for (size_t l = 0; l < layers.size(); ++l) {
    layers[l].attention.go_back(marked.layers[l].attention, kept);
    layers[l].scan.go_back(kept);
  }
  rows = marked.rows + kept;
}

}  // namespace verbatim
