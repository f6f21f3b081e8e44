#include "tokenizers/tokenizer_json.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;

// More stages than any real file has; each one costs a level of recursion.
constexpr size_t kMostStages = 32;
// Ids may have holes, but the tables indexed by id must stay in proportion to the file.
constexpr int64_t kMostUnusedIds = 1 << 16;

// Reads values with a path for messages, for instance "tokenizer.json: model.vocab".
class Field {
 public:
  Field(const Json& value, std::string path) : value_(value), path_(std::move(path)) {}

  [[nodiscard]] const Json& value() const { return value_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool is_null() const { return value_.is_null(); }

  // The member, or null when it is absent.
  [[nodiscard]] Field operator[](const char* name) const {
    static const Json null;
    need(value_.is_object(), "an object");
    const auto found = value_.find(name);
    return {found == value_.end() ? null : *found, path_ + (path_.ends_with(": ") ? "" : ".") + name};
  }
  [[nodiscard]] Field element(size_t index) const {
    return {value_.at(index), path_ + "[" + std::to_string(index) + "]"};
  }
  [[nodiscard]] const std::string& text() const {
    need(value_.is_string(), "a string");
    return value_.get_ref<const std::string&>();
  }
  [[nodiscard]] bool flag(bool when_absent) const {
    if (is_null()) return when_absent;
    need(value_.is_boolean(), "true or false");
    return value_.get<bool>();
  }
  [[nodiscard]] int32_t id() const {
    need(value_.is_number_integer(), "an id");
    const bool fits = value_.is_number_unsigned() ? value_.get<uint64_t>() < 0x7FFFFFFF : value_.get<int64_t>() >= 0;
    need(fits, "an id from 0 to 2147483646");
    return value_.get<int32_t>();
  }
  [[nodiscard]] size_t array_size() const {
    need(value_.is_array(), "a list");
    return value_.size();
  }
  // The component's "type".
  [[nodiscard]] const std::string& type() const { return (*this)["type"].text(); }

  void need(bool condition, std::string_view expected) const {
    if (condition) return;
    throw_input("{}: expected {}, got {}", path_, expected, is_null() ? "nothing" : value_.type_name());
  }

 private:
  const Json& value_;
  std::string path_;
};

[[noreturn]] void refuse(const Field& field, std::string_view what) {
  throw_input("{}: {} is not supported; the tokenizer would not give the ids that its model was trained on",
              field.path(), what);
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), text) != names.end();
}

void read_added_tokens(const Field& list, TokenizerJson& out) {
  if (list.is_null()) return;
  for (size_t i = 0; i < list.array_size(); ++i) {
    const Field token = list.element(i);
    TokenizerJson::AddedToken added;
    added.id = token["id"].id();
    added.content = token["content"].text();
    added.special = token["special"].flag(false);
    added.single_word = token["single_word"].flag(false);
    added.lstrip = token["lstrip"].flag(false);
    added.rstrip = token["rstrip"].flag(false);
    added.normalized = token["normalized"].flag(!added.special);
    token.need(!added.content.empty(), "an added token with content");
    out.added_tokens.push_back(std::move(added));
  }
}

// The literal of a pattern {"String": "..."} or {"Regex": "..."}; `is_regex` says which.
std::string read_pattern(const Field& pattern, bool& is_regex) {
  pattern.need(pattern.value().is_object() && pattern.value().size() == 1, R"({"String": ...} or {"Regex": ...})");
  is_regex = pattern.value().contains("Regex");
  const Field content = pattern[is_regex ? "Regex" : "String"];
  content.need(!content.text().empty(), "a pattern that is not empty");
  return content.text();
}

