#include "corpus/prepare.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "corpus/compress.h"
#include "corpus/corpus.h"
#include "corpus/staging_folder.h"
#include "corpus/temporary_folder.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

using testing::content_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;
using testing::TemporaryFolder;

std::vector<std::string> documents_of(const MemoryMap& map) {
  std::vector<std::string> documents;
  for (uint64_t i = 0; i < map.document_count(); ++i) documents.emplace_back(map.document(i));
  return documents;
}

std::vector<std::string> all_documents(const std::filesystem::path& folder) {
  const Corpus corpus = Corpus::open(folder);
  std::vector<std::string> documents = documents_of(corpus.train());
  for (std::string& document : documents_of(corpus.valid())) documents.push_back(std::move(document));
  return documents;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// n different documents, one per line.
std::string many_lines(int n, uint64_t seed = 1) {
  Random random(seed);
  std::string text;
  for (int i = 0; i < n; ++i) text += "line " + std::to_string(i) + " " + std::to_string(random()) + "\n";
  return text;
}

PrepareOptions lines_of(const TemporaryFolder& folder, const std::string& text) {
  PrepareOptions options;
  options.inputs = {folder.write("in.txt", text).string()};
  options.out = folder / "corpus";
  options.input.split = SplitRule::kLines;
  return options;
}

TEST(prepare, writes_every_document_once_and_says_what_it_left_out) {
  const TemporaryFolder folder;
  PrepareOptions options = lines_of(folder, "one\ntwo\none\n\nthree \xFF\ntwo\n");
  options.valid_fraction = 0;
  const PrepareSummary summary = prepare_corpus(options);
  EXPECT_THAT(documents_of(Corpus::open(options.out).train()), ElementsAre("one", "two", "three \xFF"));
  EXPECT_EQ(summary.train.documents, 3u);
  EXPECT_EQ(summary.train.bytes, 13u);
  EXPECT_EQ(summary.duplicate_documents, 2u);
  EXPECT_EQ(summary.duplicate_bytes, 6u);
  EXPECT_EQ(summary.empty_documents, 1u);
  EXPECT_EQ(summary.invalid_utf8_documents, 1u);
  EXPECT_EQ(summary.split, SplitMethod::kNone);
  EXPECT_THAT(names_in(options.out), ElementsAre("corpus.json", "train.bin", "train.idx", "train.meta.json",
                                                 "valid.bin", "valid.idx", "valid.meta.json"));
  EXPECT_THAT(names_in(folder.path()), ElementsAre("corpus", "in.txt"));
}

TEST(prepare, describes_the_corpus_in_json) {
  const TemporaryFolder folder;
  const PrepareOptions options = lines_of(folder, many_lines(1000));
  (void)prepare_corpus(options);
  const auto json = nlohmann::json::parse(content_of(options.out / "corpus.json"));
  EXPECT_EQ(json["documents"], 1000);
  EXPECT_EQ(json["bytes"].get<uint64_t>(), content_of(folder / "in.txt").size() - 1000);
  EXPECT_EQ(json["train"]["sha256"], sha256_hex(content_of(options.out / "train.bin")));
  EXPECT_EQ(json["valid"]["sha256"], sha256_hex(content_of(options.out / "valid.bin")));
  EXPECT_EQ(json["train"]["documents"].get<int>() + json["valid"]["documents"].get<int>(), 1000);
  EXPECT_EQ(json["options"]["split"], "lines");
  ASSERT_EQ(json["sources"].size(), 1u);
  EXPECT_EQ(json["sources"][0]["path"], (folder / "in.txt").string());
  EXPECT_EQ(json["sources"][0]["sha256"], sha256_hex(content_of(folder / "in.txt")));
}

TEST(prepare, writes_the_memory_map_of_the_reference) {
  const TemporaryFolder folder;
  const std::filesystem::path data = std::filesystem::path(VERBATIM_TEST_DATA) / "corpus";
  PrepareOptions options = lines_of(folder, content_of(data / "instruct.jsonl"));
  options.valid_fraction = 0;
  (void)prepare_corpus(options);
  for (const std::string suffix : {".bin", ".idx", ".meta.json"}) {
    EXPECT_EQ(content_of(options.out / ("train" + suffix)), content_of(data / ("instruct" + suffix))) << suffix;
  }
}

TEST(prepare, reads_all_kinds_of_files_in_a_folder) {
  const TemporaryFolder folder;
  folder.write("in/a.txt", "text");
  folder.write("in/b.md.gz", testing::gzip("# markdown"));
  folder.write("in/c/d.jsonl.zst", testing::zstd("{\"text\": \"json 1\"}\n{\"text\": \"json 2\"}\n"));
  folder.write("in/picture.png", "skipped");
  PrepareOptions options;
  options.inputs = {(folder / "in").string()};
  options.out = folder / "new/corpus/";
  const PrepareSummary summary = prepare_corpus(options);
  std::string all;
  for (const std::string& document : all_documents(options.out)) all += document;
  EXPECT_EQ(all.size(), std::string("text# markdownjson 1json 2").size());
  EXPECT_EQ(summary.skipped_files, 1u);
}

TEST(prepare, splits_by_content_whatever_the_order_and_the_neighbours) {
  const TemporaryFolder folder;
  const PrepareOptions options = lines_of(folder, many_lines(5000));
  const PrepareSummary summary = prepare_corpus(options);
  EXPECT_EQ(summary.split, SplitMethod::kHash);
  EXPECT_NEAR(static_cast<double>(summary.valid.documents), 250, 80);
  const auto valid = documents_of(Corpus::open(options.out).valid());

  const TemporaryFolder other;
  std::vector<std::string> lines = documents_of(Corpus::open(options.out).train());
  lines.insert(lines.begin() + 100, valid.begin(), valid.end());
  std::string reversed;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) reversed += *line + "\n";
  const PrepareOptions again = lines_of(other, reversed + many_lines(300, 2));
  (void)prepare_corpus(again);
  const auto more = documents_of(Corpus::open(again.out).valid());
  const std::set<std::string> more_set(more.begin(), more.end());
  for (const std::string& document : valid) EXPECT_TRUE(more_set.contains(document));

  const TemporaryFolder same;
  const PrepareOptions repeat = lines_of(same, many_lines(5000));
  (void)prepare_corpus(repeat);
  for (const char* file : {"train.bin", "train.idx", "train.meta.json", "valid.bin", "valid.idx", "valid.meta.json"}) {
    EXPECT_EQ(content_of(repeat.out / file), content_of(options.out / file)) << file;
  }
}

