#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
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
  // At most `count` bytes that may follow.
  [[nodiscard]] virtual std::string propose(size_t count) = 0;
};

// The byte that came last time behind the longest stretch of text that came before: names, words and phrases come
// again.
class NgramDraft final : public Draft {
 public:
  // `known` is text to learn from beforehand, for instance of the kind that the model was trained on.
  explicit NgramDraft(std::string_view known = {}) { learn(known); }

  void read(std::string_view bytes) override;
  [[nodiscard]] std::string propose(size_t count) override;

 private:
  static constexpr std::array<size_t, 5> kOrders = {12, 8, 6, 4, 3};  // bytes looked back at, longest first
  void learn(std::string_view bytes);
  [[nodiscard]] static uint64_t key_of(std::string_view context);

  std::array<std::unordered_map<uint64_t, char>, kOrders.size()> next_;
  std::string recent_;  // the longest order
};

// A smaller model of bytes, which always says what it finds most likely.
class ModelDraft final : public Draft {
 public:
  // Throws InputError for a model whose positions are not bytes.
  explicit ModelDraft(std::shared_ptr<LanguageModel> model);

  void read(std::string_view bytes) override;
  [[nodiscard]] std::string propose(size_t count) override;

 private:
  std::shared_ptr<LanguageModel> model_;
  StreamState state_;
};

// Whether positions of this model are single bytes, which drafts are made for.
[[nodiscard]] bool reads_bytes(LanguageModel& model);

}  // namespace verbatim
