#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/json_line.h"

// Conversations to learn answers from. On disk a document is T-Free's: a JSON list of pieces,
//   [{"has_loss": false, "type": "text", "content": "..."}, {"has_loss": true, ...}]
// Joined, the contents are what a model reads; only pieces with has_loss are learnt.

namespace verbatim {

struct InstructPiece {
  bool has_loss = false;
  std::string content;
  friend bool operator==(const InstructPiece&, const InstructPiece&) = default;
};
using InstructDocument = std::vector<InstructPiece>;

// Reads a document. Throws InputError, which begins with `where`, for everything that is not such a list: other members
// or types than "text", and lists without pieces.
[[nodiscard]] InstructDocument parse_instruct_document(std::string_view json, std::string_view where);
// Writes a document as the reference does (Python's separators, characters as they are).
[[nodiscard]] std::string instruct_json(const InstructDocument& document);

// How the messages of a conversation become text.
enum class ChatTemplate {
  // The published T-Free instruct model: <|begin_of_text|>, then for each message <|start_header_id|>ROLE
  // <|end_header_id|>, two line breaks (none before an answer), the text and <|endoftext|>.
  kTFree,
  // "SYSTEM", "User: TEXT", "Assistant: ANSWER" with a blank line between them. The blank before an answer and the
  // blank
  // line behind it belong to the answer, so that the end of an answer is learnt too; behind the last one the document
  // ends.
  kPlain,
};
[[nodiscard]] std::string_view name_of(ChatTemplate chat_template);  // "tfree", "plain"

// One exchange of a chat; the last one's answer is still to be written.
struct ChatTurn {
  std::string user;
  std::string answer;
};
// The text that a model trained with this template goes on with: everything up to the place where the last turn's
// answer begins. `system` may be empty. `turns` must not be.
[[nodiscard]] std::string chat_prompt(ChatTemplate chat_template, std::string_view system,
                                      const std::vector<ChatTurn>& turns);
// The strings at which an answer ends, besides the end of the document.
[[nodiscard]] std::vector<std::string> chat_stops(ChatTemplate chat_template);

// Turns one JSON line into a document (JSON). Understood are:
//   {"messages": [{"role": "system" | "user" | "assistant", "content": TEXT}, ...]}, also with content as a list of
//       {"type": "text", "text": TEXT}, and with "weight": 0 for an answer that is not learnt
//   {"conversations": [{"from": "system" | "human" | "user" | "gpt" | "assistant", "value": TEXT}, ...]}
//   {"prompt": TEXT, "response": TEXT}
//   {"instruction": TEXT, "input": TEXT, "output": TEXT}, with or without input: it goes below the instruction
//   a list of pieces as above, taken as it is
// The objects may have "system": TEXT and any other member, which is passed over. A conversation needs at least one
// answer that is learnt; what is said behind the last answer is kept without loss.
[[nodiscard]] std::optional<JsonLineError> convert_chat_line(std::string_view line, ChatTemplate chat_template,
                                                             std::string& document);

}  // namespace verbatim
