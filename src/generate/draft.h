#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/language_model.h"

namespace verbatim {

// Guesses how a text goes on, for speculative decoding. It only has to be quick and often right: what it says never
// changes what is written.
class Draft {
 public:
  virtual ~Draft() = default;
  // More of the text: the prompt first, then every byte that was chosen.
  virtual void read(std::string_view bytes) = 0;
  // At most `count` bytes that may follow. Fewer where it knows that all of them would be right more rarely than
  // `least_chance`.
  [[nodiscard]] virtual std::string propose(size_t count, double least_chance) = 0;
};

// What followed the same bytes before, and how often that was right: names, words and phrases come again. Tables of
// fixed size, one for each length of context; contexts that share a place displace each other, the less proven first.
class NgramDraft final : public Draft {
 public:
  // `known` is text to learn from beforehand, for instance of the kind that the model was trained on.
  explicit NgramDraft(std::string_view known = {});

  void read(std::string_view bytes) override { learn(bytes); }
  [[nodiscard]] std::string propose(size_t count, double least_chance) override;

 private:
  static constexpr std::array<size_t, 7> kOrders = {3, 4, 5, 6, 8, 11, 16};  // bytes looked back at
  static constexpr size_t kStreaks = 16;                                     // that are told apart

  // The sixteen bytes before, the newest in the lowest byte of `near`.
  struct Context {
    uint64_t near = 0, far = 0;
    uint64_t bytes = 0;  // read so far
    void push(char byte);
  };
  struct Slot {
    uint32_t index;
    uint16_t check;
  };
  struct Entry {
    uint16_t check = 0;
    uint8_t byte = 0;
    uint8_t streak = 0;  // how often in a row it was right, about; 0: empty
  };
  struct Chance {
    float right = 0;
    uint32_t count = 0;
  };

  void learn(std::string_view bytes);
  [[nodiscard]] Slot slot_of(const Context& context, size_t order) const;
  [[nodiscard]] Chance& chance_of(size_t order, const Entry& entry);

  Context context_;
  uint64_t slots_ = 0;  // of each table, a power of two
  std::array<std::vector<Entry>, kOrders.size()> table_;
  std::array<std::array<Chance, kStreaks>, kOrders.size()> chance_;  // by streak
};

// A smaller model of bytes, which says what it finds most likely.
class ModelDraft final : public Draft {
 public:
  // Throws InputError for a model whose positions are not bytes.
  explicit ModelDraft(std::shared_ptr<LanguageModel> model);

  void read(std::string_view bytes) override { pending_ += bytes; }
  [[nodiscard]] std::string propose(size_t count, double least_chance) override;

 private:
  // Reads what is pending; as far as that was guessed it has been read already.
  void catch_up();

  std::shared_ptr<LanguageModel> model_;
  StreamState state_;
  std::string pending_;              // of the text, not yet looked at
  std::string ahead_;                // guessed and read into the state
  std::vector<StreamState> before_;  // each byte of ahead_
};

// Whether positions of this model are single bytes, which drafts are made for.
[[nodiscard]] bool reads_bytes(LanguageModel& model);

}  // namespace verbatim
