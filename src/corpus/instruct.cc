#include "corpus/instruct.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/text_format.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;

// What is wrong with a line, and where in it.
class LineError : public std::exception {
 public:
  LineError(size_t column, std::string message) : error_{column, std::move(message)} {}
  [[nodiscard]] const JsonLineError& error() const { return error_; }

 private:
  JsonLineError error_;
};

template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw LineError(0, fmt::format(format, std::forward<Args>(args)...));
}

Json parse_json(std::string_view text) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    // The library counts from 1, and names its own codes before what is of use to people.
    std::string_view message = error.what();
    if (const size_t colon = message.find(": "); colon != std::string_view::npos) message.remove_prefix(colon + 2);
    throw LineError(error.byte == 0 ? 0 : error.byte - 1, fmt::format("expected JSON: {}", message));
  } catch (const Json::out_of_range&) {  // the library's word for numbers beyond a double
    refuse("expected JSON with numbers below 1e308, got a larger one");
  }
}

// "a string", "an object": what a value is.
std::string kind_of(const Json& value) {
  if (value.is_string()) return "the string " + quote_bytes(value.get_ref<const std::string&>(), 40);
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_boolean()) return "a truth value";
  return value.is_null() ? "null" : "the number " + value.dump();
}

const Json& member(const Json& object, const char* name, const std::string& where) {
  if (!object.is_object()) refuse("{}: expected an object, got {}", where, kind_of(object));
  const auto found = object.find(name);
  if (found == object.end()) refuse("{}: expected a member \"{}\", got none", where, name);
  return *found;
}

const std::string& text_of(const Json& value, const std::string& where) {
  if (!value.is_string()) refuse("{}: expected a string, got {}", where, kind_of(value));
  return value.get_ref<const std::string&>();
}

InstructDocument pieces_of(const Json& list) {
  if (!list.is_array()) refuse("expected a list of pieces, got {}", kind_of(list));
  if (list.empty()) refuse("expected a list of pieces, got an empty list");
  InstructDocument document;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string where = fmt::format("piece {}", i);
    const Json& has_loss = member(list[i], "has_loss", where);
    if (!has_loss.is_boolean()) refuse("{}: expected true or false for has_loss, got {}", where, kind_of(has_loss));
    const Json& type = member(list[i], "type", where);
    if (type != "text") refuse("{}: expected the type \"text\", got {}", where, kind_of(type));
    if (list[i].size() != 3) refuse("{}: expected has_loss, type and content, got fewer or more members", where);
    document.push_back(
        {.has_loss = has_loss.get<bool>(), .content = text_of(member(list[i], "content", where), where + ": content")});
  }
  return document;
}

enum class Role { kSystem, kUser, kAssistant };

struct Message {
  Role role = Role::kUser;
  std::string text;
  bool has_loss = false;
};

struct RoleName {
  std::string_view name;
  Role role;
};
constexpr std::array<RoleName, 5> kRoles = {{{"system", Role::kSystem},
                                             {"user", Role::kUser},
                                             {"human", Role::kUser},
                                             {"assistant", Role::kAssistant},
                                             {"gpt", Role::kAssistant}}};

Role role_of(const Json& value, const std::string& where) {
  const std::string& name = text_of(value, where);
  const auto* const found =
      std::find_if(kRoles.begin(), kRoles.end(), [&](const RoleName& r) { return r.name == name; });
  if (found == kRoles.end()) refuse("{}: expected system, user or assistant, got {}", where, quote_bytes(name, 40));
  return found->role;
}

// A string, or a list of parts that are all text.
std::string content_of(const Json& value, const std::string& where) {
  if (!value.is_array()) return text_of(value, where);
  std::string text;
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string part = fmt::format("{} part {}", where, i);
    const Json& type = member(value[i], "type", part);
    if (type != "text") refuse("{}: expected the type \"text\", got {}", part, kind_of(type));
    text += text_of(member(value[i], "text", part), part);
  }
  return text;
}