TEST(prepare, holds_out_the_tail_of_a_single_document_at_a_line_break) {
  const TemporaryFolder folder;
  PrepareOptions options = lines_of(folder, many_lines(1000));
  options.input.split = SplitRule::kNone;
  const PrepareSummary summary = prepare_corpus(options);
  EXPECT_EQ(summary.split, SplitMethod::kTail);
  const Corpus corpus = Corpus::open(options.out);
  ASSERT_EQ(corpus.train().document_count(), 1u);
  ASSERT_EQ(corpus.valid().document_count(), 1u);
  const std::string text = content_of(folder / "in.txt");
  EXPECT_EQ(std::string(corpus.train().document(0)) + std::string(corpus.valid().document(0)), text);
  EXPECT_TRUE(corpus.train().document(0).ends_with('\n'));
  EXPECT_NEAR(static_cast<double>(corpus.valid().total_bytes()), 0.05 * static_cast<double>(text.size()), 100);
  const auto json = nlohmann::json::parse(content_of(options.out / "corpus.json"));
  EXPECT_EQ(json["split_method"], "tail");
  EXPECT_EQ(json["train"]["sha256"], sha256_hex(content_of(options.out / "train.bin")));
  EXPECT_EQ(names_in(options.out).size(), 7u);
}

TEST(prepare, holds_out_a_tail_between_characters_when_there_is_no_line_break) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 40000; ++i) text += "\xE4\xBA\xBA";
  PrepareOptions options = lines_of(folder, text);
  const PrepareSummary summary = prepare_corpus(options);
  EXPECT_EQ(summary.split, SplitMethod::kTail);
  const Corpus corpus = Corpus::open(options.out);
  EXPECT_TRUE(is_valid_utf8(corpus.train().document(0)));
  EXPECT_TRUE(is_valid_utf8(corpus.valid().document(0)));
  EXPECT_EQ(corpus.train().total_bytes() + corpus.valid().total_bytes(), text.size());
}

