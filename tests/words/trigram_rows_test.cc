#include "words/trigram_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "words/md5.h"
#include "words/trigram_hasher.h"
#include "words/trigram_table.h"

namespace verbatim {
namespace {

using Json = nlohmann::json;

std::string hex(const Md5Digest& digest) {
  std::array<uint8_t, 16> bytes;
  std::memcpy(bytes.data(), digest.data(), 16);
  return to_hex(bytes);
}

// RFC 1321, appendix A.5.
TEST(md5, gives_the_digests_of_the_standard) {
  EXPECT_EQ(hex(md5("")), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(hex(md5("abc")), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(hex(md5("message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
  EXPECT_EQ(hex(md5("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")),
            "d174ab98d277d9f5a5611c2c9f419d9f");
  EXPECT_EQ(hex(md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890")),
            "57edf4a22be3c955ac49da2e2107b67a");
}

TEST(md5, gives_the_same_in_every_lane) {
  Random random(1);
  Md5Batch batch;
  std::vector<std::string> messages;
  for (size_t lane = 0; lane < kMd5Lanes; ++lane) {
    std::string message;
    while (message.size() < lane % (kMd5ShortBytes + 1)) message += static_cast<char>(random.below(256));
    batch.set(lane, message);
    messages.push_back(message);
  }
  Md5BatchDigest digests;
  md5_batch(batch, digests);
  for (size_t lane = 0; lane < kMd5Lanes; ++lane) {
    const Md5Digest expected = md5(messages[lane]);
    for (size_t w = 0; w < 4; ++w) EXPECT_EQ(digests[w][lane], expected[w]);
  }
}

size_t expect_rows(const std::filesystem::path& file) {
  size_t count = 0;
  const Json sizes = Json::parse(std::ifstream(file));
  for (const auto& [size, rows] : sizes.items()) {
    const auto vocabulary = static_cast<uint32_t>(std::stoul(size));
    const auto ids_per_trigram = static_cast<uint32_t>(std::stoul(size.substr(size.find('_') + 1)));
    std::vector<uint32_t> trigrams;
    std::vector<int32_t> expected;
    for (const Json& row : rows) {
      trigrams.push_back(row[0]);
      expected.insert(expected.end(), row.begin() + 1, row.end());
      ++count;
    }
    std::vector<int32_t> ids(trigrams.size() * ids_per_trigram);
    TrigramRows(vocabulary, ids_per_trigram).compute(trigrams, ids.data());
    EXPECT_EQ(ids, expected) << size;
  }
  return count;
}

TEST(trigram_rows, repeat_those_of_the_reference) {
  const std::filesystem::path golden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree/hash_rows.json";
  if (!std::filesystem::exists(golden)) GTEST_SKIP() << "needs the golden files of T-Free";
  EXPECT_EQ(expect_rows(golden), 604u);
}

TEST(trigram_rows, repeat_an_extract_of_those_of_the_reference) {
  EXPECT_EQ(expect_rows(std::filesystem::path(VERBATIM_TEST_DATA) / "words/hash_rows.json"), 12u);
}

class TrigramTableFile : public testing::Test {
 protected:
  TrigramTableFile() : path_(std::filesystem::path(testing::TempDir()) / "trigrams.table") {}
  ~TrigramTableFile() override { std::filesystem::remove(path_); }

  // Opens the file with some bytes exchanged, and puts them back.
  [[nodiscard]] std::string mistake_with(size_t offset, std::string_view bytes) const {
    std::string before(bytes.size(), 0);
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset)).read(before.data(), static_cast<std::streamsize>(before.size()));
    file.seekp(static_cast<std::streamoff>(offset)).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.flush();
    std::string message;
    try {
      (void)TrigramTable::open(path_);
    } catch (const InputError& error) {
      message = error.what();
    }
    file.seekp(static_cast<std::streamoff>(offset)).write(before.data(), static_cast<std::streamsize>(before.size()));
    return message;
  }

  std::filesystem::path path_;
};

TEST_F(TrigramTableFile, has_the_rows_and_is_refused_when_it_is_wrong) {
  TrigramTable::write(path_, 300, 1, 3);
  {
    auto table = std::make_shared<const TrigramTable>(TrigramTable::open(path_));
    const TrigramHasher with({.vocabulary = 300, .ids_per_trigram = 1, .shared_ids = 0}, table);
    const TrigramHasher without({.vocabulary = 300, .ids_per_trigram = 1, .shared_ids = 0});
    Random random(1);
    for (int i = 0; i < 1000; ++i) {
      const auto trigram = static_cast<uint32_t>(random.below(kTrigrams));
      EXPECT_EQ(with.row(trigram, trigram)[0], without.row(trigram, trigram)[0]);
    }
    EXPECT_THROW(TrigramHasher({.vocabulary = 301, .ids_per_trigram = 1, .shared_ids = 0}, table), InputError);
  }
  using namespace std::string_view_literals;
  EXPECT_EQ(mistake_with(0, "V"), "");
  EXPECT_THAT(mistake_with(0, "v"), testing::HasSubstr("not a table of trigrams"));
  EXPECT_THAT(mistake_with(16, "\2"), testing::HasSubstr("version 2"));
  EXPECT_THAT(mistake_with(20, "\x2D\1\0\0"sv), testing::HasSubstr("not the one that belongs there"));
  EXPECT_THAT(mistake_with(20, "\0\0\0\0"sv), testing::HasSubstr("1 to 2147483647"));
  EXPECT_THAT(mistake_with(24, "\2"), testing::HasSubstr("expected 67108928 bytes"));
  EXPECT_THAT(mistake_with(24, "\xFF\xFF\xFF\xFF"), testing::HasSubstr("cannot have"));
  EXPECT_THAT(mistake_with(28, "\4"), testing::HasSubstr("4 bytes for an id"));
  std::filesystem::resize_file(path_, 64 + 1000);
  EXPECT_THROW((void)TrigramTable::open(path_), InputError);
  std::filesystem::resize_file(path_, 10);
  EXPECT_THROW((void)TrigramTable::open(path_), InputError);
  std::filesystem::remove(path_);
  EXPECT_THROW((void)TrigramTable::open(path_), InputError);
  EXPECT_THROW(TrigramTable::write(path_, 3, 4, 1), InputError);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace verbatim
