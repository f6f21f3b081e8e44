#include "cli/output.h"

#include <gtest/gtest.h>

#include "cli/progress.h"

namespace verbatim {
namespace {

TEST(record, becomes_one_json_line_in_its_order) {
  Record inner;
  inner.set("index", 3).set("text", "x");
  const Record record = Record()
                            .set("name", "a\"b\n")
                            .set("count", size_t{5})
                            .set("ratio", 0.1)
                            .set("ok", true)
                            .set_null("none")
                            .set("ids", std::vector<int64_t>{1, 2})
                            .set("inner", inner)
                            .set("list", std::vector<Record>{inner, Record()});
  EXPECT_EQ(to_json_line(record), R"({"name":"a\"b\n","count":5,"ratio":0.1,"ok":true,"none":null,"ids":[1,2],)"
                                  R"("inner":{"index":3,"text":"x"},"list":[{"index":3,"text":"x"},{}]})");
}

TEST(record, gives_text_as_text_or_as_bytes) {
  EXPECT_EQ(to_json_line(Record().set_text("h\xC3\xA9")), "{\"text\":\"h\xC3\xA9\"}");
  EXPECT_EQ(to_json_line(Record().set_text("h\xC3")), R"({"bytes":[104,195]})");
  EXPECT_EQ(to_json_line(Record().set_text("")), R"({"text":""})");
  EXPECT_EQ(to_json_line(Record().set_text("\xED\xA0\x80")), R"({"bytes":[237,160,128]})");
}

TEST(record, replaces_invalid_bytes_in_other_strings) {
  EXPECT_EQ(to_json_line(Record().set("path", "a\xFF")), "{\"path\":\"a\xEF\xBF\xBD\"}");
}

TEST(output, writes_json_or_text_and_never_both) {
  const Record record = Record().set("bytes", 12).set("bits_per_byte", 1.23456789);
  ::testing::internal::CaptureStdout();
  Output json(Output::Format::kJson);
  json.text("for people\n");
  json.record(record);
  json.flush();
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "{\"bytes\":12,\"bits_per_byte\":1.23456789}\n");

  ::testing::internal::CaptureStdout();
  Output text(Output::Format::kText);
  text.json(record);
  text.text(std::string_view("a\0b\xFF\n", 5));
  text.record(record);
  text.flush();
  EXPECT_EQ(::testing::internal::GetCapturedStdout(),
            std::string("a\0b\xFF\n", 5) + "bytes          12\nbits_per_byte  1.2346\n");
}

TEST(progress, writes_plain_lines_without_a_terminal) {
  ::testing::internal::CaptureStderr();
  {
    Progress progress({.label = "train", .unit = "steps", .total = 10, .seconds_between_lines = 0});
    progress.update(4, "bits per byte 2.50");
    progress.finish("saved");
    progress.finish("not twice");
  }
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("train: 4 of 10 (40 %) steps, bits per byte 2.50, "), 0u) << text;
  EXPECT_NE(text.find(" steps/s, "), std::string::npos) << text;
  EXPECT_NE(text.find(" left\ntrain: 4 steps, saved, "), std::string::npos) << text;
  EXPECT_EQ(text.find('\r'), std::string::npos) << text;
  EXPECT_EQ(text.find("twice"), std::string::npos) << text;
}

TEST(progress, shows_a_share_behind_the_words) {
  ::testing::internal::CaptureStderr();
  {
    Progress progress({.label = "train", .total = 50, .seconds_between_lines = 0, .count = ProgressCount::kShare});
    progress.update(24, "step 1200  1.932 bits/byte");
    progress.finish();
  }
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("train: step 1200  1.932 bits/byte  48 %  "), 0u) << text;
  EXPECT_NE(text.find(" left\ntrain: step 1200  1.932 bits/byte, "), std::string::npos) << text;
}

TEST(progress, counts_the_rate_of_a_resumed_run_from_its_start) {
  ::testing::internal::CaptureStderr();
  {
    Progress progress({.label = "x", .unit = "steps", .start = 1000000});
    progress.update(1000000);
    progress.finish();
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr().find("x: 1000000 steps, "), 0u);
}

}  // namespace
}  // namespace verbatim
