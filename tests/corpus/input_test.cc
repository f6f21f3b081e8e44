#include "corpus/input.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "corpus/compress.h"
#include "corpus/temporary_folder.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using testing::gzip;
using ::testing::HasSubstr;
using testing::message_of;
using testing::TemporaryFolder;
using testing::zstd;

class Collector final : public DocumentSink {
 public:
  void append(std::string_view bytes) override { open_.append(bytes); }
  void end() override {
    documents.push_back(open_);
    open_.clear();
  }
  std::vector<std::string> documents;
  [[nodiscard]] const std::string& open() const { return open_; }

 private:
  std::string open_;
};

std::vector<std::string> split(std::string_view text, const InputOptions& options, size_t block) {
  Collector collector;
  TextSplitter splitter(options, collector);
  while (!text.empty()) {
    splitter.feed(text.substr(0, block));
    text.remove_prefix(std::min(block, text.size()));
  }
  splitter.finish();
  EXPECT_EQ(splitter.documents(), collector.documents.size());
  EXPECT_EQ(collector.open(), "");
  return collector.documents;
}

std::vector<std::string> read(const std::filesystem::path& path, const InputOptions& options = {}) {
  Collector collector;
  read_documents({.path = path}, options, collector);
  return collector.documents;
}

struct SplitCase {
  SplitRule rule;
  std::string separator;
  std::string text;
  std::vector<std::string> documents;
};

TEST(text_splitter, cuts_documents_the_same_way_however_the_blocks_fall) {
  using enum SplitRule;
  const std::vector<SplitCase> table = {
      {kNone, "", "a\nb\r\n\n", {"a\nb\r\n\n"}},
      {kNone, "", "", {""}},
      {kLines, "", "", {}},
      {kLines, "", "a", {"a"}},
      {kLines, "", "a\n", {"a"}},
      {kLines, "", "a\n\nb\r\nc\r\r\nd\r", {"a", "", "b", "c\r", "d\r"}},
      {kLines, "", "\r\n\n\r", {"", "", "\r"}},
      {kBlankLines, "", "", {}},
      {kBlankLines, "", "\n\n \n\t\n", {}},
      {kBlankLines, "", "a", {"a"}},
      {kBlankLines, "", "a\nb\n\nc\n", {"a\nb", "c"}},
      {kBlankLines, "", "\n\n  a\n  b\n \t \n\n\nc\n\n", {"  a\n  b", "c"}},
      {kBlankLines, "", "a\r\nb\r\n\r\nc\rd\r\n", {"a\r\nb", "c\rd"}},
      {kBlankLines, "", "a \n b\r", {"a \n b\r"}},
      {kSeparator, "<|end|>", "a<|end|>b<|end|>", {"a", "b"}},
      {kSeparator, "<|end|>", "<|end|><|end|>a<|en<|end|>d|>", {"", "", "a<|en", "d|>"}},
      {kSeparator, "aab", "aaaabaaab", {"aa", "a"}},
      {kSeparator, "\n", "a\n\nb", {"a", "", "b"}},
      {kSeparator, std::string("\0", 1), std::string("a\0b", 3), {"a", "b"}},
      {kSeparator, "x", "", {}},
  };
  for (const SplitCase& c : table) {
    InputOptions options;
    options.split = c.rule;
    options.separator = c.separator;
    for (size_t block = 1; block <= c.text.size() + 1; ++block) {
      EXPECT_EQ(split(c.text, options, block), c.documents) << c.text << " in blocks of " << block;
    }
  }
}

TEST(text_splitter, keeps_memory_bounded_on_a_line_of_blanks) {
  InputOptions options;
  options.split = SplitRule::kBlankLines;
  const std::string blanks(3 << 20, ' ');
  for (const size_t block : {1000u, 100000u, 10000000u}) {
    EXPECT_THAT(split("a\n\n" + blanks + "\n\nb", options, block), ElementsAre("a", blanks, "b"));
  }
}

TEST(read_documents, reads_compressed_files_like_plain_ones) {
  const TemporaryFolder folder;
  std::string text;
  Random random(1);
  for (int i = 0; i < 300000; ++i) text += static_cast<char>('a' + random.below(20) * random.below(2));
  EXPECT_THAT(read(folder.write("plain.txt", text)), ElementsAre(text));
  EXPECT_THAT(read(folder.write("a.txt.gz", gzip(text))), ElementsAre(text));
  EXPECT_THAT(read(folder.write("a.txt.zst", zstd(text))), ElementsAre(text));
  EXPECT_THAT(read(folder.write("two.md.gz", gzip(text) + gzip("more"))), ElementsAre(text + "more"));
  EXPECT_THAT(read(folder.write("two.md.zst", zstd(text) + zstd("more"))), ElementsAre(text + "more"));
  EXPECT_THAT(read(folder.write("padded.md.gz", gzip(text) + std::string(1000, '\0'))), ElementsAre(text));
  EXPECT_THAT(read(folder.write("empty.txt.gz", gzip(""))), ElementsAre(""));
  EXPECT_THAT(read(folder.write("empty.txt.zst", zstd(""))), ElementsAre(""));
  const std::string zeros(10 << 20, '\0');
  EXPECT_THAT(read(folder.write("zeros.txt.gz", gzip(zeros))), ElementsAre(zeros));
  EXPECT_THAT(read(folder.write("zeros.txt.zst", zstd(zeros))), ElementsAre(zeros));
  EXPECT_THAT(read(folder.write("a.jsonl.gz", gzip("{\"text\": \"x\"}\n\n{\"text\": \"y\"}"))), ElementsAre("x", "y"));
}

