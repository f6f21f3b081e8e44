#include "settings/settings_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "settings/example_settings.h"
#include "settings/settings_reference.h"

namespace verbatim {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string apply_error(std::string_view text) {
  return input_error([&] {
    ExampleSettings settings;
    SettingsTree::from_toml(text, "run.toml").apply_to(settings);
  });
}

std::string override_error(const std::vector<std::string>& overrides) {
  return input_error([&] {
    ExampleSettings settings;
    SettingsTree tree;
    for (const std::string& words : overrides) tree.override_with(words);
    tree.apply_to(settings);
  });
}

TEST(settings_tree, sets_what_the_text_names_and_leaves_the_rest) {
  ExampleSettings settings;
  SettingsTree::from_toml(
      "name = \"first\"\nsources = ['a', \"b\"]\n[backbone]\nlayers = 12\n[optim]\nlr = 1\nbetas = [0.5, 0.25]\n",
      "run.toml")
      .apply_to(settings);
  EXPECT_EQ(settings.name, "first");
  EXPECT_THAT(settings.sources, ElementsAre("a", "b"));
  EXPECT_EQ(settings.backbone.layers, 12);
  EXPECT_EQ(settings.backbone.heads, 8);
  EXPECT_EQ(settings.optim.lr, 1.0);
  EXPECT_THAT(settings.optim.betas, ElementsAre(0.5, 0.25));
  EXPECT_EQ(settings.seed, 1);
}

TEST(settings_tree, reads_json_like_toml) {
  ExampleSettings settings;
  SettingsTree::from_json(R"({"name": "j", "backbone": {"kind": "mamba", "state_scale": 2}, "strides": [1, 2]})", "c")
      .apply_to(settings);
  EXPECT_EQ(settings.name, "j");
  EXPECT_EQ(settings.backbone.kind, "mamba");
  EXPECT_EQ(settings.backbone.state_scale, 2.0);
  EXPECT_THAT(settings.strides, ElementsAre(1, 2));
}

TEST(settings_tree, takes_overrides_with_and_without_dashes) {
  ExampleSettings settings;
  SettingsTree tree = SettingsTree::from_toml("[optim]\nlr = 1.0\n", "run.toml");
  tree.override_with("--optim.lr=3e-4");
  tree.override_with("backbone.layers=7");
  tree.override_with("batch-bytes=1_000");
  tree.override_with("optim.betas=[0.1,0.2]");
  tree.override_with("strides=2,3");
  tree.override_with("sources=a b,c");
  tree.override_with("backbone.windowed=true");
  tree.apply_to(settings);
  EXPECT_EQ(settings.optim.lr, 3e-4);
  EXPECT_EQ(settings.backbone.layers, 7);
  EXPECT_EQ(settings.batch_bytes, 1000);
  EXPECT_THAT(settings.optim.betas, ElementsAre(0.1, 0.2));
  EXPECT_THAT(settings.strides, ElementsAre(2, 3));
  EXPECT_THAT(settings.sources, ElementsAre("a b", "c"));
  EXPECT_TRUE(settings.backbone.windowed);
}

TEST(settings_tree, gives_a_text_setting_the_words_as_typed) {
  for (const auto& [words, expected] : std::vector<std::pair<std::string, std::string>>{
           {"name=123", "123"},
           {"name=1e5", "1e5"},
           {"name=true", "true"},
           {"name=2024-01-31", "2024-01-31"},
           {"name=two words", "two words"},
           {"name=a=b", "a=b"},
           {"name=\"quoted\"", "quoted"},
           {"name=", ""},
           {"name=1\nseed = 5", "1\nseed = 5"},
       }) {
    ExampleSettings settings;
    SettingsTree tree;
    tree.override_with(words);
    tree.apply_to(settings);
    EXPECT_EQ(settings.name, expected) << words;
    EXPECT_EQ(settings.seed, 1) << words;
  }
}

TEST(settings_tree, takes_numbers_that_toml_would_not_on_the_command_line) {
  ExampleSettings settings;
  SettingsTree tree;
  tree.override_with("optim.lr=.5");
  tree.apply_to(settings);
  EXPECT_EQ(settings.optim.lr, 0.5);
}

TEST(settings_tree, names_place_and_type_of_wrong_values) {
  EXPECT_THAT(apply_error("[optim]\n  lr = \"fast\"\n"),
              AllOf(StartsWith("run.toml:2:3: optim.lr must be a number"), HasSubstr("\"fast\"")));
  EXPECT_THAT(apply_error("seed = 2.5\n"),
              AllOf(StartsWith("run.toml:1:1: seed must be an integer"), HasSubstr("2.5")));
  EXPECT_THAT(apply_error("seed = 1e6\n"), HasSubstr("write 1000000"));
  EXPECT_THAT(apply_error("name = 5\n"), HasSubstr("name must be a text in quotes, got the integer 5"));
  EXPECT_THAT(apply_error("[backbone]\nwindowed = 1\n"), HasSubstr("backbone.windowed must be true or false"));
  EXPECT_THAT(apply_error("strides = 4\n"), HasSubstr("write strides = [...]"));
  EXPECT_THAT(apply_error("strides = [4, 'x']\n"), HasSubstr("strides[1] must be an integer"));
  EXPECT_THAT(apply_error("name = 2024-01-31\n"), HasSubstr("got a date or time"));
  EXPECT_THAT(apply_error("optim = 3\n"), HasSubstr("optim is a section"));
  EXPECT_THAT(apply_error("[name]\nx = 1\n"), HasSubstr("name must be a text in quotes, got a table"));
  EXPECT_THAT(override_error({"optim.lr=fast"}), StartsWith("command line: optim.lr must be a number"));
  EXPECT_THAT(override_error({"seed=1e6"}), StartsWith("command line: seed must be an integer"));
}

TEST(settings_tree, keeps_numbers_within_bounds) {
  EXPECT_EQ(apply_error("[backbone]\nlayers = 1000\n"), "no error");
  EXPECT_THAT(apply_error("[backbone]\nlayers = 1001\n"),
              StartsWith("run.toml:2:1: backbone.layers must be between 1 and 1000, got 1001"));
  EXPECT_THAT(apply_error("batch_bytes = 0\n"), HasSubstr("batch_bytes must be at least 1 bytes, got 0"));
  EXPECT_THAT(apply_error("[optim]\nbetas = [0.9, 1.5]\n"), HasSubstr("optim.betas[1] must be between 0 and 1"));
  EXPECT_THAT(apply_error("[optim]\nlr = nan\n"), HasSubstr("finite"));
  EXPECT_THAT(apply_error("[optim]\nlr = inf\n"), HasSubstr("finite"));
}

TEST(settings_tree, offers_the_nearest_choice) {
  EXPECT_THAT(apply_error("[backbone]\nkind = \"transfomer\"\n"),
              AllOf(StartsWith("run.toml:2:1: backbone.kind must be one of transformer, mamba"),
                    HasSubstr("did you mean \"transformer\"?")));
  EXPECT_THAT(apply_error("[backbone]\nkind = \"\"\n"), AllOf(HasSubstr("must be one of"), Not(HasSubstr("mean"))));
}

TEST(settings_tree, refuses_unknown_names_with_the_nearest_known) {
  EXPECT_EQ(apply_error("[optim]\nlearning_rat = 1.0\nlrr = 1.0\n"),
            "run.toml:2:1: unknown setting optim.learning_rat; [optim] knows lr, betas");
  EXPECT_EQ(apply_error("[optim]\nlrr = 1.0\n"), "run.toml:2:1: unknown setting optim.lrr; did you mean optim.lr?");
  EXPECT_EQ(apply_error("lr = 1.0\n"), "run.toml:1:1: unknown setting lr; did you mean optim.lr?");
  EXPECT_EQ(apply_error("[optm]\nlr = 1.0\n"), "run.toml:1:2: unknown setting optm; did you mean optim?");
  EXPECT_EQ(override_error({"--backbone.layer=3"}),
            "command line: unknown setting backbone.layer; did you mean backbone.layers?");
}

TEST(settings_tree, refuses_settings_without_effect_and_says_why) {
  EXPECT_EQ(apply_error("[backbone]\nkind = \"mamba\"\nheads = 4\n"),
            "run.toml:3:1: backbone.heads has no effect while backbone.kind is \"mamba\"; remove it, or set "
            "backbone.kind = \"transformer\"");
  EXPECT_EQ(apply_error("[backbone]\nwindow = 4\n"),
            "run.toml:2:1: backbone.window has no effect while backbone.windowed is false; remove it, or set "
            "backbone.windowed = true");
  EXPECT_EQ(apply_error("[backbone]\nkind = \"mamba\"\nwindow = 4\n"),
            "run.toml:3:1: backbone.window has no effect here; remove it, or set backbone.kind = \"transformer\" and "
            "backbone.windowed = true");
}

TEST(settings_tree, peeks_without_consuming) {
  SettingsTree tree = SettingsTree::from_toml("[backbone]\nkind = \"mamba\"\n", "run.toml");
  EXPECT_EQ(tree.peek("backbone.kind", "transformer"), "mamba");
  EXPECT_EQ(tree.peek("backbone.other", "transformer"), "transformer");
  EXPECT_EQ(tree.peek("backbone.kind.deeper", "none"), "none");
  EXPECT_TRUE(tree.contains("backbone"));
  EXPECT_TRUE(tree.contains("backbone.kind"));
  EXPECT_FALSE(tree.contains("kind"));
  tree.override_with("backbone.kind=transformer");
  EXPECT_EQ(tree.peek("backbone.kind", ""), "transformer");
  ExampleSettings settings;
  tree.apply_to(settings);
  EXPECT_EQ(settings.backbone.kind, "transformer");
}

TEST(settings_tree, copies_do_not_share_values) {
  SettingsTree tree = SettingsTree::from_toml("seed = 1\n", "run.toml");
  SettingsTree copy = tree;
  copy.override_with("seed=2");
  ExampleSettings first, second;
  tree.apply_to(first);
  copy.apply_to(second);
  EXPECT_EQ(first.seed, 1);
  EXPECT_EQ(second.seed, 2);
}

TEST(settings_tree, refuses_overrides_that_are_no_assignments) {
  for (const char* words : {"", "=", "seed", "--seed", "a b=1", ".lr=1", "optim.=1", "optim..lr=1", "\"x\"=1"}) {
    EXPECT_THAT(override_error({words}), HasSubstr("expected section.key=value")) << words;
  }
  EXPECT_THAT(override_error({"optim.lr=1", "optim=3"}), HasSubstr("optim is a section"));
  EXPECT_THAT(override_error({"seed=1", "seed.x=3"}), HasSubstr("is no section"));
  EXPECT_THAT(override_error({"optim={lr = 1}"}), HasSubstr("one by one"));
}

// Settings that are hard to write: quotes, control characters, many scripts, numbers with long expansions.
ExampleSettings unusual_settings() {
  ExampleSettings settings;
  settings.name = "a \"b\" \\ \n\t\r\x01\x7f \xC3\xA4\xE4\xB8\xAD\xF0\x9F\x98\x80 # = [x]";
  settings.backbone.windowed = true;
  settings.backbone.window = INT64_MAX;
  settings.optim.lr = 0.1 + 0.2;
  settings.optim.betas = {1e-300, 1.0, 0.0, 5e-324};
  settings.seed = INT64_MIN;
  settings.sources = {"", "x,y", "'''"};
  settings.strides = {};
  return settings;
}

void expect_equal(const ExampleSettings& a, const ExampleSettings& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.backbone.kind, b.backbone.kind);
  EXPECT_EQ(a.backbone.layers, b.backbone.layers);
  EXPECT_EQ(a.backbone.heads, b.backbone.heads);
  EXPECT_EQ(a.backbone.windowed, b.backbone.windowed);
  EXPECT_EQ(a.backbone.window, b.backbone.window);
  EXPECT_EQ(a.optim.lr, b.optim.lr);
  EXPECT_EQ(a.optim.betas, b.optim.betas);
  EXPECT_EQ(a.seed, b.seed);
  EXPECT_EQ(a.batch_bytes, b.batch_bytes);
  EXPECT_EQ(a.sources, b.sources);
  EXPECT_EQ(a.strides, b.strides);
}