void read_normalizer(const Field& normalizer, TokenizerJson& out, size_t depth) {
  if (normalizer.is_null()) return;
  normalizer.need(depth < kMostStages, "fewer nested components");
  const std::string& type = normalizer.type();
  if (type == "Sequence") {
    const Field list = normalizer["normalizers"];
    for (size_t i = 0; i < list.array_size(); ++i) read_normalizer(list.element(i), out, depth + 1);
  } else if (type == "NFC") {
    out.normal_forms.push_back(NormalForm::kNfc);
  } else if (type == "NFD") {
    out.normal_forms.push_back(NormalForm::kNfd);
  } else if (type == "NFKC") {
    out.normal_forms.push_back(NormalForm::kNfkc);
  } else if (type == "NFKD") {
    out.normal_forms.push_back(NormalForm::kNfkd);
  } else if (type == "Prepend") {
    const std::string& prefix = normalizer["prepend"].text();
    if (prefix != kSpaceMark) refuse(normalizer, "the normalizer Prepend with \"" + prefix + "\"");
    out.prefix_by_normalizer = true;
  } else if (type == "Replace") {
    bool is_regex = false;
    const std::string pattern = read_pattern(normalizer["pattern"], is_regex);
    if (is_regex || pattern != " " || normalizer["content"].text() != kSpaceMark) {
      refuse(normalizer, "the normalizer Replace of anything but a space by U+2581");
    }
    out.spaces_marked_by_normalizer = true;
  } else {
    refuse(normalizer, "the normalizer " + type);
  }
}

SplitStage read_split(const Field& split) {
  SplitStage stage;
  bool is_regex = false;
  const std::string pattern = read_pattern(split["pattern"], is_regex);
  const std::string& behavior = split["behavior"].text();
  stage.invert = split["invert"].flag(false);
  if (behavior == "Removed") {
    stage.behavior = SplitBehavior::kRemoved;
  } else if (behavior == "Isolated") {
    stage.behavior = SplitBehavior::kIsolated;
  } else if (behavior == "MergedWithPrevious") {
    stage.behavior = SplitBehavior::kMergedWithPrevious;
  } else if (behavior == "MergedWithNext") {
    stage.behavior = SplitBehavior::kMergedWithNext;
  } else if (behavior == "Contiguous") {
    stage.behavior = SplitBehavior::kContiguous;
  } else {
    refuse(split, "the split behavior " + behavior);
  }
  if (!is_regex) {
    stage.kind = SplitStage::Kind::kLiteral;
    stage.literal = pattern;
    return stage;
  }
  const std::optional<WordPattern> known = find_word_pattern(pattern);
  // The known patterns leave no gaps: isolating their matches and removing the (empty) rest are the same.
  const bool keeps_matches = (stage.behavior == SplitBehavior::kIsolated && !stage.invert) ||
                             (stage.behavior == SplitBehavior::kRemoved && stage.invert);
  if (known && keeps_matches) {
    stage.kind = SplitStage::Kind::kWords;
    stage.pattern = *known;
    return stage;
  }
  stage.kind = SplitStage::Kind::kRegex;
  stage.regex = std::make_shared<const Regex>(pattern, split.path());
  return stage;
}

void read_pre_tokenizer(const Field& pre_tokenizer, TokenizerJson& out, size_t depth) {
  if (pre_tokenizer.is_null()) return;
  pre_tokenizer.need(depth < kMostStages && out.pre_tokenizer.stages().size() < kMostStages, "fewer components");
  const std::string& type = pre_tokenizer.type();
  using Prefix = TokenizerJson::PrefixSpace;
  if (type == "Sequence") {
    const Field list = pre_tokenizer["pretokenizers"];
    for (size_t i = 0; i < list.array_size(); ++i) read_pre_tokenizer(list.element(i), out, depth + 1);
    return;
  }
  if (out.byte_level) refuse(pre_tokenizer, "the pre-tokenizer " + type + " behind ByteLevel");
  if (type == "ByteLevel") {
    out.byte_level = true;
    if (pre_tokenizer["add_prefix_space"].flag(true)) out.byte_level_prefix = Prefix::kAlways;
    if (pre_tokenizer["use_regex"].flag(true)) {
      out.pre_tokenizer.add({.kind = SplitStage::Kind::kWords, .pattern = WordPattern::kGpt2});
    }
  } else if (type == "Split") {
    out.pre_tokenizer.add(read_split(pre_tokenizer));
  } else if (type == "Digits") {
    const bool single = pre_tokenizer["individual_digits"].flag(false);
    out.pre_tokenizer.add({.kind = single ? SplitStage::Kind::kDigit : SplitStage::Kind::kDigits});
  } else if (type == "Metaspace") {
    const Field mark = pre_tokenizer["replacement"];
    if (mark.text() != kSpaceMark) refuse(mark, "the space mark \"" + mark.text() + "\"");
    out.marks_spaces = true;
    const Field scheme = pre_tokenizer["prepend_scheme"];
    if (scheme.is_null()) {
      out.metaspace_prefix = pre_tokenizer["add_prefix_space"].flag(true) ? Prefix::kAlways : Prefix::kNever;
    } else if (scheme.text() == "always") {
      out.metaspace_prefix = Prefix::kAlways;
    } else if (scheme.text() == "first") {
      out.metaspace_prefix = Prefix::kFirst;
    } else if (scheme.text() == "never") {
      out.metaspace_prefix = Prefix::kNever;
    } else {
      refuse(scheme, "the scheme " + scheme.text());
    }
    out.pre_tokenizer.add({.kind = SplitStage::Kind::kMetaspace, .split = pre_tokenizer["split"].flag(true)});
  } else {
    refuse(pre_tokenizer, "the pre-tokenizer " + type);
  }
}

