#include "corpus/pieces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "corpus/temporary_folder.h"
#include "text/utf8.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::TemporaryFolder;

MemoryMap map_of(const TemporaryFolder& folder, const std::vector<std::string>& documents) {
  MemoryMapWriter writer(folder / "m");
  for (const std::string& document : documents) writer.add(document);
  writer.commit();
  return MemoryMap::open(folder / "m");
}

std::vector<std::string> odd_documents() {
  std::string all_bytes;
  for (int i = 0; i < 256; ++i) all_bytes.push_back(static_cast<char>(i));
  std::string noise;
  Random random(3);
  for (int i = 0; i < 5000; ++i) noise.push_back(static_cast<char>(random.below(256)));
  std::string chinese;
  for (int i = 0; i < 3000; ++i) chinese += "\xE4\xBA\xBA";
  std::string emoji;
  for (int i = 0; i < 1000; ++i) emoji += "\xF0\x9F\x98\x80";
  std::string words;
  for (int i = 0; i < 4000; ++i) words += std::string(1 + random.below(12), 'w') + (i % 17 == 0 ? "\n\n" : " ");
  return {"",
          "x",
          std::string(1 << 20, 'a'),
          all_bytes,
          "",
          noise,
          chinese,
          emoji,
          words,
          std::string(3000, ' '),
          "\xE4",
          std::string(5000, '\x80')};
}

using Bytes = std::vector<std::vector<int>>;  // how often each byte of each document was seen

void count(const std::vector<Piece>& pieces, Bytes& seen) {
  for (const Piece& piece : pieces) {
    for (uint64_t i = piece.begin; i < piece.end; ++i) ++seen[piece.document][i];
  }
}

TEST(piece_sampler, gives_every_byte_exactly_once_an_epoch) {
  const TemporaryFolder folder;
  const std::vector<std::string> documents = odd_documents();
  const MemoryMap map = map_of(folder, documents);
  for (const uint64_t window : {16u, 17u, 100u, 1024u, 5000u, 1u << 21}) {
    PieceSampler sampler(map, {.window_bytes = window, .batch_bytes = 4 * window, .seed = window});
    for (uint64_t epoch = 0; epoch < 2; ++epoch) {
      Bytes seen;
      for (const std::string& document : documents) seen.emplace_back(document.size());
      uint64_t pieces = 0;
      const uint64_t expected_pieces = sampler.pieces_in_epoch();
      while (sampler.position().epoch == epoch) {
        const std::vector<Piece> batch = sampler.next();
        ASSERT_FALSE(batch.empty());
        uint64_t bytes = 0;
        for (const Piece& piece : batch) {
          ASSERT_LT(piece.begin, piece.end);
          ASSERT_LE(piece.end - piece.begin, window);
          bytes += piece.end - piece.begin;
        }
        ASSERT_LE(bytes, 4 * window);
        count(batch, seen);
        pieces += batch.size();
      }
      EXPECT_EQ(pieces, expected_pieces);
      for (const auto& document : seen) {
        ASSERT_TRUE(std::all_of(document.begin(), document.end(), [](int n) { return n == 1; })) << window;
      }
    }
  }
}

TEST(piece_sampler, cuts_between_characters_and_before_white_space) {
  const TemporaryFolder folder;
  const std::vector<std::string> documents = odd_documents();
  const MemoryMap map = map_of(folder, documents);
  PieceSampler sampler(map, {.window_bytes = 512});
  for (uint64_t i = 0; i < sampler.pieces_in_epoch(); ++i) {
    const Piece piece = sampler.piece(i);
    const std::string& text = documents[piece.document];
    if (piece.document == 6 || piece.document == 7) {  // Chinese, emoji
      EXPECT_TRUE(is_valid_utf8(std::string_view(text).substr(piece.begin, piece.end - piece.begin)));
    }
    if (piece.document == 8 && piece.begin > 0) {  // words of at most 12 bytes
      EXPECT_TRUE(text[piece.begin] == ' ' || text[piece.begin] == '\n');
      EXPECT_EQ(text[piece.begin - 1], 'w');
    }
  }
}

TEST(piece_sampler, keeps_documents_that_fit_in_a_window_whole) {
  const TemporaryFolder folder;
  const MemoryMap map = map_of(folder, {std::string(1024, 'a'), std::string(1025, 'b')});
  PieceSampler sampler(map, {.window_bytes = 1024});
  ASSERT_GE(sampler.pieces_in_epoch(), 3u);
  bool found = false;
  for (uint64_t i = 0; i < sampler.pieces_in_epoch(); ++i) {
    found = found || sampler.piece(i) == Piece{.document = 0, .begin = 0, .end = 1024};
  }
  EXPECT_TRUE(found);
}

TEST(piece_sampler, moves_cuts_and_order_from_epoch_to_epoch) {
  const TemporaryFolder folder;
  const MemoryMap map = map_of(folder, {std::string(100000, 'a')});
  PieceSampler sampler(map, {.window_bytes = 100});
  std::vector<std::vector<Piece>> epochs(3);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    sampler.seek({.epoch = epoch, .index = 0});
    for (uint64_t i = 0; i < sampler.pieces_in_epoch(); ++i) epochs[epoch].push_back(sampler.piece(i));
  }
  const auto cuts = [](const std::vector<Piece>& pieces) {
    std::set<uint64_t> places;
    for (const Piece& piece : pieces) places.insert(piece.begin);
    return places;
  };
  EXPECT_NE(cuts(epochs[0]), cuts(epochs[1]));
  EXPECT_NE(cuts(epochs[1]), cuts(epochs[2]));
  // In a random order of n pieces, about one neighbour in n follows its predecessor.
  int in_order = 0;
  for (size_t i = 1; i < epochs[0].size(); ++i) in_order += epochs[0][i].begin == epochs[0][i - 1].end;
  EXPECT_LT(in_order, 10);
}

