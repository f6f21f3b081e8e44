#include "generate/chat.h"

namespace verbatim {

Chat::Chat(LanguageModel& model, ChatTemplate chat_template, std::string system)
    : model_(model), template_(chat_template), system_(std::move(system)) {}

GeneratedText Chat::answer(std::string_view question, GenerateOptions options) {
  turns_.push_back({.user = std::string(question), .answer = {}});
  options.stop = chat_stops(template_);
  options.samples = 1;
  GeneratedText text = generate(model_, {chat_prompt(template_, system_, turns_)}, options).texts.front();
  // The blank before an answer belongs to the template.
  std::string_view answer = text.text;
  if (answer.starts_with(' ')) answer.remove_prefix(1);
  turns_.back().answer = answer;
  return text;
}

ChatTemplate likely_chat_template(const Segmenter& segmenter) {
  return segmenter.segment("<|end_header_id|>", DocumentPart::kStart).size() == 1 ? ChatTemplate::kTFree
                                                                                  : ChatTemplate::kPlain;
}

}  // namespace verbatim
