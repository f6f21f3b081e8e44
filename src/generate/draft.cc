#include "generate/draft.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/mix.h"

namespace verbatim {

bool reads_bytes(LanguageModel& model) {
  return model.settings().family == "byte" || model.settings().family == "patch";
}

void NgramDraft::Context::push(char byte) {
  far = far << 8 | near >> 56;
  near = near << 8 | static_cast<uint8_t>(byte);
  ++bytes;
}

NgramDraft::NgramDraft(std::string_view known) {
  constexpr uint64_t kFewestSlots = uint64_t{1} << 14, kMostSlots = uint64_t{1} << 22;
  slots_ = std::bit_ceil(std::clamp<uint64_t>(known.size(), kFewestSlots, kMostSlots));
  for (std::vector<Entry>& table : table_) table.resize(slots_);
  // Before anything is known: the longer the context, the better.
  for (size_t o = 0; o < kOrders.size(); ++o) {
    for (Chance& chance : chance_[o])
      chance.right = 0.7F + 0.02F * static_cast<float>(std::min<size_t>(kOrders[o], 13));
  }
  learn(known);
}

NgramDraft::Slot NgramDraft::slot_of(const Context& context, size_t order) const {
  const auto low_bytes = [](uint64_t value, size_t count) {
    return count >= 8 ? value : value & ((uint64_t{1} << (8 * count)) - 1);
  };
  const uint64_t far = order <= 8 ? 0 : low_bytes(context.far, order - 8);
  const uint64_t hash = mix_bits(low_bytes(context.near, order) ^ mix_bits(far + order));
  return {.index = static_cast<uint32_t>(hash & (slots_ - 1)), .check = static_cast<uint16_t>(hash >> 48)};
}

NgramDraft::Chance& NgramDraft::chance_of(size_t order, const Entry& entry) {
  return chance_[order][std::min<size_t>(entry.streak, kStreaks - 1)];
}

void NgramDraft::learn(std::string_view bytes) {
  // Where the entries of many bytes lie is known before the first is needed, so that the memory can hurry.
  constexpr size_t kStretch = 32;
  std::array<std::array<Slot, kOrders.size()>, kStretch> slots;
  for (size_t begin = 0; begin < bytes.size(); begin += kStretch) {
    const std::string_view stretch = bytes.substr(begin, kStretch);
    const uint64_t first = context_.bytes;
    for (size_t i = 0; i < stretch.size(); ++i) {
      for (size_t o = 0; o < kOrders.size(); ++o) {
        slots[i][o] = slot_of(context_, kOrders[o]);
        __builtin_prefetch(&table_[o][slots[i][o].index], 1);
      }
      context_.push(stretch[i]);
    }
    for (size_t i = 0; i < stretch.size(); ++i) {
      const auto byte = static_cast<uint8_t>(stretch[i]);
      for (size_t o = 0; o < kOrders.size() && kOrders[o] <= first + i; ++o) {
        Entry& entry = table_[o][slots[i][o].index];
        if (entry.streak == 0 || (entry.check != slots[i][o].check && entry.streak == 1)) {
          entry = {.check = slots[i][o].check, .byte = byte, .streak = 1};
        } else if (entry.check != slots[i][o].check) {
          entry.streak = static_cast<uint8_t>(entry.streak / 2);
        } else {
          constexpr uint32_t kMemory = 1000;
          Chance& chance = chance_of(o, entry);
          chance.count = std::min(chance.count + 1, kMemory);
          chance.right += ((entry.byte == byte ? 1.0F : 0.0F) - chance.right) / static_cast<float>(chance.count + 1);
          if (entry.byte == byte) {
            entry.streak = static_cast<uint8_t>(std::min(entry.streak + 1, 255));
          } else if (entry.streak >= 4) {
            entry.streak = static_cast<uint8_t>(entry.streak / 4);
          } else {
            entry = {.check = entry.check, .byte = byte, .streak = 1};
          }
        }
      }
    }
  }
}

std::string NgramDraft::propose(size_t count, double least_chance) {
  Context context = context_;
  std::string proposed;
  double all_right = 1;
  while (proposed.size() < count) {
    float best = 0;
    uint8_t byte = 0;
    for (size_t o = 0; o < kOrders.size() && kOrders[o] <= context.bytes; ++o) {
      const Slot slot = slot_of(context, kOrders[o]);
      const Entry& entry = table_[o][slot.index];
      if (entry.streak == 0 || entry.check != slot.check) continue;
      const float right = chance_of(o, entry).right;
      if (right >= best) best = right, byte = entry.byte;
    }
    all_right *= static_cast<double>(best);
    if (best == 0 || all_right < least_chance) break;
    proposed.push_back(static_cast<char>(byte));
    context.push(static_cast<char>(byte));
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

namespace {

// The most likely symbol, and how likely it is.
class MostLikely final : public Chooser {
 public:
  [[nodiscard]] int64_t choose(std::span<float> scores) override {
    const auto top = std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (const float score : scores) sum += std::exp(static_cast<double>(score - *top));
    probability = 1 / sum;
    return top - scores.begin();
  }
  double probability = 0;
};

}  // namespace

void ModelDraft::catch_up() {
  const auto same = static_cast<size_t>(
      std::mismatch(pending_.begin(), pending_.end(), ahead_.begin(), ahead_.end()).first - pending_.begin());
  if (same < ahead_.size() && same < pending_.size()) model_->go_back(state_, std::move(before_[same]));
  if (same < pending_.size()) {
    model_->read(state_, std::string_view(pending_).substr(same));
    ahead_.clear();
    before_.clear();
  } else {
    ahead_.erase(0, same);
    before_.erase(before_.begin(), before_.begin() + static_cast<std::ptrdiff_t>(same));
  }
  pending_.clear();
}

std::string ModelDraft::propose(size_t count, double least_chance) {
  catch_up();
  std::string proposed = ahead_.substr(0, count);
  double all_right = 1;
  while (proposed.size() < count) {
    MostLikely chooser;
    const NextPosition next = model_->choose(state_, chooser);
    all_right *= chooser.probability;
    if (next.ends_document || all_right < least_chance) break;
    const std::string bytes = model_->bytes_of(state_, next.ids);
    proposed += bytes;
    if (proposed.size() == count) break;
    before_.push_back(model_->mark(state_, static_cast<int64_t>(count)));
    model_->read_position(state_, next.ids);
    ahead_ += bytes;
  }
  return proposed;
}

}  // namespace verbatim