TEST(settings_tree, reads_back_what_it_writes) {
  ExampleSettings settings = unusual_settings();
  ExampleSettings with_comments, without_comments, json;
  SettingsTree::from_toml(to_toml(settings, true), "saved").apply_to(with_comments);
  SettingsTree::from_toml(to_toml(settings, false), "saved").apply_to(without_comments);
  SettingsTree::from_json(to_json(settings), "saved").apply_to(json);
  expect_equal(settings, with_comments);
  expect_equal(settings, without_comments);
  expect_equal(settings, json);
}

TEST(settings_tree, writes_toml_completely_in_order_with_comments) {
  ExampleSettings settings;
  EXPECT_EQ(to_toml(settings, true),
            "# name of the run\n"
            "name = \"run\"\n"
            "# of all random numbers\n"
            "seed = 1\n"
            "# text per step (bytes; at least 1)\n"
            "batch_bytes = 65536\n"
            "# files\n"
            "sources = []\n"
            "# bytes per block (at least 1)\n"
            "strides = [4]\n"
            "\n"
            "# vectors to vectors\n"
            "[backbone]\n"
            "# what mixes positions (one of transformer, mamba)\n"
            "kind = \"transformer\"\n"
            "# number of layers (1 to 1000)\n"
            "layers = 4\n"
            "# attention heads (at least 1)\n"
            "heads = 8\n"
            "# look back a limited way only\n"
            "windowed = false\n"
            "\n"
            "[optim]\n"
            "# learning rate (0 to 10)\n"
            "lr = 0.0003\n"
            "# decay of the moments (0 to 1)\n"
            "betas = [0.9, 0.95]\n");
}

