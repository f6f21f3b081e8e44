#include <gtest/gtest.h>

#include "tiny_models.h"

namespace verbatim {
namespace {

// One of each kind of memory: rings and growing caches, scans, open patches, levels inside levels.
const char* const kModels[] = {
    "[model]\nfamily='byte'\n[backbone]\nkind='transformer'\nwidth=16\nheads=2\nlayers=2\nwindow=5\n",
    "[model]\nfamily='byte'\n[backbone]\nkind='pattern'\npattern='s1m1T1'\nwidth=16\nheads=2\nstate=4\nstate_head_"
    "width=8\n",
    "[model]\nfamily='byte'\n[backbone]\nkind='transformer'\nwidth=16\nheads=2\nlayers=1\ntoken_shift=true\n",
    "[model]\nfamily='patch'\n[backbone]\nkind='level'\nwidth=16\nheads=2\nwindow=4\npool='cross'\nupsample='cross'\n"
    "[backbone.inner]\nkind='transformer'\nwidth=24\nlayers=1\nheads=2\n",
    "[model]\nfamily='patch'\n[backbone]\nkind='level'\nboundary='learned'\nwidth=16\nheads=2\nwindow=4\n"
    "[backbone.inner]\nkind='level'\nboundary='word'\npool='mean'\nwidth=16\nheads=2\n"
    "[backbone.inner.inner]\nkind='transformer'\nwidth=24\nlayers=1\nheads=2\n",
};

TEST(stream_state, goes_back_to_where_it_was_marked) {
  for (const char* toml : kModels) {
    const auto model = testing::make_model(toml);
    for (const char* text : {"", "one", "one two, three. four"}) {
      StreamState state = model->start();
      model->read(state, text);
      StreamState expected = state;
      StreamState marked = model->mark(state, 7);
      const std::vector<int32_t> guess{'a', ' ', 'b', '.', ' ', 'c', 'd'};
      (void)model->read_each(state, guess);
      model->go_back(state, std::move(marked));
      EXPECT_EQ(state.newest_D, expected.newest_D);
      EXPECT_EQ(state.positions, expected.positions);
      model->read(state, " and so on, on.");
      model->read(expected, " and so on, on.");
      EXPECT_EQ(state.newest_D, expected.newest_D) << toml << " after '" << text << "'";
    }
  }
}

TEST(stream_state, goes_back_to_behind_rows_that_were_right) {
  int models = 0;
  for (const char* toml : kModels) {
    const auto model = testing::make_model(toml);
    const std::vector<int32_t> guess{'a', ' ', 'b', '.', 'c'};  // as many as the window
    if (!model->keeps_rows(5)) continue;
    EXPECT_EQ(model->keeps_rows(6), model->settings().backbone.stack.window == 0);
    ++models;
    for (const char* text : {"", "one", "one two, three. four"}) {
      for (const size_t kept : {0, 1, 4, 5}) {
        StreamState state = model->start(), expected;
        model->read(state, text);
        expected = state;
        StreamState marked = model->mark(state, 5);
        model->begin_trail(state);
        const std::vector<float> rows_RD = model->read_each(state, guess);
        model->go_back(state, std::move(marked), std::span(guess).first(kept), rows_RD);
        for (size_t i = 0; i < kept; ++i) model->read_position(expected, {guess[i]});
        EXPECT_EQ(state.newest_D, expected.newest_D) << toml << " after " << kept;
        EXPECT_EQ(state.positions, expected.positions);
        model->read(state, " and so on, on.");
        model->read(expected, " and so on, on.");
        EXPECT_EQ(state.newest_D, expected.newest_D) << toml << " after '" << text << "' and " << kept;
      }
    }
  }
  EXPECT_EQ(models, 2);
}

TEST(stream_state, reads_each_row_as_alone) {
  for (const char* toml : kModels) {
    const auto model = testing::make_model(toml);
    StreamState together = model->start(), alone = model->start();
    const std::vector<int32_t> ids{'a', ' ', 'b', '.', '\n', 'c'};
    const std::vector<float> rows_RD = model->read_each(together, ids);
    const auto width = static_cast<size_t>(model->backbone().width());
    ASSERT_EQ(rows_RD.size(), ids.size() * width);
    for (size_t r = 0; r < ids.size(); ++r) {
      model->read_position(alone, {ids[r]});
      for (size_t i = 0; i < width; ++i) EXPECT_EQ(rows_RD[r * width + i], alone.newest_D[i]) << toml << " row " << r;
    }
  }
}

}  // namespace
}  // namespace verbatim
