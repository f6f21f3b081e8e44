#include "corpus/instruct.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "corpus/memory_map.h"
#include "corpus/temporary_folder.h"

namespace verbatim {
namespace {

using testing::content_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;

const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree/mmap";

InstructDocument convert(std::string_view line, ChatTemplate chat_template) {
  std::string document;
  const auto error = convert_chat_line(line, chat_template, document);
  EXPECT_FALSE(error) << line << ": " << error->message;
  return error ? InstructDocument() : parse_instruct_document(document, "converted");
}

constexpr const char* kOpenAi =
    R"({"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"What is 2 + 2?"},)"
    R"({"role":"assistant","content":"4"},{"role":"user","content":"And 3 + 3?"},{"role":"assistant","content":"It is 6."}]})";

TEST(instruct, writes_the_documents_of_the_reference_byte_for_byte) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << kGolden << " is absent";
  const MemoryMap map = MemoryMap::open(kGolden / "instruct");
  std::istringstream lines(content_of(kGolden / "instruct.jsonl"));
  uint64_t count = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    std::string document;
    EXPECT_FALSE(convert_chat_line(line, ChatTemplate::kPlain, document));
    EXPECT_EQ(document, map.document(count++));
  }
  EXPECT_EQ(count, map.document_count());
}

TEST(instruct, follows_the_published_template) {
  EXPECT_THAT(convert(kOpenAi, ChatTemplate::kTFree),
              ElementsAre(InstructPiece{false,
                                        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief."
                                        "<|endoftext|><|start_header_id|>user<|end_header_id|>\n\nWhat is 2 + 2?"
                                        "<|endoftext|><|start_header_id|>assistant<|end_header_id|>"},
                          InstructPiece{true, "4<|endoftext|>"},
                          InstructPiece{false,
                                        "<|start_header_id|>user<|end_header_id|>\n\nAnd 3 + 3?<|endoftext|>"
                                        "<|start_header_id|>assistant<|end_header_id|>"},
                          InstructPiece{true, "It is 6.<|endoftext|>"}));
}

TEST(instruct, writes_plain_text) {
  EXPECT_THAT(convert(kOpenAi, ChatTemplate::kPlain),
              ElementsAre(InstructPiece{false, "Be brief.\n\nUser: What is 2 + 2?\n\nAssistant:"},
                          InstructPiece{true, " 4\n\n"}, InstructPiece{false, "User: And 3 + 3?\n\nAssistant:"},
                          InstructPiece{true, " It is 6."}));
}

TEST(instruct, understands_the_common_forms) {
  const InstructDocument expected = {{false, "User: Hi\n\nAssistant:"}, {true, " Hello"}};
  for (
      const char* line : {
          R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]})",
          R"({"id":7,"messages":[{"role":"user","content":[{"type":"text","text":"H"},{"type":"text","text":"i"}]},{"role":"assistant","content":"Hello","weight":1}],"x":null})",
          R"({"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Hello"}]})",
          R"({"conversations":[{"from":"user","value":"Hi"},{"from":"assistant","value":"Hello"}],"system":""})",
          R"({"prompt":"Hi","response":"Hello"})",
          R"({"instruction":"Hi","output":"Hello"})",
          R"({"instruction":"Hi","input":"","output":"Hello","system":null})",
          R"([{"has_loss":false,"type":"text","content":"User: Hi\n\nAssistant:"},{"has_loss":true,"type":"text","content":" Hello"}])",
      }) {
    EXPECT_EQ(convert(line, ChatTemplate::kPlain), expected) << line;
  }
  EXPECT_EQ(convert(R"({"instruction":"Sum up.","input":"A long text","output":"Short","system":"S"})",
                    ChatTemplate::kPlain)[0]
                .content,
            "S\n\nUser: Sum up.\n\nA long text\n\nAssistant:");
}

TEST(instruct, learns_only_what_is_to_be_learnt) {
  const char* line =
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0},{"role":"user","content":"c"},{"role":"assistant","content":"d"},{"role":"user","content":"e"}]})";
  EXPECT_THAT(convert(line, ChatTemplate::kPlain),
              ElementsAre(InstructPiece{false, "User: a\n\nAssistant: b\n\nUser: c\n\nAssistant:"},
                          InstructPiece{true, " d\n\n"}, InstructPiece{false, "User: e"}));
}

