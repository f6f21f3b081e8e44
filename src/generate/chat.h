#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "corpus/instruct.h"
#include "generate/generate.h"

namespace verbatim {

// A conversation with a model that was trained on conversations (`verbatim prepare --instruct`).
class Chat {
 public:
  // `model` must outlive the chat.
  Chat(LanguageModel& model, ChatTemplate chat_template, std::string system);

  // Reads the question and writes the answer, which becomes part of the conversation. `options.stop` and
  // `options.samples` are not used; on_text sees the answer as it comes.
  GeneratedText answer(std::string_view question, GenerateOptions options);
  // Forgets everything that was said.
  void reset() { turns_.clear(); }
  [[nodiscard]] const std::vector<ChatTurn>& turns() const { return turns_; }

 private:
  LanguageModel& model_;
  ChatTemplate template_;
  std::string system_;
  std::vector<ChatTurn> turns_;
};

// The template that a model was trained with, as far as its way of cutting text tells: T-Free's when the parts of that
// template are positions of their own, else plain.
[[nodiscard]] ChatTemplate likely_chat_template(const Segmenter& segmenter);

}  // namespace verbatim