void read_post_processor(const Field& post, TokenizerJson& out, size_t depth) {
  if (post.is_null()) return;
  post.need(depth < kMostStages, "fewer nested components");
  const std::string& type = post.type();
  if (type == "Sequence") {
    const Field list = post["processors"];
    for (size_t i = 0; i < list.array_size(); ++i) read_post_processor(list.element(i), out, depth + 1);
  } else if (type == "TemplateProcessing") {
    const Field single = post["single"];
    bool behind_text = false;
    for (size_t i = 0; i < single.array_size(); ++i) {
      const Field item = single.element(i);
      if (!item["Sequence"].is_null()) behind_text = true;
      if (item["SpecialToken"].is_null()) continue;
      std::string& token = behind_text ? out.end_token : out.begin_token;
      if (token.empty()) token = item["SpecialToken"]["id"].text();
    }
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    const auto name_in = [&](const char* name) {
      const Field pair = post[name];
      pair.need(pair.array_size() == 2, "a pair of token and id");
      return pair.element(0).text();
    };
    out.begin_token = name_in("cls");
    out.end_token = name_in("sep");
  } else if (type != "ByteLevel") {  // ByteLevel only trims offsets there
    refuse(post, "the post-processor " + type);
  }
}

void check_decoder(const Field& decoder, size_t depth) {
  if (decoder.is_null()) return;
  decoder.need(depth < kMostStages, "fewer nested components");
  const std::string& type = decoder.type();
  if (type == "Sequence") {
    const Field list = decoder["decoders"];
    for (size_t i = 0; i < list.array_size(); ++i) check_decoder(list.element(i), depth + 1);
  } else if (!is_one_of(type, {"ByteLevel", "ByteFallback", "Fuse", "Strip", "Replace", "Metaspace"})) {
    refuse(decoder, "the decoder " + type);
  }
}

