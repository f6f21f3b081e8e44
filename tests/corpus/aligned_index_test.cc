#include "corpus/aligned_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "corpus/temporary_folder.h"

namespace verbatim {
namespace {

using testing::content_of;
using ::testing::HasSubstr;
using testing::message_of;
using testing::TemporaryFolder;

const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree/mmap";

void write_map(const TemporaryFolder& folder, const std::vector<std::string>& documents) {
  MemoryMapWriter writer(folder / "m");
  for (const std::string& document : documents) writer.add(document);
  writer.commit();
}

TEST(aligned_index, is_built_byte_for_byte_as_by_the_reference) {
  if (!std::filesystem::exists(kGolden / "corpus.bin")) GTEST_SKIP() << kGolden << " is absent";
  const TemporaryFolder folder;
  for (const std::string suffix : {".bin", ".idx", ".meta.json"}) {
    folder.write("corpus" + suffix, content_of(kGolden / ("corpus" + suffix)));
  }
  (void)AlignedIndex::open_or_build(folder / "corpus");
  for (const std::string suffix : {".indices.bin", ".lengths.bin", ".offsets.bin"}) {
    EXPECT_EQ(content_of(folder / ("corpus" + suffix)), content_of(kGolden / ("corpus" + suffix))) << suffix;
  }
}

TEST(aligned_index, reads_the_entries_of_the_reference) {
  if (!std::filesystem::exists(kGolden / "corpus.bin")) GTEST_SKIP() << kGolden << " is absent";
  const auto expected = nlohmann::json::parse(content_of(kGolden / "corpus.expected.json"))["aligned"];
  const AlignedIndex index = AlignedIndex::open(kGolden / "corpus");
  EXPECT_EQ(index.reference_entry_count(), expected["readable_entries"].get<uint64_t>());
  EXPECT_EQ(index.entry_count(), expected["readable_entries"].get<uint64_t>() + 1);
  EXPECT_EQ(index.chunk_count(), expected["indices_file"].size());
  ASSERT_EQ(expected["entries"].size(), index.reference_entry_count());
  for (uint64_t e = 0; e < index.reference_entry_count(); ++e) {
    const auto texts = index.entry(e);
    const auto& entry = expected["entries"][e];
    ASSERT_EQ(texts.size(), entry["lengths"].size());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(texts[i].size(), entry["lengths"][i].get<size_t>());
      EXPECT_EQ(sha256_hex(texts[i]), entry["sha256"][i].get<std::string>());
    }
  }
}

TEST(aligned_index, survives_a_first_document_without_a_place_to_cut) {
  const TemporaryFolder folder;
  std::string sentence;
  for (int i = 0; i < 20000; ++i) sentence += "word ";
  write_map(folder, {std::string(50000, 'x'), "", std::string(20, '\xFF'), sentence});
  const AlignedIndex index = AlignedIndex::open_or_build(folder / "m");
  // 100,000 bytes in 5 entries of 19,999 (the cut blank begins the next chunk); the last one is never written.
  ASSERT_EQ(index.entry_count(), 4u);
  EXPECT_EQ(index.entry(0).at(0), sentence.substr(0, 19999));
}

TEST(aligned_index, of_a_corpus_without_entries_is_empty) {
  const TemporaryFolder folder;
  write_map(folder, {"too short", ""});
  const AlignedIndex index = AlignedIndex::open_or_build(folder / "m");
  EXPECT_EQ(index.entry_count(), 0u);
  EXPECT_EQ(index.reference_entry_count(), 0u);
}

template <class T>
std::string bytes_of(std::initializer_list<T> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T)};
}

TEST(aligned_index, names_what_is_wrong_with_damaged_files) {
  struct Damage {
    const char* name;
    std::string indices;
    std::string lengths;
    std::string offsets;
    const char* message;
  };
  const std::string indices = bytes_of<uint32_t>({0, 0, 1});
  const std::string lengths = bytes_of<uint16_t>({1, 2, 3});
  const std::string offsets = bytes_of<uint64_t>({0, 1, 3});
  const std::vector<Damage> table = {
      {"odd size", indices + "x", lengths, offsets, ".indices.bin: 13 bytes"},
      {"short lengths", indices, lengths.substr(2), offsets, ".lengths.bin: 4 bytes"},
      {"long offsets", indices, lengths, offsets + offsets, ".offsets.bin: 48 bytes"},
      {"not from zero", bytes_of<uint32_t>({1, 1, 2}), lengths, offsets, "chunk 0"},
      {"back again", bytes_of<uint32_t>({0, 1, 0}), lengths, offsets, "chunk 2"},
      {"gap", bytes_of<uint32_t>({0, 2, 2}), lengths, offsets, "chunk 1"},
      {"largest number first", bytes_of<uint32_t>({0xFFFFFFFF, 0, 0}), lengths, offsets, "chunk 0"},
      {"offset outside", indices, lengths, bytes_of<uint64_t>({0, 1, 4}), "chunk 2"},
      {"offset overflows", indices, lengths, bytes_of<uint64_t>({0, ~uint64_t{0}, 3}), "chunk 1"},
  };
  for (const Damage& damage : table) {
    const TemporaryFolder folder;
    folder.write("m.bin", "abcdef");
    folder.write("m.indices.bin", damage.indices);
    folder.write("m.lengths.bin", damage.lengths);
    folder.write("m.offsets.bin", damage.offsets);
    EXPECT_THAT(message_of<InputError>([&] { (void)AlignedIndex::open(folder / "m"); }), HasSubstr(damage.message))
        << damage.name;
  }
}

}  // namespace
}  // namespace verbatim