TEST(read_documents, names_damaged_compressed_files) {
  const TemporaryFolder folder;
  const std::string text(100000, 'q');
  for (const std::string kind : {"gz", "zst"}) {
    const std::string whole = kind == "gz" ? gzip(text) : zstd(text);
    const auto message = [&](const std::string& name, const std::string& bytes) {
      const auto path = folder.write(name + ".txt." + kind, bytes);
      return message_of<InputError>([&] { read(path); });
    };
    EXPECT_THAT(message("short", whole.substr(0, whole.size() - 3)), HasSubstr("cut short"));
    EXPECT_THAT(message("half", whole.substr(0, whole.size() / 2)), HasSubstr("half.txt." + kind));
    EXPECT_THAT(message("wrong", "this is plain text, long enough"), HasSubstr("damaged"));
    EXPECT_THAT(message("tail", whole + "garbage"), HasSubstr("tail.txt." + kind));
  }
}

TEST(read_documents, reports_bytes_and_hash_of_the_stored_file) {
  const TemporaryFolder folder;
  const std::string stored = gzip("some text");
  Collector collector;
  uint64_t seen = 0;
  const InputReport report = read_documents({.path = folder.write("a.txt.gz", stored)}, {}, collector,
                                            {.progress = [&](uint64_t bytes) { seen += bytes; }, .hash = true});
  EXPECT_EQ(report.bytes, stored.size());
  EXPECT_EQ(seen, stored.size());
  EXPECT_EQ(report.sha256, sha256_hex(stored));
  EXPECT_EQ(report.documents, 1u);
}

TEST(read_documents, reads_pipes_and_looks_at_their_first_bytes) {
  const TemporaryFolder folder;
  for (const std::string& content : {std::string("plain\ntext"), gzip("plain\ntext"), zstd("plain\ntext")}) {
    const auto pipe = folder / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << content; });
    EXPECT_THAT(read(pipe), ElementsAre("plain\ntext"));
    writer.join();
    std::filesystem::remove(pipe);
  }
}

TEST(read_documents, places_malformed_json_lines) {
  const TemporaryFolder folder;
  const auto path = folder.write("a.jsonl", "{\"text\": \"one\"}\n\n{\"text\": 5}\n{\"text\": \"two\"}\n{\"te");
  EXPECT_THAT(message_of<InputError>([&] { read(path); }), HasSubstr("a.jsonl:3:10: member \"text\" is no string"));
  InputOptions lenient;
  lenient.lenient = true;
  Collector collector;
  const InputReport report = read_documents({.path = path}, lenient, collector);
  EXPECT_THAT(collector.documents, ElementsAre("one", "two"));
  EXPECT_EQ(report.malformed_lines, 2u);
  EXPECT_THAT(report.first_malformed, HasSubstr("a.jsonl:3:10"));
  InputOptions other;
  other.field = "body";
  EXPECT_THAT(message_of<InputError>([&] { read(path, other); }), HasSubstr("no member \"body\""));
}

TEST(read_documents, reads_json_lines_across_blocks) {
  const TemporaryFolder folder;
  std::string file = "\xEF\xBB\xBF";  // a byte order mark
  std::vector<std::string> expected;
  Random random(2);
  for (int i = 0; i < 300; ++i) {
    expected.emplace_back(random.below(20000), 'x');
    file += "{\"id\": " + std::to_string(i) + ", \"text\": \"" + expected.back() + "\"}\r\n";
  }
  EXPECT_EQ(read(folder.write("a.ndjson", file)), expected);
}

TEST(find_inputs, lists_folders_in_the_order_of_bytes_and_counts_what_it_skips) {
  const TemporaryFolder folder;
  for (const char* name : {"b.txt", "a/z.md", "a/y.jsonl.zst", "B.text", "a/deep/er/q.markdown.gz", "c.ndjson"}) {
    folder.write(name, "x");
  }
  for (const char* name : {"image.png", ".hidden.txt", ".git/config.txt", "a/data.csv", "a/x.gz"})
    folder.write(name, "x");
  std::filesystem::create_directory_symlink(folder.path(), folder / "loop");
  const InputList list = find_inputs({folder.path().string()}, {});
  std::vector<std::string> names;
  for (const InputFile& file : list.files) names.push_back(file.path.lexically_relative(folder.path()).string());
  EXPECT_THAT(names, ElementsAre("B.text", "a/deep/er/q.markdown.gz", "a/y.jsonl.zst", "a/z.md", "b.txt", "c.ndjson"));
  EXPECT_EQ(list.skipped_files, 6u);
  EXPECT_EQ(list.total_bytes, 6u);
  InputOptions all;
  all.all_files = true;
  EXPECT_EQ(find_inputs({folder.path().string()}, all).files.size(), 9u);
}

TEST(find_inputs, expands_patterns_in_the_order_of_bytes) {
  const TemporaryFolder folder;
  for (const char* name : {"b1.txt", "a1.txt", "a2.log", "[x].txt"}) folder.write(name, "x");
  const auto names = [&](const std::string& pattern) {
    std::vector<std::string> found;
    for (const InputFile& file : find_inputs({(folder / pattern).string()}, {}).files) {
      found.push_back(file.path.filename().string());
    }
    return found;
  };
  EXPECT_THAT(names("*1.txt"), ElementsAre("a1.txt", "b1.txt"));
  EXPECT_THAT(names("a?.*"), ElementsAre("a1.txt", "a2.log"));
  EXPECT_THAT(names("[x].txt"), ElementsAre("[x].txt"));
  EXPECT_THAT(message_of<InputError>([&] { names("*.pdf"); }), HasSubstr("no file matches"));
  EXPECT_THAT(message_of<InputError>([&] { names("absent.txt"); }), HasSubstr("no such file"));
}

}  // namespace
}  // namespace verbatim