std::vector<Message> messages_of(const Json& list, const std::string& name, const char* role, const char* content) {
  if (!list.is_array()) refuse("{}: expected a list of messages, got {}", name, kind_of(list));
  std::vector<Message> messages;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string where = fmt::format("{}: message {}", name, i);
    Message message{.role = role_of(member(list[i], role, where), fmt::format("{}: {}", where, role)),
                    .text = content_of(member(list[i], content, where), fmt::format("{}: {}", where, content))};
    message.has_loss = message.role == Role::kAssistant;
    if (const auto weight = list[i].find("weight"); weight != list[i].end()) {
      if (*weight != 0 && *weight != 1) refuse("{}: expected a weight of 0 or 1, got {}", where, kind_of(*weight));
      message.has_loss = message.has_loss && *weight == 1;
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

std::vector<Message> question_and_answer(std::string question, std::string answer) {
  return {{.role = Role::kUser, .text = std::move(question)},
          {.role = Role::kAssistant, .text = std::move(answer), .has_loss = true}};
}

std::vector<Message> conversation_of(const Json& line) {
  const bool has_messages = line.contains("messages");
  const bool has_conversations = line.contains("conversations");
  const bool has_prompt = line.contains("prompt") && line.contains("response");
  const bool has_instruction = line.contains("instruction") && line.contains("output");
  if (has_messages + has_conversations + has_prompt + has_instruction != 1) {
    refuse(
        "expected one of \"messages\", \"conversations\", \"prompt\" with \"response\", \"instruction\" with "
        "\"output\", or a list of pieces, got {}",
        has_messages + has_conversations + has_prompt + has_instruction == 0 ? "none of them" : "several of them");
  }
  std::vector<Message> messages;
  if (has_messages) {
    messages = messages_of(line["messages"], "messages", "role", "content");
  } else if (has_conversations) {
    messages = messages_of(line["conversations"], "conversations", "from", "value");
  } else if (has_prompt) {
    messages = question_and_answer(text_of(line["prompt"], "prompt"), text_of(line["response"], "response"));
  } else {
    std::string question = text_of(line["instruction"], "instruction");
    if (const auto input = line.find("input"); input != line.end() && !input->is_null()) {
      const std::string& text = text_of(*input, "input");
      if (!text.empty()) question += "\n\n" + text;
    }
    messages = question_and_answer(std::move(question), text_of(line["output"], "output"));
  }
  if (const auto system = line.find("system"); system != line.end() && !system->is_null()) {
    const std::string& text = text_of(*system, "system");
    if (!text.empty()) messages.insert(messages.begin(), {.role = Role::kSystem, .text = text});
  }
  if (std::none_of(messages.begin(), messages.end(), [](const Message& m) { return m.has_loss; })) {
    refuse("expected at least one answer of the assistant to learn, got none in {} messages", messages.size());
  }
  return messages;
}

std::string_view word_of(Role role) {
  return role == Role::kSystem ? "system" : role == Role::kUser ? "user" : "assistant";
}

// Pieces in the order of the text; what has the same loss is one piece.
void add_piece(InstructDocument& document, bool has_loss, std::string_view text) {
  if (text.empty()) return;
  if (document.empty() || document.back().has_loss != has_loss)
    document.push_back({.has_loss = has_loss, .content = {}});
  document.back().content += text;
}

InstructDocument apply_tfree(const std::vector<Message>& messages) {
  InstructDocument document;
  add_piece(document, false, "<|begin_of_text|>");
  for (const Message& message : messages) {
    add_piece(document, false, fmt::format("<|start_header_id|>{}<|end_header_id|>", word_of(message.role)));
    if (message.role != Role::kAssistant) add_piece(document, false, "\n\n");
    add_piece(document, message.has_loss, message.text + "<|endoftext|>");
  }
  return document;
}

InstructDocument apply_plain(const std::vector<Message>& messages) {
  InstructDocument document;
  for (size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    const std::string_view separator = i + 1 == messages.size() ? "" : "\n\n";
    switch (message.role) {
      case Role::kSystem:
        add_piece(document, false, message.text);
        break;
      case Role::kUser:
        add_piece(document, false, "User: " + message.text);
        break;
      case Role::kAssistant:
        add_piece(document, false, "Assistant:");
        add_piece(document, message.has_loss, " " + message.text);
        break;
    }
    add_piece(document, message.has_loss, separator);
  }
  return document;
}

}  // namespace

std::string_view name_of(ChatTemplate chat_template) {
  return chat_template == ChatTemplate::kTFree ? "tfree" : "plain";
}

std::string chat_prompt(ChatTemplate chat_template, std::string_view system, const std::vector<ChatTurn>& turns) {
  VERBATIM_ASSERT(!turns.empty());
  std::vector<Message> messages;
  if (!system.empty()) messages.push_back({.role = Role::kSystem, .text = std::string(system)});
  for (const ChatTurn& turn : turns) {
    messages.push_back({.role = Role::kUser, .text = turn.user});
    messages.push_back({.role = Role::kAssistant, .text = turn.answer});
  }
  // The answer that is still to come has loss, so it is a piece of its own: the last one, left out.
  messages.back().text = "";
  messages.back().has_loss = true;
  const InstructDocument document =
      chat_template == ChatTemplate::kTFree ? apply_tfree(messages) : apply_plain(messages);
  std::string prompt;
  for (const InstructPiece& piece : document) {
    if (!piece.has_loss) prompt += piece.content;
  }
  return prompt;
}

std::vector<std::string> chat_stops(ChatTemplate chat_template) {
  if (chat_template == ChatTemplate::kTFree) return {"<|endoftext|>"};
  return {"\n\nUser:"};
}

InstructDocument parse_instruct_document(std::string_view json, std::string_view where) {
  try {
    return pieces_of(parse_json(json));
  } catch (const LineError& error) {
    throw_input("{}: byte {}: {}; expected a document that verbatim prepare --instruct makes", where,
                error.error().column, error.error().message);
  }
}

std::string instruct_json(const InstructDocument& document) {
  std::string json = "[";
  for (const InstructPiece& piece : document) {
    if (json.size() > 1) json += ", ";
    json +=
        fmt::format(R"({{"has_loss": {}, "type": "text", "content": {}}})", piece.has_loss, Json(piece.content).dump());
  }
  return json + "]";
}

std::optional<JsonLineError> convert_chat_line(std::string_view line, ChatTemplate chat_template,
                                               std::string& document) {
  try {
    const Json json = parse_json(line);
    if (json.is_array()) {
      const InstructDocument pieces = pieces_of(json);
      if (std::none_of(pieces.begin(), pieces.end(), [](const InstructPiece& p) { return p.has_loss; })) {
        refuse("expected at least one piece with has_loss, got none in {} pieces", pieces.size());
      }
      document = instruct_json(pieces);
      return std::nullopt;
    }
    if (!json.is_object()) refuse("expected a conversation: an object or a list, got {}", kind_of(json));
    const std::vector<Message> messages = conversation_of(json);
    document = instruct_json(chat_template == ChatTemplate::kTFree ? apply_tfree(messages) : apply_plain(messages));
    return std::nullopt;
  } catch (const LineError& error) {
    return error.error();
  }
}

}  // namespace verbatim