void read_vocabulary(const Field& vocab, TokenizerJson& out) {
  vocab.need(vocab.value().is_object(), "an object of pieces and ids");
  out.vocabulary.reserve(vocab.value().size());
  for (const auto& [piece, id] : vocab.value().items()) {
    out.vocabulary.emplace_back(piece, Field(id, vocab.path() + "[\"" + piece + "\"]").id());
  }
  std::sort(out.vocabulary.begin(), out.vocabulary.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  for (size_t i = 1; i < out.vocabulary.size(); ++i) {
    if (out.vocabulary[i].second == out.vocabulary[i - 1].second) {
      throw_input("{}: \"{}\" and \"{}\" have the same id {}", vocab.path(), out.vocabulary[i - 1].first,
                  out.vocabulary[i].first, out.vocabulary[i].second);
    }
  }
}

void check_ids(const std::string& where, TokenizerJson& out) {
  int64_t largest = out.vocabulary.empty() ? -1 : out.vocabulary.back().second;
  for (const TokenizerJson::AddedToken& added : out.added_tokens) largest = std::max<int64_t>(largest, added.id);
  const auto known = static_cast<int64_t>(out.vocabulary.size() + out.added_tokens.size());
  if (largest < 0) throw_input("{}: the vocabulary is empty", where);
  if (largest >= known + kMostUnusedIds) {
    throw_input("{}: the largest id is {}, but there are only {} tokens; ids must be dense", where, largest, known);
  }
  out.vocabulary_size = static_cast<int32_t>(largest + 1);
}

void read_merges(const Field& merges, TokenizerJson& out) {
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(out.vocabulary.size());
  for (const auto& [piece, id] : out.vocabulary) ids.emplace(piece, id);
  const size_t size = merges.array_size();
  out.merges.reserve(size);
  std::string joined;
  for (size_t i = 0; i < size; ++i) {
    const Field merge = merges.element(i);
    std::string_view left;
    std::string_view right;
    if (merge.value().is_string()) {
      const std::string_view text = merge.text();
      const size_t space = text.find(' ');
      merge.need(space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos,
                 "two pieces with one space between them");
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else {
      merge.need(merge.value().is_array() && merge.value().size() == 2, "a pair of pieces");
      left = merge.element(0).text();
      right = merge.element(1).text();
    }
    joined.assign(left);
    joined += right;
    const auto id_of = [&](std::string_view piece) {
      const auto found = ids.find(piece);
      if (found == ids.end()) throw_input("{}: the piece \"{}\" is not in model.vocab", merge.path(), piece);
      return found->second;
    };
    const int32_t left_id = id_of(left);
    const int32_t right_id = id_of(right);
    out.merges.push_back({left_id, right_id, id_of(joined)});
  }
}

void read_model(const Field& model, TokenizerJson& out) {
  model.need(model.value().is_object(), "an object");
  // Files of before 2020 leave the type out.
  const std::string type = model["type"].is_null() ? "BPE" : model["type"].text();
  if (type != "BPE") refuse(model, "the model type " + type);
  const Field dropout = model["dropout"];
  if (!dropout.is_null()) {
    dropout.need(dropout.value().is_number(), "a number");
    if (dropout.value().get<double>() != 0) refuse(dropout, "dropout while encoding");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Field affix = model[name];
    if (!affix.is_null() && !affix.text().empty()) refuse(affix, "a " + std::string(name));
  }
  if (!model["unk_token"].is_null()) out.unknown_token = model["unk_token"].text();
  out.fuse_unknown = model["fuse_unk"].flag(false);
  out.byte_fallback = model["byte_fallback"].flag(false);
  out.ignore_merges = model["ignore_merges"].flag(false);
  read_vocabulary(model["vocab"], out);
}

}  // namespace

TokenizerJson TokenizerJson::parse(std::string_view text, std::string_view where) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    throw_input("{}: not valid JSON: {}", where, error.what());
  }
  const Field root(json, std::string(where) + ": ");
  root.need(json.is_object(), "a JSON object");
  if (!root["version"].is_null() && root["version"].text() != "1.0") {
    refuse(root["version"], "version " + root["version"].text());
  }
  TokenizerJson out;
  read_added_tokens(root["added_tokens"], out);
  read_normalizer(root["normalizer"], out, 0);
  out.marks_spaces = out.spaces_marked_by_normalizer;
  read_pre_tokenizer(root["pre_tokenizer"], out, 0);
  read_post_processor(root["post_processor"], out, 0);
  check_decoder(root["decoder"], 0);
  read_model(root["model"], out);
  check_ids(std::string(where), out);
  read_merges(root["model"]["merges"], out);
  if (out.byte_level && out.marks_spaces) {
    throw_input("{}: ByteLevel and marked spaces (U+2581) exclude each other", where);
  }
  if (out.prefix_by_normalizer && !out.spaces_marked_by_normalizer) {
    throw_input("{}: Prepend without Replace of spaces is not supported", where);
  }
  return out;
}

}  // namespace verbatim