TEST(settings_tree, describes_each_setting_on_one_line) {
  ExampleSettings settings;
  const std::string text = describe(settings);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11);
  EXPECT_THAT(text, HasSubstr("backbone.layers"));
  EXPECT_THAT(text, HasSubstr("text per step (bytes; at least 1; default: 65536)"));
}

TEST(settings_tree, describes_settings_that_take_others) {
  const auto make = [] { return std::make_unique<ExampleSettings>(); };
  const std::string text = describe_all(make);
  ExampleSettings settings;
  EXPECT_TRUE(text.starts_with(describe(settings)));
  EXPECT_THAT(text, HasSubstr("\n  backbone.state_scale          scale of the state (default: 1.0) "
                              "(with backbone.kind = \"mamba\")\n"));
  EXPECT_THAT(text, HasSubstr("how far (positions; at least 1; default: 64) (with backbone.windowed = true)\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 13);
  // Where one stands for the other, only one is told.
  AllSettingsOptions options;
  options.meaning = [](std::string_view name) { return std::string(name == "backbone.window" ? "seed" : name); };
  EXPECT_EQ(describe_all(make, options), text) << "the help is another one";
  options.words = {"name=other"};
  EXPECT_EQ(describe_all(make, options), text) << "a word that brings nothing";
}

TEST(settings_tree, writes_json_in_order) {
  ExampleSettings settings;
  const auto object = nlohmann::ordered_json::parse(to_json(settings));
  EXPECT_EQ(object.begin().key(), "name");
  EXPECT_EQ(object["backbone"]["kind"], "transformer");
  EXPECT_EQ(object["optim"]["lr"], 3e-4);
}

TEST(settings_tree, refuses_to_save_what_toml_and_json_cannot_hold) {
  ExampleSettings settings;
  settings.name = "\xff";
  EXPECT_THAT(input_error([&] { (void)to_toml(settings, true); }), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(input_error([&] { (void)to_json(settings); }), HasSubstr("not valid UTF-8"));
}

TEST(nearest_name, finds_slips_of_the_pen_and_nothing_else) {
  const std::vector<std::string> known = {"layers", "heads", "learning_rate", "batch_bytes"};
  EXPECT_EQ(nearest_name("layer", known), "layers");
  EXPECT_EQ(nearest_name("haeds", known), "heads");
  EXPECT_EQ(nearest_name("learning-rate", known), "learning_rate");
  EXPECT_EQ(nearest_name("LAYERS", known), "layers");
  EXPECT_EQ(nearest_name("learning", known), "learning_rate");
  EXPECT_EQ(nearest_name("temperature", known), "");
  EXPECT_EQ(nearest_name("", known), "");
  EXPECT_EQ(nearest_name("x", {}), "");
  EXPECT_EQ(nearest_name(std::string(100000, 'a'), known), "");
}

}  // namespace
}  // namespace verbatim