TEST(prepare, holds_out_a_tail_when_one_document_is_nearly_everything) {
  const TemporaryFolder folder;
  // Whichever side the huge document falls on, the hashes cannot divide the bytes as asked.
  for (int seed = 0; seed < 10; ++seed) {
    std::string huge;
    for (int i = 0; i < 3000; ++i) huge += std::to_string(seed * 7919 + i) + ' ';
    PrepareOptions options = lines_of(folder, "short\n" + huge + "\nother\n");
    options.force = true;
    const PrepareSummary summary = prepare_corpus(options);
    ASSERT_EQ(summary.split, SplitMethod::kTail);
    ASSERT_EQ(summary.train.documents + summary.valid.documents, 4u);
    ASSERT_EQ(summary.train.bytes + summary.valid.bytes, huge.size() + 10);
    ASSERT_NEAR(static_cast<double>(summary.valid.bytes), 0.05 * static_cast<double>(huge.size()), 20);
  }
}

TEST(prepare, leaves_a_document_of_one_byte_whole) {
  const TemporaryFolder folder;
  const PrepareOptions options = lines_of(folder, "x\n");
  const PrepareSummary summary = prepare_corpus(options);
  EXPECT_EQ(summary.split, SplitMethod::kNone);
  EXPECT_THAT(documents_of(Corpus::open(options.out).train()), ElementsAre("x"));
}

TEST(prepare, keeps_held_out_text_out_of_the_training_part) {
  const TemporaryFolder folder;
  PrepareOptions options = lines_of(folder, "a\nb\nc\nb\n");
  options.valid_inputs = {folder.write("valid.txt", "b\nd\nd\n").string()};
  const PrepareSummary summary = prepare_corpus(options);
  const Corpus corpus = Corpus::open(options.out);
  EXPECT_THAT(documents_of(corpus.train()), ElementsAre("a", "c"));
  EXPECT_THAT(documents_of(corpus.valid()), ElementsAre("b", "d"));
  EXPECT_EQ(summary.split, SplitMethod::kFiles);
  EXPECT_EQ(summary.duplicate_documents, 3u);
  EXPECT_EQ(summary.held_out_duplicates, 2u);
}

TEST(prepare, streams_documents_that_are_longer_than_its_buffer) {
  const TemporaryFolder folder;
  // Documents of 18 MiB whose first 16 MiB are the same, one of them twice, and a short one.
  std::string large(18 << 20, 'x');
  for (size_t i = 0; i < large.size(); i += 4096) large.replace(i, 3, "\xE4\xBA\xBA");
  folder.write("in/1.txt", large);
  folder.write("in/2.txt", large);
  folder.write("in/3.txt", "short");
  large.back() = '\xFF';
  folder.write("in/4.txt", large);
  PrepareOptions options;
  options.inputs = {(folder / "in").string()};
  options.out = folder / "corpus";
  options.valid_fraction = 0;
  const PrepareSummary summary = prepare_corpus(options);
  EXPECT_EQ(summary.duplicate_documents, 1u);
  EXPECT_EQ(summary.duplicate_bytes, large.size());
  EXPECT_EQ(summary.invalid_utf8_documents, 1u);
  const Corpus corpus = Corpus::open(options.out);
  ASSERT_EQ(corpus.train().document_count(), 3u);
  EXPECT_EQ(corpus.train().document(1), "short");
  EXPECT_TRUE(corpus.train().document(2) == large);
  large.back() = 'x';
  EXPECT_TRUE(corpus.train().document(0) == large);
  EXPECT_EQ(summary.train.sha256, sha256_hex(content_of(options.out / "train.bin")));
}

