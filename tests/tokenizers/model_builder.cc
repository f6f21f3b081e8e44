#include "tokenizers/model_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>

#include "text/utf8.h"
#include "tokenizers/byte_level.h"

namespace verbatim::testing_models {
namespace {

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string number(int field, uint64_t value) { return varint(static_cast<uint64_t>(field) << 3) + varint(value); }
std::string message(int field, const std::string& bytes) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(bytes.size()) + bytes;
}

}  // namespace

std::string SentencepieceBuilder::build() const {
  std::string model;
  for (const Piece& piece : pieces) {
    std::string bytes = message(1, piece.text);
    const auto score = std::bit_cast<uint32_t>(piece.score);
    bytes += varint(2 << 3 | 5);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(score >> shift));
    bytes += number(3, static_cast<uint64_t>(piece.type));
    model += message(1, bytes);
  }
  model += message(2, number(3, static_cast<uint64_t>(algorithm)) + number(24, space_as_suffix ? 1 : 0) +
                          number(35, byte_fallback ? 1 : 0));
  model += message(3, message(1, "identity") + number(3, dummy_prefix ? 1 : 0) +
                          number(4, remove_extra_spaces ? 1 : 0) + number(5, escape_spaces ? 1 : 0));
  return model;
}

SentencepieceBuilder small_model() {
  SentencepieceBuilder builder;
  builder.pieces = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}};
  for (int byte = 0; byte < 256; ++byte) builder.pieces.push_back({fmt::format("<0x{:02X}>", byte), 0, 6});
  float score = 0;
  for (const char* text : {"\xE2\x96\x81t", "he", "\xE2\x96\x81the", "in", "er", "\xE2\x96\x81\xE2\x96\x81", "an", "on",
                           "\xE2\x96\x81"
                           "a",
                           "\xE2\x96\x81\xE2\x96\x81\xE2\x96\x81\xE2\x96\x81", "\xE2\x96\x81th", "ing",
                           "\xC3\xBC"
                           "ber",
                           "\xD0\xBF\xD1\x80"}) {
    builder.pieces.push_back({text, score--, 1});
  }
  for (const char* text :
       {"\xE2\x96\x81", "e", "t", "a", "o", "n", "i", "h", "r", "b", "g", "\xC3\xBC", "\xD0\xBF", "\xD1\x80"}) {
    builder.pieces.push_back({text, score--, 1});
  }
  builder.pieces.push_back({"[GO]", 0, 4});
  builder.pieces.push_back({"\xE2\x96\x81[STOP]", 0, 4});
  return builder;
}

nlohmann::json llama2_style_json(const SentencepieceModel& model) {
  using PieceType = SentencepieceModel::PieceType;
  nlohmann::json json;
  json["version"] = "1.0";
  json["added_tokens"] = nlohmann::json::array();
  json["normalizer"] = {{"type", "Sequence"},
                        {"normalizers",
                         {{{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}},
                          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}}}}};
  json["pre_tokenizer"] = nullptr;
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}}};
  json["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {{{"type", "Replace"}, {"pattern", {{"String", "\xE2\x96\x81"}}}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  nlohmann::json vocabulary = nlohmann::json::object();
  std::map<std::string, float> mergeable;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencepieceModel::Piece& piece = model.pieces[id];
    vocabulary[piece.text] = id;
    if (piece.type == PieceType::kNormal) mergeable[piece.text] = piece.score;
    const bool special = piece.type == PieceType::kControl || piece.type == PieceType::kUnknown;
    if (special || piece.type == PieceType::kUserDefined) {
      json["added_tokens"].push_back(
          {{"id", id}, {"content", piece.text}, {"special", special}, {"normalized", false}});
    }
  }
  struct Merge {
    float score;
    std::string left;
    std::string right;
  };
  std::vector<Merge> merges;
  for (const auto& [text, score] : mergeable) {
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const std::string left = text.substr(0, cut);
      const std::string right = text.substr(cut);
      if (mergeable.contains(left) && mergeable.contains(right)) merges.push_back({score, left, right});
    }
  }
  // Of one piece's merges the one with the longer left half comes first, as the usual converter has it.
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    return count_utf8_units(a.left) > count_utf8_units(b.left);
  });
  nlohmann::json list = nlohmann::json::array();
  for (const Merge& merge : merges) list.push_back({merge.left, merge.right});
  json["model"] = {{"type", "BPE"},         {"unk_token", "<unk>"}, {"fuse_unk", true},
                   {"byte_fallback", true}, {"vocab", vocabulary},  {"merges", list}};
  return json;
}

nlohmann::json byte_level_json(const std::vector<std::pair<std::string, std::string>>& merges) {
  nlohmann::json json;
  json["version"] = "1.0";
  json["added_tokens"] = nlohmann::json::array();
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  json["decoder"] = {{"type", "ByteLevel"}};
  nlohmann::json vocabulary = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) vocabulary[to_byte_level(std::string(1, static_cast<char>(byte)))] = byte;
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [left, right] : merges) {
    vocabulary[left + right] = vocabulary.size();
    list.push_back(left + " " + right);
  }
  json["added_tokens"].push_back({{"id", vocabulary.size()}, {"content", "<|endoftext|>"}, {"special", true}});
  json["model"] = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", list}};
  return json;
}

const std::vector<std::string>& awkward_texts() {
  static const std::vector<std::string> texts = [] {
    std::vector<std::string> list = {
        "",
        " ",
        "  ",
        "     ",
        "\n",
        "\r\n\r\n",
        "\t x",
        "the",
        " the",
        "  the  other  ",
        "the thing in another",
        "don't DON'T they'll I'M we'\xC5\xBF",
        "x = 12345 + 67.89;\n\n  return x;\n",
        "\xC3\xBC"
        "ber \xC3\xBC",
        "\xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xE4\xB8\xAD\xE6\x96\x87\xE3\x80\x82\xE0\xA4\xB9\xE0\xA4\xBF",
        "\xF0\x9F\x98\x80\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC",
        "e\xCC\x81 \xC3\xA9 \xEF\xAC\x81",
        "\xE2\x96\x81",
        "\xE2\x96\x81the \xE2\x96\x81\xE2\x96\x81 x\xE2\x96\x81",
        "a\xFF"
        "b\xC3(\xE2\x96 \xF0\x9F\x98",
        "\xFF the",
        "\xC0\x80\xED\xA0\x80",
        "<s></s><unk><0x0A><|endoftext|>",
        "[GO] the [STOP][GO]",
        std::string("a\0b\0", 4),
        std::string(300, 'a'),
        std::string(200, ' ') + "x",
        "\xC2\xA0\xE3\x80\x80 \xE2\x80\xA8z",
    };
    std::string all_bytes;
    for (int byte = 0; byte < 256; ++byte) all_bytes.push_back(static_cast<char>(byte));
    list.push_back(all_bytes);
    return list;
  }();
  return texts;
}

}  // namespace verbatim::testing_models