TEST(instruct, says_what_is_wrong_with_a_line) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", "expected JSON"},
      {"{", "expected JSON"},
      {R"({"prompt": "a" "response": "b"})", "expected JSON"},
      {"{\"prompt\":\"\xff\",\"response\":\"b\"}", "expected JSON"},
      {"3", "got the number 3"},
      {R"({"prompt":"a","response":"b","x":1e999})", "numbers below 1e308"},
      {"\"text\"", "got the string \"text\""},
      {"{}", "got none of them"},
      {R"({"text":"plain"})", "got none of them"},
      {R"({"prompt":"a"})", "got none of them"},
      {R"({"prompt":"a","response":"b","messages":[]})", "got several of them"},
      {R"({"prompt":1,"response":"b"})", "prompt: expected a string, got the number 1"},
      {R"({"instruction":"a","output":null})", "output: expected a string, got null"},
      {R"({"instruction":"a","input":[],"output":"b"})", "input: expected a string, got a list"},
      {R"({"messages":{}})", "messages: expected a list of messages, got an object"},
      {R"({"messages":[]})", "at least one answer"},
      {R"({"messages":["a"]})", "messages: message 0: expected an object"},
      {R"({"messages":[{"role":"user","content":"a"}]})", "at least one answer"},
      {R"({"messages":[{"content":"a"}]})", "message 0: expected a member \"role\""},
      {R"({"messages":[{"role":"user"}]})", "message 0: expected a member \"content\""},
      {R"({"messages":[{"role":"tool","content":"a"}]})", "role: expected system, user or assistant, got \"tool\""},
      {R"({"messages":[{"role":"assistant","content":null}]})", "content: expected a string, got null"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})", "part 0: expected the type \"text\""},
      {R"({"messages":[{"role":"assistant","content":"a","weight":0}]})", "at least one answer"},
      {R"({"messages":[{"role":"assistant","content":"a","weight":"1"}]})", "a weight of 0 or 1"},
      {R"({"conversations":[{"role":"user","content":"a"}]})", "expected a member \"from\""},
      {R"({"prompt":"a","response":"b","system":5})", "system: expected a string"},
      {"[]", "empty list"},
      {"[1]", "piece 0: expected an object"},
      {R"([{"has_loss":1,"type":"text","content":"a"}])", "expected true or false"},
      {R"([{"has_loss":true,"type":"image","content":"a"}])", "expected the type \"text\""},
      {R"([{"has_loss":true,"type":"text"}])", "more members"},
      {R"([{"has_loss":true,"type":"text","content":3}])", "content: expected a string"},
      {R"([{"has_loss":true,"type":"text","content":"a","x":1}])", "more members"},
      {R"([{"has_loss":false,"type":"text","content":"a"}])", "at least one piece with has_loss"},
  };
  for (const auto& [line, complaint] : table) {
    std::string document;
    const auto error = convert_chat_line(line, ChatTemplate::kTFree, document);
    ASSERT_TRUE(error) << line << " was accepted";
    EXPECT_THAT(error->message, HasSubstr(complaint)) << line;
    EXPECT_LE(error->column, line.size()) << line;
  }
  std::string document;
  EXPECT_EQ(convert_chat_line(R"({"prompt": x})", ChatTemplate::kPlain, document)->column, 11u);
}

// What a chat gives a model to go on with is what the model has read in training, up to the answer.
TEST(instruct, prompts_are_the_beginnings_of_training_documents) {
  const std::string line =
      R"({"system":"Be kind.","messages":[{"role":"user","content":"One?"},{"role":"assistant","content":"Yes."},)"
      R"({"role":"user","content":"Two?"},{"role":"assistant","content":"Also."}]})";
  for (const ChatTemplate chat_template : {ChatTemplate::kTFree, ChatTemplate::kPlain}) {
    std::string json, text;
    ASSERT_FALSE(convert_chat_line(line, chat_template, json));
    std::vector<size_t> answers;  // where they begin
    for (const InstructPiece& piece : parse_instruct_document(json, "test")) {
      if (piece.has_loss) answers.push_back(text.size());
      text += piece.content;
    }
    ASSERT_EQ(answers.size(), 2U);
    const std::string first = chat_prompt(chat_template, "Be kind.", {{.user = "One?", .answer = ""}});
    EXPECT_EQ(first, text.substr(0, answers[0])) << name_of(chat_template);
    const std::string second =
        chat_prompt(chat_template, "Be kind.", {{.user = "One?", .answer = "Yes."}, {.user = "Two?", .answer = ""}});
    EXPECT_EQ(second, text.substr(0, answers[1])) << name_of(chat_template);
    // Where an answer ends, a stop string or the end of the document follows.
    const std::string_view behind = std::string_view(text).substr(answers[0] + first.size() - answers[0]);
    EXPECT_NE(behind.find(chat_stops(chat_template).front()), std::string_view::npos) << name_of(chat_template);
  }
}

TEST(instruct, refuses_documents_that_are_none) {
  EXPECT_THAT(message_of<InputError>([] { (void)parse_instruct_document("plain text", "document 3"); }),
              HasSubstr("document 3: byte"));
  EXPECT_THAT(message_of<InputError>([] { (void)parse_instruct_document("{}", "document 3"); }),
              HasSubstr("a list of pieces, got an object"));
  const InstructDocument document = {{true, "\"\\\n\x01 ä"}, {false, ""}};
  EXPECT_EQ(parse_instruct_document(instruct_json(document), "again"), document);
}

}  // namespace
}  // namespace verbatim
