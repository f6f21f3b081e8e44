#include "corpus/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "corpus/prepare.h"
#include "corpus/temporary_folder.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::TemporaryFolder;

std::filesystem::path prepared(const TemporaryFolder& folder) {
  PrepareOptions options;
  options.inputs = {folder.write("train.txt", "training text").string()};
  options.valid_inputs = {folder.write("valid.txt", "held-out text").string()};
  options.out = folder / "corpus";
  (void)prepare_corpus(options);
  return options.out;
}

TEST(corpus, opens_both_parts_of_a_prepared_folder) {
  const TemporaryFolder folder;
  const Corpus corpus = Corpus::open(prepared(folder));
  ASSERT_EQ(corpus.train().document_count(), 1u);
  EXPECT_EQ(corpus.train().document(0), "training text");
  ASSERT_EQ(corpus.valid().document_count(), 1u);
  EXPECT_EQ(corpus.valid().document(0), "held-out text");
}

TEST(corpus, says_how_to_prepare_what_is_no_prepared_folder) {
  const TemporaryFolder folder;
  const auto message = [&](const std::filesystem::path& path) {
    return message_of<InputError>([&] { (void)Corpus::open(path); });
  };
  EXPECT_THAT(message(folder / "absent"), HasSubstr("verbatim prepare INPUT..."));
  EXPECT_THAT(message(folder.path()), HasSubstr("verbatim prepare " + folder.path().string()));
  EXPECT_THAT(message(folder.write("a.txt", "x")), HasSubstr("a.txt --out DIR"));
}

TEST(open_documents, finds_parts_maps_and_plain_text) {
  const TemporaryFolder folder;
  const std::string corpus = prepared(folder).string();
  const auto only_document = [](const std::string& path) {
    const auto source = open_documents(path);
    EXPECT_EQ(source->document_count(), 1u);
    EXPECT_EQ(source->total_bytes(), source->document(0).size());
    return std::string(source->document(0));
  };
  EXPECT_EQ(only_document(corpus), "held-out text");
  EXPECT_EQ(only_document(corpus + ":valid"), "held-out text");
  EXPECT_EQ(only_document(corpus + ":train"), "training text");
  EXPECT_EQ(only_document(corpus + "/train"), "training text");
  EXPECT_EQ(only_document((folder / "valid.txt").string()), "held-out text");
  EXPECT_EQ(only_document((folder / "v*.txt").string()), "held-out text");
  folder.write("folder/a.md", "one");
  folder.write("folder/b.jsonl", "{\"text\": \"two\"}\n{\"text\": \"\"}\n");
  const auto source = open_documents((folder / "folder").string());
  ASSERT_EQ(source->document_count(), 3u);
  EXPECT_EQ(source->document(0), "one");
  EXPECT_EQ(source->document(1), "two");
  EXPECT_EQ(source->document(2), "");
  EXPECT_EQ(source->total_bytes(), 6u);
}

TEST(open_documents, refuses_what_holds_no_text) {
  const TemporaryFolder folder;
  PrepareOptions options;
  options.inputs = {folder.write("train.txt", "training text").string()};
  options.valid_fraction = 0;
  options.out = folder / "corpus";
  (void)prepare_corpus(options);
  const auto message = [&](const std::string& path) {
    return message_of<InputError>([&] { (void)open_documents(path); });
  };
  EXPECT_THAT(message((folder / "corpus").string()), HasSubstr("corpus:train"));
  EXPECT_THAT(message((folder / "corpus:valid").string()), HasSubstr("no text"));
  EXPECT_THAT(message(folder.write("empty.txt", "").string()), HasSubstr("no text"));
  EXPECT_THAT(message((folder / "absent").string()), HasSubstr("no such file"));
  EXPECT_THAT(message((folder / "absent:train").string()), HasSubstr("verbatim prepare"));
}

}  // namespace
}  // namespace verbatim
