#include "generate/draft.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "generate/sampler.h"

namespace verbatim {

bool reads_bytes(LanguageModel& model) {
  return model.settings().family == "byte" || model.settings().family == "patch";
}

uint64_t NgramDraft::key_of(std::string_view context) { return hash128(context).low; }

void NgramDraft::learn(std::string_view bytes) {
  for (const char byte : bytes) {
    for (size_t o = 0; o < kOrders.size(); ++o) {
      const size_t order = kOrders[o];
      if (recent_.size() >= order) next_[o][key_of(std::string_view(recent_).substr(recent_.size() - order))] = byte;
    }
    if (recent_.size() == kOrders.front()) recent_.erase(0, 1);
    recent_.push_back(byte);
  }
}

void NgramDraft::read(std::string_view bytes) { learn(bytes); }

std::string NgramDraft::propose(size_t count) {
  std::string text = recent_, proposed;
  while (proposed.size() < count) {
    bool found = false;
    for (size_t o = 0; o < kOrders.size() && !found; ++o) {
      if (text.size() < kOrders[o]) continue;
      const auto next = next_[o].find(key_of(std::string_view(text).substr(text.size() - kOrders[o])));
      if (next == next_[o].end()) continue;
      found = true;
      text.push_back(next->second);
      proposed.push_back(next->second);
    }
    if (!found) break;
  }
  return proposed;
}

ModelDraft::ModelDraft(std::shared_ptr<LanguageModel> model) : model_(std::move(model)) {
  if (!reads_bytes(*model_)) {
    throw_input("the draft is a model of family {}; expected one that reads bytes (byte or patch)",
                model_->settings().family);
  }
  state_ = model_->start();
}

void ModelDraft::read(std::string_view bytes) { model_->read(state_, bytes); }

std::string ModelDraft::propose(size_t count) {
  StreamState state = state_;
  Sampler greedy({.temperature = 0});
  std::string proposed;
  while (proposed.size() < count) {
    const NextPosition next = model_->choose(state, greedy);
    if (next.ends_document) break;
    proposed += model_->bytes_of(state, next.ids);
    if (proposed.size() < count) model_->read_position(state, next.ids);
  }
  return proposed;
}

}  // namespace verbatim