TEST(prepare, refuses_to_overwrite_unless_told_and_then_only_its_own) {
  const TemporaryFolder folder;
  PrepareOptions options = lines_of(folder, many_lines(100));
  (void)prepare_corpus(options);
  const std::string before = content_of(options.out / "train.bin");
  EXPECT_THAT(message_of<InputError>([&] { (void)prepare_corpus(options); }), HasSubstr("--force"));
  EXPECT_EQ(content_of(options.out / "train.bin"), before);

  folder.write("in.txt", many_lines(200));
  options.force = true;
  EXPECT_EQ(prepare_corpus(options).sources.size(), 1u);
  EXPECT_EQ(all_documents(options.out).size(), 200u);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("corpus", "in.txt"));

  folder.write("corpus/thesis.txt", "precious");
  EXPECT_THAT(message_of<InputError>([&] { (void)prepare_corpus(options); }), HasSubstr("thesis.txt"));
  EXPECT_EQ(content_of(options.out / "thesis.txt"), "precious");

  folder.write("notes/diary.txt", "precious");
  options.out = folder / "notes";
  EXPECT_THAT(message_of<InputError>([&] { (void)prepare_corpus(options); }), HasSubstr("not made by prepare"));
  options.out = folder / "in.txt";
  EXPECT_THAT(message_of<InputError>([&] { (void)prepare_corpus(options); }), HasSubstr("is no folder"));
  std::filesystem::create_directory(folder / "empty");
  options.out = folder / "empty";
  EXPECT_EQ(prepare_corpus(options).sources.size(), 1u);
}

TEST(prepare, explains_mistakes_and_leaves_nothing_behind) {
  const TemporaryFolder folder;
  const auto message = [&](auto change) {
    PrepareOptions options = lines_of(folder, "text\n");
    change(options);
    const std::string text = message_of<InputError>([&] { (void)prepare_corpus(options); });
    EXPECT_FALSE(std::filesystem::exists(folder / "corpus"));
    EXPECT_FALSE(std::filesystem::exists(folder / ".corpus.preparing"));
    return text;
  };
  EXPECT_THAT(message([](auto& o) { o.inputs = {}; }), HasSubstr("nothing to prepare"));
  EXPECT_THAT(message([](auto& o) { o.inputs = {"-", "-"}; }), HasSubstr("only once"));
  EXPECT_THAT(message([](auto& o) { o.out = ""; }), HasSubstr("--out"));
  EXPECT_THAT(message([](auto& o) { o.valid_fraction = 0.9; }), HasSubstr("0.9"));
  EXPECT_THAT(message([&](auto& o) { o.inputs = {(folder / "absent").string()}; }), HasSubstr("absent"));
  EXPECT_THAT(message([&](auto& o) { o.inputs = {folder.write("bad.jsonl", "{\"text\": \"a\"}\n{}\n").string()}; }),
              HasSubstr("bad.jsonl:2:1"));
  EXPECT_THAT(message([&](auto& o) { o.inputs = {folder.write("empty.txt", "\n\n").string()}; }), HasSubstr("no text"));
  EXPECT_THAT(message([&](auto& o) {
                folder.write("pictures/a.png", "x");
                o.inputs = {(folder / "pictures").string()};
              }),
              HasSubstr("a.png"));
  EXPECT_THAT(message([&](auto& o) { o.valid_inputs = {folder.write("all.txt", "text\n").string()}; }),
              HasSubstr("without what is held out"));
  EXPECT_THAT(message([&](auto& o) {
                o.before_publishing = [](const MemoryMap&, const std::filesystem::path&) {
                  throw InputError("stopped");
                };
              }),
              HasSubstr("stopped"));
}

TEST(prepare, stops_when_progress_throws_and_leaves_nothing_behind) {
  const TemporaryFolder folder;
  const PrepareOptions options = lines_of(folder, many_lines(50000));
  uint64_t blocks = 0;
  EXPECT_THROW((void)prepare_corpus(options,
                                    [&](const PrepareProgress& progress) {
                                      EXPECT_EQ(progress.total_bytes, std::filesystem::file_size(folder / "in.txt"));
                                      if (++blocks == 3) throw std::runtime_error("stop");
                                    }),
               std::runtime_error);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("in.txt"));
}

