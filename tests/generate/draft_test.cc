#include "generate/draft.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "generate/generate.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using testing::kTinyByte;
using testing::kTinyPatch;
using testing::make_model;

constexpr const char* kTinyMamba = R"(
[model]
family = "byte"
[backbone]
kind = "mamba1"
width = 16
layers = 2
heads = 2
)";

constexpr const char* kTinyPattern = R"(
[model]
family = "byte"
[encoder]
ngram_sizes = [2, 3]
ngram_rows = 64
[backbone]
kind = "pattern"
pattern = "m1T1"
width = 16
heads = 2
window = 8
state_head_width = 8
)";

constexpr const char* kTinyShift = R"(
[model]
family = "byte"
[backbone]
kind = "transformer"
width = 16
layers = 2
heads = 2
token_shift = true
positions = 512
)";

constexpr const char* kTinyLearned = R"(
[model]
family = "patch"
[backbone]
kind = "level"
boundary = "learned"
width = 16
heads = 2
hints = "sentence"
[backbone.inner]
kind = "mamba2"
width = 16
layers = 1
state_head_width = 8
)";

// Says what it is told to say, whatever the text.
class StubbornDraft final : public Draft {
 public:
  explicit StubbornDraft(std::string bytes) : bytes_(std::move(bytes)) {}
  void read(std::string_view bytes) override { seen += bytes; }
  std::string propose(size_t count, double /*least_chance*/) override { return bytes_.substr(0, count); }
  std::string seen;

 private:
  std::string bytes_;
};

// Knows the text.
class KnowingDraft final : public Draft {
 public:
  explicit KnowingDraft(std::string text) : text_(std::move(text)) {}
  void read(std::string_view bytes) override { at_ += bytes.size(); }
  std::string propose(size_t count, double /*least_chance*/) override {
    return at_ < text_.size() ? text_.substr(at_, count) : std::string();
  }

 private:
  std::string text_;
  size_t at_ = 0;
};

TEST(draft, never_changes_the_text) {
  const std::string prompt = "one two ";
  for (const char* toml : {kTinyByte, kTinyPatch, kTinyMamba, kTinyPattern, kTinyShift, kTinyLearned}) {
    const auto model = make_model(toml);
    for (const double temperature : {0.0, 1.0}) {
      for (const int64_t context : {0, 48}) {
        GenerateOptions options{.max_bytes = 120,
                                .sampling = {.temperature = temperature, .min_p = 0, .seed = 3},
                                .context_bytes = context};
        const std::string plain = generate(*model, {prompt}, options).texts.front().text;
        ASSERT_GE(plain.size(), 20U);
        StubbornDraft wrong("\x01\x02\x03\x04\x05\x06\x07"), nothing("");
        KnowingDraft right(prompt + plain);
        NgramDraft ngram("and so on and so on");
        ModelDraft small(make_model(kTinyByte, 9)), same(make_model(toml));
        for (Draft* draft : std::initializer_list<Draft*>{&wrong, &nothing, &right, &ngram, &small, &same}) {
          options.draft = draft;
          EXPECT_EQ(generate(*model, {prompt}, options).texts.front().text, plain)
              << toml << " at temperature " << temperature << ", context " << context;
        }
        EXPECT_TRUE(wrong.seen.starts_with(prompt + plain.substr(0, 20)));
      }
    }
  }
}

TEST(draft, that_is_right_saves_passes) {
  const auto model = make_model(kTinyByte);
  GenerateOptions options{.max_bytes = 60, .sampling = {.temperature = 0}};
  const std::string plain = generate(*model, {"one"}, options).texts.front().text;
  ASSERT_EQ(plain.size(), 60U);
  KnowingDraft right("one" + plain);
  options.draft = &right;
  const GenerateResult result = generate(*model, {"one"}, options);
  EXPECT_EQ(result.texts.front().text, plain);
  EXPECT_LE(result.passes, 60 / 6);  // a pass reads seven bytes at most, the last choice among them
  EXPECT_GE(result.kept, 48);
}

TEST(ngram_draft, goes_on_as_the_longest_stretch_went_on) {
  NgramDraft draft("the cat sat. the dog ran. ");
  draft.read("the dog");
  EXPECT_EQ(draft.propose(4, 0.3), " ran");
  EXPECT_EQ(draft.propose(4, 1.0), "");  // nothing is certain
  NgramDraft empty;
  empty.read("ab");
  EXPECT_EQ(empty.propose(4, 0), "");
}

TEST(draft, is_refused_where_it_cannot_work) {
  const auto model = make_model(kTinyByte);
  NgramDraft draft;
  GenerateOptions options{.max_bytes = 4, .samples = 2, .draft = &draft};
  EXPECT_THROW((void)generate(*model, {"a"}, options), InputError);
  options.samples = 1;
  EXPECT_THROW((void)generate(*model, {"a", "b"}, options), InputError);
}

}  // namespace
}  // namespace verbatim