TEST(piece_sampler, continues_with_the_very_next_piece_after_seek) {
  const TemporaryFolder folder;
  const MemoryMap map = map_of(folder, odd_documents());
  const SamplerOptions options{.window_bytes = 4096, .batch_bytes = 10000, .seed = 7};
  PieceSampler whole(map, options);
  std::vector<SamplerPosition> positions;
  std::vector<std::vector<Piece>> batches;
  while (whole.position().epoch < 3) {
    positions.push_back(whole.position());
    batches.push_back(whole.next());
  }
  for (size_t i = 0; i < positions.size(); i += 37) {
    PieceSampler resumed(map, options);
    resumed.seek(positions[i]);
    EXPECT_EQ(resumed.position(), positions[i]);
    for (size_t k = i; k < std::min(i + 5, batches.size()); ++k) EXPECT_EQ(resumed.next(), batches[k]) << i;
  }
}

TEST(piece_sampler, deals_the_batches_of_one_process_to_several) {
  const TemporaryFolder folder;
  const MemoryMap map = map_of(folder, odd_documents());
  SamplerOptions options{.window_bytes = 1024, .batch_bytes = 30000, .seed = 5};
  PieceSampler alone(map, options);
  options.world = 3;
  std::vector<PieceSampler> ranks;
  for (options.rank = 0; options.rank < 3; ++options.rank) ranks.emplace_back(map, options);
  for (int step = 0; step < 60; ++step) {
    for (PieceSampler& rank : ranks) EXPECT_EQ(rank.next(), alone.next());
    for (const PieceSampler& rank : ranks) EXPECT_EQ(rank.position(), alone.position());
  }
}

TEST(piece_sampler, refuses_options_and_positions_that_make_no_sense) {
  const TemporaryFolder folder;
  const MemoryMap map = map_of(folder, {std::string(1000, 'x')});
  EXPECT_THAT(message_of<InputError>([&] { PieceSampler(map, {.window_bytes = 15}); }), HasSubstr("at least 16"));
  EXPECT_THAT(message_of<InputError>([&] { PieceSampler(map, {.rank = 2, .world = 2}); }), HasSubstr("2 of 2"));
  PieceSampler sampler(map, {.window_bytes = 100});
  const SamplerPosition before = sampler.position();
  EXPECT_THAT(message_of<InputError>([&] { sampler.seek({.epoch = 4, .index = 1000}); }), HasSubstr("1000"));
  EXPECT_EQ(sampler.position(), before);
  EXPECT_FALSE(sampler.next().empty());
}

TEST(piece_sampler, refuses_a_corpus_without_text) {
  const TemporaryFolder folder;
  const MemoryMap map = map_of(folder, {"", ""});
  EXPECT_THAT(message_of<InputError>([&] { PieceSampler(map, {}); }), HasSubstr("no text"));
}

TEST(permutation, takes_every_value_once) {
  for (const uint64_t size : {1u, 2u, 3u, 4u, 5u, 16u, 17u, 1000u, 4096u, 65537u}) {
    const Permutation permutation(size, 99);
    std::vector<bool> taken(size);
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t value = permutation(i);
      ASSERT_LT(value, size);
      ASSERT_FALSE(taken[value]);
      taken[value] = true;
    }
  }
}

TEST(permutation, sends_each_value_everywhere_equally_often) {
  // 7 values under 70000 keys: each place gets each value 10000 times, standard deviation 93.
  std::map<std::pair<uint64_t, uint64_t>, int> counts;
  for (uint64_t key = 0; key < 70000; ++key) {
    const Permutation permutation(7, mix_seed(1, key));
    for (uint64_t i = 0; i < 7; ++i) ++counts[{i, permutation(i)}];
  }
  for (const auto& [pair, number] : counts) EXPECT_NEAR(number, 10000, 600) << pair.first << " " << pair.second;
}

TEST(permutation, of_huge_ranges_stays_inside) {
  const uint64_t size = (uint64_t{1} << 62) + 12345;
  const Permutation permutation(size, 5);
  std::set<uint64_t> values;
  for (uint64_t i = 0; i < 1000; ++i) {
    EXPECT_LT(permutation(size - 1 - i), size);
    values.insert(permutation(size - 1 - i));
  }
  EXPECT_EQ(values.size(), 1000u);
}

TEST(evaluation_windows, score_each_unit_once_with_enough_context) {
  for (const uint64_t size : {0u, 1u, 5u, 64u, 65u, 1000u, 1001u}) {
    for (const auto& [window, stride] :
         {std::pair{64u, 64u}, {64u, 1u}, {64u, 32u}, {1u, 1u}, {7u, 3u}, {5000u, 17u}}) {
      const auto windows = evaluation_windows(size, window, stride);
      ASSERT_FALSE(windows.empty());
      uint64_t scored = 0;
      for (const EvaluationWindow& w : windows) {
        EXPECT_EQ(w.score_begin, scored);
        EXPECT_LE(w.begin, w.score_begin);
        EXPECT_LE(w.end - w.begin, window);
        if (w.score_begin > 0) {
          EXPECT_GT(w.end, w.score_begin);
          EXPECT_GE(w.score_begin - w.begin, std::min<uint64_t>(window - stride, w.score_begin));
        }
        scored = w.end;
      }
      EXPECT_EQ(scored, size);
    }
  }
  EXPECT_THROW((void)evaluation_windows(10, 4, 5), InputError);
  EXPECT_THROW((void)evaluation_windows(10, 4, 0), InputError);
}

}  // namespace
}  // namespace verbatim