TEST(prepare, adds_files_before_the_folder_appears) {
  const TemporaryFolder folder;
  PrepareOptions options = lines_of(folder, many_lines(100));
  options.before_publishing = [&](const MemoryMap& train, const std::filesystem::path& staged) {
    EXPECT_FALSE(std::filesystem::exists(options.out));
    EXPECT_GT(train.document_count(), 50u);
    std::ofstream(staged / "tokenizer.json") << "{}";
  };
  (void)prepare_corpus(options);
  EXPECT_EQ(content_of(options.out / "tokenizer.json"), "{}");
  options.force = true;
  options.before_publishing = nullptr;
  (void)prepare_corpus(options);
  EXPECT_FALSE(std::filesystem::exists(options.out / "tokenizer.json"));
}

// Runs prepare in a child and kills it after a while. Returns whether it was still running.
bool killed_after(const PrepareOptions& options, uint64_t microseconds) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      (void)prepare_corpus(options);
    } catch (...) {
      ::_exit(3);
    }
    ::_exit(0);
  }
  ::usleep(static_cast<useconds_t>(microseconds));
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

TEST(prepare, killed_at_any_moment_leaves_all_or_nothing) {
  const TemporaryFolder folder;
  PrepareOptions options = lines_of(folder, many_lines(60000));
  const auto whole_run = [&] {
    const auto start = std::chrono::steady_clock::now();
    (void)prepare_corpus(options);
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count();
  };
  const auto duration = static_cast<uint64_t>(whole_run());
  std::map<std::string, std::string> expected;
  for (const std::string& name : names_in(options.out)) expected[name] = content_of(options.out / name);
  const auto check_complete = [&] {
    for (const auto& [name, content] : expected) ASSERT_EQ(content_of(options.out / name), content) << name;
  };
  Random random(4);
  int killed = 0;
  for (int round = 0; round < 40; ++round) {
    std::filesystem::remove_all(options.out);
    killed += killed_after(options, random.below(duration + duration / 4));
    if (std::filesystem::exists(options.out)) check_complete();
  }
  EXPECT_GT(killed, 5);
  // The next run is not disturbed by what is left, and removes it.
  std::filesystem::remove_all(options.out);
  (void)prepare_corpus(options);
  check_complete();
  EXPECT_THAT(names_in(folder.path()), ElementsAre("corpus", "in.txt"));

  // With --force there is always a whole corpus.
  options.force = true;
  for (int round = 0; round < 20; ++round) {
    killed_after(options, random.below(duration + duration / 4));
    check_complete();
  }
  (void)prepare_corpus(options);
  check_complete();
  EXPECT_THAT(names_in(folder.path()), ElementsAre("corpus", "in.txt"));
}

TEST(staging_folder, belongs_to_one_process_at_a_time) {
  const TemporaryFolder folder;
  StagingFolder first(folder / "out");
  EXPECT_THAT(message_of<InputError>([&] { StagingFolder second(folder / "out"); }), HasSubstr("another process"));
  folder.write(".out.preparing/file", "content");
  first.publish();
  EXPECT_THAT(names_in(folder / "out"), ElementsAre("file"));
  StagingFolder third(folder / "out");
  EXPECT_TRUE(std::filesystem::exists(folder / ".out.preparing"));
}

TEST(staging_folder, does_not_touch_what_it_did_not_make) {
  const TemporaryFolder folder;
  folder.write(".out.preparing/diary.txt", "precious");
  EXPECT_THAT(message_of<InputError>([&] { StagingFolder staging(folder / "out"); }), HasSubstr("in the way"));
  EXPECT_EQ(content_of(folder / ".out.preparing/diary.txt"), "precious");
}

std::string many_chats(int n) {
  std::string lines;
  for (int i = 0; i < n; ++i) {
    lines += R"({"prompt":"question )" + std::to_string(i) + R"(","response":"answer )" + std::to_string(i) + "\"}\n";
  }
  return lines;
}

