#include "corpus/memory_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "corpus/temporary_folder.h"

namespace verbatim {
namespace {

using testing::content_of;
using ::testing::HasSubstr;
using testing::message_of;
using testing::TemporaryFolder;

const std::filesystem::path kData = std::filesystem::path(VERBATIM_TEST_DATA) / "corpus";
const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree/mmap";

TEST(memory_map, reads_the_reference_corpus) {
  if (!std::filesystem::exists(kGolden / "corpus.bin")) GTEST_SKIP() << kGolden << " is absent";
  const auto expected = nlohmann::json::parse(content_of(kGolden / "corpus.expected.json"))["memory_map"];
  const MemoryMap map = MemoryMap::open(kGolden / "corpus");
  ASSERT_EQ(map.document_count(), expected["document_count"].get<uint64_t>());
  EXPECT_EQ(map.element_type(), "uint8");
  uint64_t total = 0;
  for (uint64_t i = 0; i < map.document_count(); ++i) {
    const auto& document = expected["documents"][i];
    EXPECT_EQ(map.document_offset(i), document["start"].get<uint64_t>());
    EXPECT_EQ(map.document(i).size(), document["size"].get<uint64_t>());
    EXPECT_EQ(sha256_hex(map.document(i)), document["sha256"].get<std::string>());
    total += map.document(i).size();
  }
  EXPECT_EQ(map.total_bytes(), total);
}

TEST(memory_map, writes_the_reference_corpus_byte_for_byte) {
  if (!std::filesystem::exists(kGolden / "corpus.bin")) GTEST_SKIP() << kGolden << " is absent";
  const TemporaryFolder folder;
  const MemoryMap map = MemoryMap::open(kGolden / "corpus");
  MemoryMapWriter writer(folder / "copy");
  for (uint64_t i = 0; i < map.document_count(); ++i) writer.add(map.document(i));
  writer.commit();
  for (const std::string suffix : {".bin", ".idx", ".meta.json"}) {
    EXPECT_EQ(content_of(folder / ("copy" + suffix)), content_of(kGolden / ("corpus" + suffix))) << suffix;
  }
}

TEST(memory_map, reads_other_element_types_as_bytes) {
  const MemoryMap map = MemoryMap::open(kData / "ints");
  const auto expected =
      nlohmann::json::parse(content_of(kData / "ints.expected.json"))["documents"].get<std::vector<std::vector<int>>>();
  ASSERT_EQ(map.document_count(), expected.size());
  EXPECT_EQ(map.element_type(), "int32");
  EXPECT_EQ(map.element_bytes(), 4u);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(map.document(i).size(), 4 * expected[i].size());
    std::vector<int> numbers(expected[i].size());
    if (!numbers.empty()) std::memcpy(numbers.data(), map.document(i).data(), map.document(i).size());
    EXPECT_EQ(numbers, expected[i]);
  }
}

TEST(memory_map, writes_the_lines_of_the_instruct_file_as_the_reference_does) {
  const TemporaryFolder folder;
  MemoryMapWriter writer(folder / "instruct");
  std::istringstream lines(content_of(kData / "instruct.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) writer.add(line);
  }
  writer.commit();
  for (const std::string suffix : {".bin", ".idx", ".meta.json"}) {
    EXPECT_EQ(content_of(folder / ("instruct" + suffix)), content_of(kData / ("instruct" + suffix))) << suffix;
  }
}

TEST(memory_map, keeps_any_bytes_and_empty_documents) {
  const TemporaryFolder folder;
  std::string all_bytes;
  for (int i = 0; i < 256; ++i) all_bytes.push_back(static_cast<char>(i));
  MemoryMapWriter writer(folder / "m");
  writer.add("");
  writer.add(all_bytes);
  writer.begin_document();
  writer.append("taken back");
  writer.discard_document();
  writer.begin_document();
  for (int i = 0; i < 1000; ++i) writer.append(std::string(5000, static_cast<char>(i)));
  writer.append("taken back too");
  writer.discard_document();
  writer.begin_document();
  writer.append("in ");
  writer.append("parts");
  writer.end_document();
  writer.add("");
  EXPECT_EQ(writer.document_count(), 4u);
  EXPECT_EQ(writer.total_bytes(), 264u);
  writer.commit();
  const MemoryMap map = MemoryMap::open(folder / "m");
  ASSERT_EQ(map.document_count(), 4u);
  EXPECT_EQ(map.document(0), "");
  EXPECT_EQ(map.document(1), all_bytes);
  EXPECT_EQ(map.document(2), "in parts");
  EXPECT_EQ(map.document(3), "");
  EXPECT_EQ(map.total_bytes(), 264u);
  EXPECT_EQ(std::filesystem::file_size(folder / "m.bin"), 264u);
}

TEST(memory_map, without_documents_is_fine) {
  const TemporaryFolder folder;
  MemoryMapWriter(folder / "m").commit();
  EXPECT_EQ(MemoryMap::open(folder / "m").document_count(), 0u);
}

TEST(memory_map_writer, leaves_nothing_behind_without_commit) {
  const TemporaryFolder folder;
  { MemoryMapWriter(folder / "m").add("text"); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(memory_map_writer, refuses_to_overwrite) {
  for (const std::string suffix : {".bin", ".idx", ".meta.json"}) {
    const TemporaryFolder folder;
    folder.write("m" + suffix, "precious");
    EXPECT_THAT(message_of<InputError>([&] { MemoryMapWriter writer(folder / "m"); }), HasSubstr("m" + suffix));
    EXPECT_EQ(content_of(folder / ("m" + suffix)), "precious");
  }
}

struct Damage {
  const char* name;
  std::string meta;
  std::string index;
  std::string data;
  const char* message;
};

template <class T>
std::string numbers(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
std::string u64(const std::vector<uint64_t>& values) { return numbers(values); }
std::string i32(const std::vector<int32_t>& values) { return numbers(values); }

TEST(memory_map, names_what_is_wrong_with_damaged_files) {
  const std::string good = R"({"dtype": "uint8", "index_dtype": "uint64", "document_count": 2})";
  const std::string good_index = u64({0, 3, 3, 2});
  const uint64_t huge = ~uint64_t{0};
  const std::vector<Damage> table = {
      {"empty meta", "", good_index, "abcde", "meta.json"},
      {"truncated meta", R"({"dtype": "uint8", "index_dt)", good_index, "abcde", "JSON object"},
      {"meta is a list", "[1, 2]", good_index, "abcde", "JSON object"},
      {"no dtype", R"({"index_dtype": "uint64", "document_count": 2})", good_index, "abcde", "\"dtype\" is missing"},
      {"dtype is a number", R"({"dtype": 8, "index_dtype": "uint64", "document_count": 2})", good_index, "abcde",
       "dtype"},
      {"unknown dtype", R"({"dtype": "object", "index_dtype": "uint64", "document_count": 2})", good_index, "abcde",
       "\"object\""},
      {"index of floats", R"({"dtype": "uint8", "index_dtype": "float64", "document_count": 2})", good_index, "abcde",
       "int32, uint32, int64 or uint64"},
      {"no count", R"({"dtype": "uint8", "index_dtype": "uint64"})", good_index, "abcde", "document_count"},
      {"negative count", R"({"dtype": "uint8", "index_dtype": "uint64", "document_count": -1})", good_index, "abcde",
       "-1"},
      {"count is text", R"({"dtype": "uint8", "index_dtype": "uint64", "document_count": "2"})", good_index, "abcde",
       "\"2\""},
      {"count is a fraction", R"({"dtype": "uint8", "index_dtype": "uint64", "document_count": 2.5})", good_index,
       "abcde", "2.5"},
      {"count too large", R"({"dtype": "uint8", "index_dtype": "uint64", "document_count": 3})", good_index, "abcde",
       "3 documents"},
      {"count overflows the size",
       R"({"dtype": "uint8", "index_dtype": "uint64", "document_count": 1152921504606846978})", good_index, "abcde",
       "documents"},
      {"count beyond 64 bits", R"({"dtype": "uint8", "index_dtype": "uint64", "document_count": 99999999999999999999})",
       good_index, "abcde", "document_count"},
      {"truncated index", good, good_index.substr(0, 31), "abcde", ".idx: 31 bytes"},
      {"index of odd size", good, good_index + "x", "abcde", ".idx: 33 bytes"},
      {"empty index", good, "", "abcde", ".idx: 0 bytes"},
      {"truncated data", good, good_index, "abcd", "document 1 starts at element 3 and has 2"},
      {"start outside", good, u64({0, 3, 6, 0}), "abcde", "document 1"},
      {"count outside", good, u64({0, 6, 3, 2}), "abcde", "document 0"},
      {"start and count overflow", good, u64({0, 3, 3, huge - 1}), "abcde", "document 1"},
      {"huge start", good, u64({huge, 1, 3, 2}), "abcde", "document 0"},
      {"negative start", R"({"dtype": "uint8", "index_dtype": "int32", "document_count": 2})", i32({-1, 1, 0, 1}),
       "abcde", "document 0"},
      {"negative length", R"({"dtype": "uint8", "index_dtype": "int32", "document_count": 2})", i32({0, 1, 1, -1}),
       "abcde", "document 1"},
      {"half an element", R"({"dtype": "int32", "index_dtype": "uint64", "document_count": 1})", u64({0, 1}), "abcde",
       "whole number of int32"},
      {"elements outside", R"({"dtype": "int32", "index_dtype": "uint64", "document_count": 1})", u64({0, 2}), "abcd",
       "holds only 1"},
  };
  for (const Damage& damage : table) {
    const TemporaryFolder folder;
    folder.write("m.meta.json", damage.meta);
    folder.write("m.idx", damage.index);
    folder.write("m.bin", damage.data);
    EXPECT_THAT(message_of<InputError>([&] { (void)MemoryMap::open(folder / "m"); }), HasSubstr(damage.message))
        << damage.name;
  }
}

TEST(memory_map, names_the_file_that_is_missing) {
  for (const std::string missing : {".bin", ".idx", ".meta.json"}) {
    const TemporaryFolder folder;
    { MemoryMapWriter(folder / "m").commit(); }
    std::filesystem::remove(folder / ("m" + missing));
    EXPECT_THAT(message_of<InputError>([&] { (void)MemoryMap::open(folder / "m"); }), HasSubstr("m" + missing));
  }
}

}  // namespace
}  // namespace verbatim
