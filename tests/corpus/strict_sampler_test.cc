#include "corpus/strict_sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "corpus/temporary_folder.h"

namespace verbatim {
namespace {

using testing::content_of;
using ::testing::ElementsAre;

const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree/mmap";

// numpy.random.RandomState(seed).shuffle(list(range(n))), from the golden files.
TEST(strict_sampler, permutes_as_numpy_does) {
  EXPECT_THAT(legacy_permutation(10, 42), ElementsAre(8, 1, 5, 0, 7, 2, 9, 4, 3, 6));
  EXPECT_THAT(legacy_permutation(10, 43), ElementsAre(3, 9, 6, 8, 2, 5, 1, 7, 0, 4));
  EXPECT_THAT(legacy_permutation(2, 42), ElementsAre(1, 0));
  EXPECT_THAT(legacy_permutation(1, 42), ElementsAre(0));
  EXPECT_TRUE(legacy_permutation(0, 42).empty());
}

TEST(strict_sampler, repeats_all_golden_permutations) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << kGolden << " is absent";
  const auto golden = nlohmann::json::parse(content_of(kGolden / "dataset.expected.json"));
  for (const auto& entry : golden["shuffle_goldens"]) {
    EXPECT_EQ(legacy_permutation(entry["n"], entry["seed"]), entry["permutation"].get<std::vector<uint32_t>>());
  }
  EXPECT_EQ(legacy_permutation(golden["length"], golden["seed"]), golden["random_index"].get<std::vector<uint32_t>>());
  const std::vector<uint32_t> large = legacy_permutation(100'000, 42);
  const auto& expected = golden["shuffle_100000_seed_42"];
  EXPECT_EQ(std::vector<uint32_t>(large.begin(), large.begin() + 20),
            expected["first_20"].get<std::vector<uint32_t>>());
  EXPECT_EQ(std::vector<uint32_t>(large.end() - 20, large.end()), expected["last_20"].get<std::vector<uint32_t>>());
}

TEST(strict_sampler, gives_the_batches_of_the_reference) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << kGolden << " is absent";
  for (const auto& golden : nlohmann::json::parse(content_of(kGolden / "sampler.expected.json"))) {
    const StrictSamplerOptions options{.size = golden["dataset_length"],
                                       .micro_batch = golden["micro_batch_size"],
                                       .world = golden["world_size"],
                                       .rank = golden["rank"],
                                       .seed = 42};
    StrictSampler sampler(options, golden["consumed_samples"]);
    uint64_t consumed = golden["consumed_samples"];
    for (const auto& expected : golden["batches"]) {
      const StrictBatch batch = sampler.next();
      EXPECT_EQ(batch.indices, expected.get<std::vector<uint64_t>>()) << golden;
      EXPECT_EQ(batch.permutation_seed, golden["epoch_seed"].get<uint32_t>());
      consumed += options.micro_batch * options.world;
      EXPECT_EQ(sampler.consumed(), consumed);
    }
    // Then the next epoch begins.
    EXPECT_EQ(sampler.next().epoch, 1u);
  }
}

TEST(strict_sampler, uses_every_entry_once_in_an_epoch_whatever_the_processes) {
  for (const uint64_t world : {1, 2, 3}) {
    std::multiset<uint64_t> seen;
    for (uint64_t rank = 0; rank < world; ++rank) {
      StrictSampler sampler({.size = 25, .micro_batch = 2, .world = world, .rank = rank, .seed = 7}, 0);
      for (StrictBatch batch = sampler.next(); batch.epoch == 0; batch = sampler.next()) {
        EXPECT_EQ(batch.permutation_seed, 7u);
        seen.insert(batch.indices.begin(), batch.indices.end());
      }
    }
    const uint64_t usable = 25 / 2 / world * 2 * world;
    EXPECT_EQ(seen.size(), usable);
    EXPECT_EQ(std::set<uint64_t>(seen.begin(), seen.end()).size(), usable);
    EXPECT_LT(*seen.rbegin(), usable);
  }
}

TEST(strict_sampler, reseeds_each_epoch_and_goes_on_from_a_saved_state) {
  const StrictSamplerOptions options{.size = 10, .micro_batch = 2, .world = 2, .rank = 1, .seed = 42};
  StrictSampler whole(options, 0);
  for (int step = 0; step < 7; ++step) {
    StrictSampler resumed(options, whole.consumed());
    const StrictBatch expected = whole.next();
    const StrictBatch batch = resumed.next();
    EXPECT_EQ(batch.indices, expected.indices);
    EXPECT_EQ(batch.epoch, expected.epoch);
    EXPECT_EQ(batch.epoch, static_cast<uint64_t>(step) / 2);
    EXPECT_EQ(batch.permutation_seed, 42u + batch.epoch);
  }
  // Six were consumed by one process: of eight only two are left, too few for two processes.
  StrictSampler rest(options, 6);
  const StrictBatch batch = rest.next();
  EXPECT_EQ(batch.epoch, 1u);
  EXPECT_THAT(batch.indices, ElementsAre(1, 3));
  EXPECT_EQ(rest.consumed(), 12u);
}

TEST(strict_sampler, refuses_too_few_entries) {
  EXPECT_THROW(StrictSampler({.size = 3, .micro_batch = 2, .world = 2, .rank = 0, .seed = 1}, 0), InputError);
}

}  // namespace
}  // namespace verbatim