PrepareOptions chat_options(const TemporaryFolder& folder, const std::string& lines, ChatTemplate chat_template) {
  PrepareOptions options;
  options.inputs = {folder.write("chats.jsonl", lines).string()};
  options.out = folder / "out";
  options.chat_template = chat_template;
  return options;
}

TEST(prepare, turns_conversations_into_documents_of_pieces) {
  const TemporaryFolder folder;
  const PrepareOptions options = chat_options(folder, many_chats(200) + many_chats(1), ChatTemplate::kTFree);
  const PrepareSummary summary = prepare_corpus(options);
  EXPECT_EQ(summary.train.documents + summary.valid.documents, 200u);
  EXPECT_EQ(summary.duplicate_documents, 1u);
  EXPECT_EQ(summary.split, SplitMethod::kHash);
  for (const std::string& document : all_documents(options.out)) {
    const InstructDocument pieces = parse_instruct_document(document, "document");
    ASSERT_EQ(pieces.size(), 2u);
    EXPECT_TRUE(pieces[1].has_loss);
    EXPECT_THAT(pieces[1].content, ::testing::EndsWith("<|endoftext|>"));
  }
  const auto json = nlohmann::json::parse(content_of(options.out / "corpus.json"));
  EXPECT_EQ(json["kind"], "instruct");
  EXPECT_EQ(json["chat_template"], "tfree");
  EXPECT_FALSE(json["options"].contains("field"));
  const Corpus corpus = Corpus::open(options.out);
  EXPECT_EQ(corpus.kind(), "instruct");
  EXPECT_EQ(corpus.chat_template(), "tfree");
}

TEST(prepare, says_that_a_corpus_is_text) {
  const TemporaryFolder folder;
  PrepareOptions options;
  options.inputs = {folder.write("a.txt", many_lines(10)).string()};
  options.out = folder / "out";
  prepare_corpus(options);
  const auto json = nlohmann::json::parse(content_of(options.out / "corpus.json"));
  EXPECT_EQ(json["kind"], "text");
  EXPECT_FALSE(json.contains("chat_template"));
  EXPECT_EQ(Corpus::open(options.out).kind(), "text");
  EXPECT_EQ(Corpus::open(options.out).chat_template(), "");
}

TEST(prepare, never_cuts_a_conversation) {
  for (const int count : {1, 2, 3}) {
    const TemporaryFolder folder;
    const PrepareOptions options = chat_options(folder, many_chats(count), ChatTemplate::kPlain);
    const PrepareSummary summary = prepare_corpus(options);
    EXPECT_EQ(summary.train.documents + summary.valid.documents, static_cast<uint64_t>(count));
    EXPECT_EQ(summary.valid.documents, count == 1 ? 0u : 1u);
    EXPECT_EQ(summary.split, count == 1 ? SplitMethod::kNone : SplitMethod::kLastDocuments);
    for (const std::string& document : all_documents(options.out)) {
      EXPECT_EQ(parse_instruct_document(document, "document").size(), 2u);
    }
    EXPECT_FALSE(std::filesystem::exists(options.out / "first"));
  }
}

TEST(prepare, names_the_line_of_a_broken_conversation) {
  const TemporaryFolder folder;
  const std::string lines = many_chats(1) + R"({"messages":[{"role":"tool","content":"a"}]})" + "\n" + many_chats(3);
  PrepareOptions options = chat_options(folder, lines, ChatTemplate::kPlain);
  const std::string message = message_of<InputError>([&] { prepare_corpus(options); });
  EXPECT_THAT(message, HasSubstr("chats.jsonl:2:1: messages: message 0: role: expected system, user or assistant"));
  EXPECT_THAT(message, HasSubstr("--lenient"));
  EXPECT_FALSE(std::filesystem::exists(options.out));
  options.input.lenient = true;
  const PrepareSummary summary = prepare_corpus(options);
  EXPECT_EQ(summary.malformed_lines, 1u);
  EXPECT_EQ(summary.train.documents + summary.valid.documents, 3u);
}

}  // namespace
}  // namespace verbatim
