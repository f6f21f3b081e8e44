// The contract that every family keeps (design, section 1): causal, lossless, one step equals all at once. A new family
// or boundary rule joins with one line in kEntries.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <utility>

#include "base/file.h"
#include "base/random.h"
#include "model/model_folder.h"
#include "nn/torch.h"
#include "other_device/other_device.h"
#include "tiny_models.h"
#include "tokenizers/bpe_trainer.h"

namespace verbatim {
namespace {

constexpr const char* kByteModel = "family = 'byte'\n[backbone]\nkind = 'transformer'\nwidth = 16\nheads = 4\n";

constexpr const char* kTfreeModel =
    "family = 'tfree'\n[backbone]\nkind = 'transformer'\nwidth = 16\nlayers = 2\nheads = 2\n";

constexpr const char* kTokunModel =
    "family = 'tokun'\n[backbone]\nkind = 'transformer'\nwidth = 16\nlayers = 2\nheads = 2\n";

// A model of family patch: what the level says, and what is inside.
std::string patch_model(const std::string& level,
                        const std::string& inner = "kind = 'transformer'\nwidth = 24\nlayers = 2\nheads = 2\n",
                        const std::string& encoder = "") {
  return "family = 'patch'\n" + encoder + "[backbone]\nkind = 'level'\nwidth = 16\nheads = 2\nwindow = 8\n" + level +
         "[backbone.inner]\n" + inner;
}

// SpaceByte as published: learned positions, LayerNorm with a gain alone, padded rows in, the last columns out.
constexpr const char* kSpaceByteModel =
    "family = 'patch'\n[encoder]\nstart_id = 255\nend_id = 255\n[backbone]\nkind = 'level'\nwidth = 16\nheads = 2\n"
    "window = 8\nhidden = 64\nboundary_symbols = [255]\npool = 'padded'\nupsample = 'tail'\n";
std::string space_byte_model(const std::string& layers, int64_t rows) {
  const std::string positions = fmt::format("{}positions = {}\n", layers, rows);
  return kSpaceByteModel + positions +
         "[backbone.inner]\nkind = 'transformer'\nwidth = 24\nlayers = 2\nheads = 2\nhidden = 96\n" +
         "closing_norm = false\n" + positions;
}

constexpr int64_t kLongTest = 1 << 15;  // rows of the longest text below, and more

struct Entry {
  const char* name;
  std::string settings;  // behind [model]
};

const Entry kEntries[] = {
    {"byte", std::string(kByteModel) + "layers = 2\n"},
    {"byte_without_layers", std::string(kByteModel) + "layers = 0\n"},
    {"byte_grouped_queries_window", std::string(kByteModel) + "layers = 2\nkey_value_heads = 2\nwindow = 5\n"},
    {"byte_tied_ngrams",
     std::string(kByteModel) +
         "layers = 1\n[encoder]\nngram_sizes = [3, 4, 8]\nngram_rows = 64\n[decoder]\ntied = true\n"},
    {"token",
     "family = 'token'\n[encoder]\ntokenizer = 'tokenizer.json'\n[backbone]\nkind = 'transformer'\nwidth = 16\nlayers "
     "= 2\nheads = 2\n"},
    {"tfree", std::string(kTfreeModel) + "[encoder]\nvocabulary = 300\nids_per_trigram = 4\n"},
    {"tfree_dictionary_softmax",
     std::string(kTfreeModel) +
         "[encoder]\nvocabulary = 300\nids_per_trigram = 4\naggregation = 'mean'\nnormalize = true\n[decoder]\nloss "
         "= 'dictionary'\n"},
    {"tfree_layer_norm_gelu_bias", std::string(kTfreeModel) +
                                       "norm = 'layer'\nmlp = 'gelu'\nbias = true\n[encoder]\nvocabulary = "
                                       "300\nids_per_trigram = 4\nstart_word = ''\n"},
    {"tokun_fixed", std::string(kTokunModel) + "[encoder]\nchain = '4x4'\nlatent = 16\nwidth = 12\n"},
    {"tokun_known", std::string(kTokunModel) + "[encoder]\nchain = '4x4'\nlatent = 16\nwidth = 12\ncharacters = 9\n"},
    {"tokun_published_bits", std::string(kTokunModel) +
                                 "[encoder]\nchain = '4x2x2'\nlatent = 16\nnetwork = 'published'\nattention = true\n"
                                 "head = 'bits'\n"},
    {"tokun_content_symbols",
     std::string(kTokunModel) +
         "[encoder]\nchain = '4x8'\nborders = 'content'\nlatent = 16\nwidth = 12\n[decoder]\nkind = 'bytes'\n"
         "width = 16\nlayers = 2\nheads = 2\n"},
    {"tokun_words_symbols",
     std::string(kTokunModel) +
         "[encoder]\nchain = '4x8'\nborders = 'words'\nlatent = 16\nwidth = 12\n[decoder]\nkind = 'bytes'\nrecent = 5\n"
         "width = 16\nlayers = 2\nheads = 2\n"},
    {"patch_fixed_1", patch_model("boundary = 'fixed:1'\n")},
    {"patch_fixed_4", patch_model("boundary = 'fixed:4'\n")},
    {"patch_space", patch_model("boundary = 'space'\n")},
    {"patch_space_ngrams",
     patch_model("boundary = 'space'\n", "kind = 'transformer'\nwidth = 24\nlayers = 1\nheads = 2\n",
                 "[encoder]\nngram_sizes = [3, 5]\nngram_rows = 64\n")},
    {"patch_pool_mean_upsample_boundary", patch_model("pool = 'mean'\nupsample = 'boundary'\n")},
    {"patch_pool_max_upsample_cross", patch_model("pool = 'max'\nupsample = 'cross'\npatch_queries = 2\n")},
    {"patch_pool_cross_upsample_repeat", patch_model("pool = 'cross'\nupsample = 'repeat'\npatch_queries = 3\n")},
    {"patch_pool_cross_upsample_cross", patch_model("pool = 'cross'\nupsample = 'cross'\nboundary = 'fixed:4'\n")},
    {"patch_nothing_before_or_after", patch_model("layers_before = 0\nlayers_after = 0\n")},
    {"patch_two_levels",
     patch_model("boundary = 'space'\n",
                 "kind = 'level'\nwidth = 24\nheads = 2\nboundary = 'fixed:3'\npool = 'mean'\nupsample = 'cross'\n"
                 "[backbone.inner.inner]\nkind = 'transformer'\nwidth = 32\nlayers = 1\nheads = 4\n")},
    {"byte_partly_rotated", std::string(kByteModel) + "layers = 2\nhead_width = 8\nrotary_width = 4\n"},
    {"byte_mamba1", "family = 'byte'\n[backbone]\nkind = 'mamba1'\nwidth = 16\nlayers = 2\n"},
    {"byte_mamba2",
     "family = 'byte'\n[backbone]\nkind = 'mamba2'\nwidth = 16\nlayers = 2\nstate = 8\n"
     "state_head_width = 8\nstate_groups = 2\n"},
    {"byte_pattern",
     "family = 'byte'\n[backbone]\nkind = 'pattern'\npattern = 'M1t1s1S1T1'\nwidth = 16\nheads = 2\nstate = 8\n"
     "state_head_width = 16\n"},
    {"byte_with_symbols_of_its_own", std::string(kByteModel) + "layers = 1\n[encoder]\nstart_id = 254\nend_id = 255\n"},
    {"patch_words_and_sentences",
     patch_model("boundary = 'word'\n",
                 "kind = 'level'\nwidth = 24\nheads = 2\nboundary = 'sentence'\n"
                 "[backbone.inner.inner]\nkind = 'transformer'\nwidth = 32\nlayers = 1\nheads = 4\n")},
    {"patch_learned", patch_model("boundary = 'learned'\n")},
    {"space_byte",
     space_byte_model("norm = 'layer_unshifted'\nmlp = 'relu'\nquery_key_norm = true\nrotary_theta = 0\n", kLongTest)},
    {"space_byte_rotary_deviation",
     space_byte_model("norm = 'deviation'\nmlp = 'gelu_tanh'\nquery_key_norm = true\n", 0)},
    {"patch_padded_repeat", patch_model("pool = 'padded'\nmlp = 'silu'\n")},
    {"patch_mean_tail", patch_model("pool = 'mean'\nupsample = 'tail'\ntoken_shift = true\nmlp_bias = true\n")},
    {"byte_layer_norm_shift_positions",
     std::string(kByteModel) +
         fmt::format("layers = 2\nnorm = 'layer'\ntoken_shift = true\nquery_key_norm = true\npositions = {}\n"
                     "[decoder]\nbias = true\n",
                     kLongTest)},
    {"grouped",
     fmt::format("family = 'patch'\n[backbone]\nkind = 'grouped'\ngroup = 3\nwidth = 16\nlayers = 2\nheads = "
                 "2\nrotary_theta = 0\npositions = {}\n[backbone.inner]\nkind = 'transformer'\nwidth = "
                 "24\nlayers = 2\nheads = 2\nclosing_norm = false\n",
                 kLongTest)},
    {"grouped_rotary_nested",
     "family = 'patch'\n[backbone]\nkind = 'grouped'\ngroup = 4\nwidth = 16\nlayers = 1\nheads = 2\n[backbone.inner]\n"
     "kind = 'level'\nboundary = 'fixed:2'\nwidth = 24\nheads = 2\n[backbone.inner.inner]\nkind = 'transformer'\nwidth "
     "= "
     "24\nlayers = 1\nheads = 2\n"},
    {"megabyte",
     "family = 'patch'\n[backbone]\nkind = 'megabyte'\nwidths = [24, 16]\ndepths = [2, 2]\nlengths = [0, 4]\nheads = "
     "2\n"},
    {"megabyte_three_stages",
     fmt::format(
         "family = 'patch'\n[backbone]\nkind = 'megabyte'\nwidths = [32, 24, 16]\ndepths = [1, 1, 1]\nlengths = "
         "[{}, 3, 2]\nheads = 2\nrotary_theta = 0\nabsolute_positions = true\n[decoder]\nbias = true\n",
         kLongTest / 6 + 1)},
    {"patch_learned_mamba_hints",
     patch_model("boundary = 'learned'\npattern_before = 'm2'\npattern_after = 'm1T1'\nstate = 8\n"
                 "state_head_width = 8\nhints = 'sentence'\n",
                 "kind = 'mamba1'\nwidth = 16\nlayers = 1\n")},
    {"patch_learned_twice",
     patch_model("boundary = 'learned'\n",
                 "kind = 'level'\nwidth = 24\nheads = 2\nboundary = 'learned'\n"
                 "[backbone.inner.inner]\nkind = 'transformer'\nwidth = 32\nlayers = 1\nheads = 4\n")},
    {"patch_space_around_learned",
     patch_model("boundary = 'space'\n",
                 "kind = 'level'\nwidth = 24\nheads = 2\nboundary = 'learned'\nhints = 'sentence'\n"
                 "[backbone.inner.inner]\nkind = 'transformer'\nwidth = 32\nlayers = 1\nheads = 4\n")},
};

// Texts as they come: many scripts, empty, one byte, every byte, not UTF-8.
std::vector<std::string> texts() {
  std::string all_bytes(256, 0);
  std::iota(all_bytes.begin(), all_bytes.end(), 0);
  return {
      "The quick brown fox, 1995: \xC2\xBFqu\xC3\xA9 tal?\n\tStra\xC3\x9F"
      "e \xE2\x80\x93 \xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, "
      "\xE6\xBC\xA2\xE5\xAD\x97\xE4\xBB\xAE\xE5\x90\x8D, \xD8\xB3\xD9\x84\xD8\xA7\xD9\x85 "
      "\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD e\xCC\x81\r\n",
      "",
      "x",
      " ",
      "\xFF",
      all_bytes,
      "broken \xE2\x82 in the \xF0\x9F\x91 middle \xC0\xAF and at the end \xE6\xBC",
      "     indented    text     ",
  };
}

std::string repeated(const std::string& text, size_t size) {
  std::string result;
  while (result.size() < size) result += text;
  result.resize(size);
  return result;
}

// A folder with a little tokenizer, removed at the end.
const std::filesystem::path& test_folder() {
  struct Folder {
    std::filesystem::path path;
    Folder() {
      std::string pattern = (std::filesystem::temp_directory_path() / "verbatim-contract-XXXXXX").string();
      path = mkdtemp(pattern.data());
      BpeTrainer trainer({.vocabulary_size = 300, .num_threads = 1});
      for (int i = 0; i < 5; ++i) trainer.add("the quick brown fox jumps over the lazy dog and the other dog there ");
      write_file_atomically(path / "tokenizer.json", trainer.train());
      write_file_atomically(path / "dictionary.jsonl",
                            "[\"<|endoftext|>\", 5]\n[\"the\", 20]\n[\"quick\", 5]\n[\"dog\", 10]\n[\",\", 0]\n");
    }
    ~Folder() { std::filesystem::remove_all(path); }
  };
  static const Folder folder;
  return folder.path;
}

class ModelContract : public ::testing::TestWithParam<Entry> {
 protected:
  void SetUp() override {
    // Weights larger than initial ones: errors of order and place must not hide in small numbers.
    model_ = testing::make_model("[model]\n" + GetParam().settings, 7, test_folder().string());
    torch::NoGradGuard no_grad;
    for (at::Tensor& parameter : model_->parameters()) {
      if (parameter.dim() == 2) parameter.mul_(1.5);
    }
    // What a first step of training takes from its text, whatever its weights: characters that are known as wholes.
    model_->train();
    (void)model_->training_loss(make_batch(model_->segmenter(), {{.bytes = "some known text"}}), {});
    model_->eval();
  }

  // Backbone results for a document, one row for the start and each position.
  at::Tensor rows_of(const std::string& text) {
    torch::NoGradGuard no_grad;
    return model_->forward(make_batch(model_->segmenter(), {{.bytes = text}}), {}).contiguous();
  }

  static std::vector<std::vector<int32_t>> ids_of(const Positions& positions) {
    std::vector<std::vector<int32_t>> ids;
    for (size_t i = 0; i < positions.size(); ++i) ids.push_back(positions.ids_of(i));
    return ids;
  }

  static void expect_near(const std::vector<float>& newest_D, const at::Tensor& row_D, const std::string& where) {
    ASSERT_EQ(static_cast<int64_t>(newest_D.size()), row_D.numel()) << where;
    const at::Tensor step = at::from_blob(const_cast<float*>(newest_D.data()), row_D.sizes(), at::kFloat);
    EXPECT_LT((step - row_D).abs().max().item<float>(), 1e-4F) << where;
  }

  std::shared_ptr<LanguageModel> model_;
};

TEST_P(ModelContract, gives_back_every_text) {
  const Segmenter& segmenter = model_->segmenter();
  ASSERT_TRUE(segmenter.lossless());
  std::vector<std::string> all = texts();
  all.push_back(repeated("a long line, ", 1 << 20));
  all.push_back(std::string(1 << 20, 'a'));
  for (const std::string& text : all) {
    for (const DocumentPart part : {DocumentPart::kStart, DocumentPart::kLater}) {
      const Positions positions = segmenter.segment(text, part);
      const std::vector<std::vector<int32_t>> ids = ids_of(positions);
      std::string back;
      uint32_t end = 0;
      for (size_t i = 0; i < positions.size(); ++i) {
        ASSERT_GE(positions.ends[i], end) << "position " << i;
        end = positions.ends[i];
        const std::vector<int32_t> unknown;
        const std::vector<int32_t>* previous = part == DocumentPart::kStart ? nullptr : &unknown;
        back += segmenter.bytes_of(ids[i], i > 0 ? &ids[i - 1] : previous);
      }
      ASSERT_EQ(end, text.size());
      ASSERT_TRUE(back == text) << "a text of " << text.size() << " bytes comes back changed";
    }
  }
}

TEST_P(ModelContract, is_causal) {
  Random random(5);
  for (const std::string& text : texts()) {
    if (text.size() < 2) continue;
    const Positions positions = model_->segmenter().segment(text, DocumentPart::kStart);
    const at::Tensor rows_ND = rows_of(text);
    bool any_changed_after = false;
    for (int round = 0; round < 8; ++round) {
      std::string changed = text;
      const size_t at = random.below(text.size());
      changed[at] = static_cast<char>(static_cast<uint8_t>(changed[at]) + 1 + random.below(255));
      const Positions other = model_->segmenter().segment(changed, DocumentPart::kStart);
      // Row r has read r positions: those that the two texts share give the same rows.
      size_t shared = 0;
      while (shared < std::min(positions.size(), other.size()) && positions.ends[shared] == other.ends[shared] &&
             positions.ends[shared] <= at && ids_of(positions)[shared] == ids_of(other)[shared]) {
        ++shared;
      }
      const at::Tensor changed_rows_ND = rows_of(changed);
      const auto before = static_cast<int64_t>(shared) + 1;
      EXPECT_LT((rows_ND.slice(0, 0, before) - changed_rows_ND.slice(0, 0, before)).abs().max().item<float>(), 1e-5F)
          << "byte " << at << " of " << text.size();
      if (positions.size() == other.size()) {
        const at::Tensor change = (rows_ND - changed_rows_ND).abs().slice(0, before);
        any_changed_after = any_changed_after || change.max().item<float>() > 1e-4F;
        // Positions of one byte each.
        const std::string& family = model_->settings().family;
        if (family == "byte" || family == "patch") {
          EXPECT_EQ(shared, at);
        }
      }
    }
    EXPECT_TRUE(any_changed_after) << "no change reached a later row of a text of " << text.size() << " bytes";
  }
}

TEST_P(ModelContract, keeps_the_documents_of_a_batch_apart) {
  torch::NoGradGuard no_grad;
  const std::vector<std::string> all = texts();
  std::vector<TextPiece> pieces;
  for (const std::string& text : all) pieces.push_back({.bytes = text});
  const PositionBatch batch = make_batch(model_->segmenter(), pieces);
  const at::Tensor rows_ND = model_->forward(batch, {});
  const at::Tensor nats_N = model_->nats(batch, {});
  int64_t end = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const PositionBatch alone = make_batch(model_->segmenter(), {pieces[i]});
    const int64_t begin = end;
    end += alone.rows();
    ASSERT_LE(end, batch.rows());
    EXPECT_LT((rows_ND.slice(0, begin, end) - rows_of(all[i])).abs().max().item<float>(), 1e-4F) << "document " << i;
    EXPECT_LT((nats_N.slice(0, begin, end) - model_->nats(alone, {})).abs().max().item<float>(), 1e-4F)
        << "document " << i;
  }
  EXPECT_EQ(end, batch.rows());
}

TEST_P(ModelContract, reads_at_once_what_it_reads_step_by_step) {
  for (const std::string& text : texts()) {
    const at::Tensor rows_ND = rows_of(text);
    const Positions positions = model_->segmenter().segment(text, DocumentPart::kStart);
    StreamState at_once = model_->start();
    expect_near(at_once.newest_D, rows_ND[0], "start");
    model_->read(at_once, text);
    expect_near(at_once.newest_D, rows_ND[rows_ND.size(0) - 1], "read at once");
    StreamState stepwise = model_->start();
    const std::vector<std::vector<int32_t>> ids = ids_of(positions);
    for (size_t i = 0; i < ids.size(); ++i) {
      model_->read_position(stepwise, ids[i]);
      expect_near(stepwise.newest_D, rows_ND[static_cast<int64_t>(i) + 1],
                  fmt::format("position {} of {}", i, ids.size()));
      if (HasFailure()) return;
    }
  }
}

TEST_P(ModelContract, reads_in_parts_what_it_reads_at_once) {
  const std::string text = repeated(texts()[0], 1500);  // longer than the stretches that read() makes
  const at::Tensor rows_ND = rows_of(text);
  const Positions positions = model_->segmenter().segment(text, DocumentPart::kStart);
  StreamState state = model_->start();
  model_->read(state, text);
  expect_near(state.newest_D, rows_ND[rows_ND.size(0) - 1], "long text");
  EXPECT_EQ(state.positions, positions.size());
}

TEST_P(ModelContract, steps_a_batch_of_streams_like_each_alone) {
  const std::vector<std::string> all = texts();
  std::vector<StreamState> streams(all.size(), model_->start());
  std::vector<at::Tensor> rows;
  std::vector<std::vector<std::vector<int32_t>>> ids;
  size_t longest = 0;
  for (const std::string& text : all) {
    rows.push_back(rows_of(text));
    ids.push_back(ids_of(model_->segmenter().segment(text, DocumentPart::kStart)));
    longest = std::max(longest, ids.back().size());
  }
  for (size_t step = 0; step < longest; ++step) {
    std::vector<StreamState*> states;
    std::vector<std::vector<int32_t>> next;
    for (size_t s = 0; s < all.size(); ++s) {
      if (step >= ids[s].size()) continue;
      states.push_back(&streams[s]);
      next.push_back(ids[s][step]);
    }
    model_->read_positions(states, next);
  }
  for (size_t s = 0; s < all.size(); ++s)
    expect_near(streams[s].newest_D, rows[s][rows[s].size(0) - 1], fmt::format("stream {}", s));
}

TEST_P(ModelContract, forks_by_copying_a_state) {
  StreamState state = model_->start();
  model_->read(state, "the quick ");
  StreamState other = state;
  model_->read(other, "dog");
  StreamState again = state;
  model_->read(again, "fox jumps");
  model_->read(state, "fox jumps");
  EXPECT_EQ(state.newest_D, again.newest_D);
  EXPECT_NE(state.newest_D, other.newest_D);
}

TEST_P(ModelContract, has_a_likelihood_that_sums_to_one) {
  torch::NoGradGuard no_grad;
  const Likelihood likelihood = model_->decoder().likelihood();
  if (likelihood != Likelihood::kExact && likelihood != Likelihood::kBound) {
    GTEST_SKIP() << "the decoder of this family has no softmax over symbols";
  }
  const std::vector<float> row_D(static_cast<size_t>(model_->backbone().width()));
  if (model_->decoder().scores(row_D).empty()) GTEST_SKIP() << "blocks are no list; tokun_test sums over them";
  for (const std::string& text : texts()) {
    const at::Tensor rows_ND = rows_of(text);
    const at::Tensor last_D = rows_ND[rows_ND.size(0) - 1];
    const auto symbols = static_cast<int64_t>(
        model_->decoder().scores({last_D.data_ptr<float>(), static_cast<size_t>(last_D.numel())}).size());
    PositionBatch batch;  // the same row with every possible target
    batch.offsets = {0, symbols};
    batch.targets.resize(static_cast<size_t>(symbols));
    std::iota(batch.targets.begin(), batch.targets.end(), 0);
    const at::Tensor nats = model_->decoder().nats(last_D.expand({symbols, last_D.numel()}).contiguous(), batch);
    EXPECT_NEAR(at::exp(-nats.to(at::kDouble)).sum().item<double>(), 1.0, 1e-5);
  }
}

TEST_P(ModelContract, scores_every_position_and_end_once) {
  torch::NoGradGuard no_grad;
  const std::string text = texts()[0];
  const PositionBatch batch = make_batch(model_->segmenter(), {{.bytes = text}});
  EXPECT_EQ(batch.scored_bytes, text.size());
  EXPECT_EQ(batch.scored_ends, 1U);
  const at::Tensor nats_N = model_->nats(batch, {});
  EXPECT_EQ(nats_N.numel(), batch.rows());
  EXPECT_GT(nats_N.min().item<float>(), 0.0F);
}

TEST_P(ModelContract, computes_a_stretch_of_a_long_line) {
  const at::Tensor rows_ND = rows_of(repeated("no line break here; ", 1 << 14));
  EXPECT_TRUE(at::isfinite(rows_ND).all().item<bool>());
}

TEST_P(ModelContract, is_the_same_after_saving_and_loading) {
  const std::filesystem::path folder = test_folder() / GetParam().name;
  std::filesystem::create_directories(folder);
  save_model(*model_, folder, "");
  const std::shared_ptr<LanguageModel> loaded = load_model(folder);
  EXPECT_EQ(loaded->parameter_count(), model_->parameter_count());
  const std::string text = texts()[0];
  const at::Tensor before = rows_of(text);
  model_ = loaded;
  EXPECT_TRUE(at::equal(before, rows_of(text)));
}

// As on a GPU: nothing but LibTorch's operators may touch a tensor, and all tensors of an operator are on one device.
TEST_P(ModelContract, computes_the_same_on_another_device) {
  std::vector<TextPiece> pieces;
  const std::vector<std::string> all = texts();
  for (const std::string& text : all) pieces.push_back({.bytes = text});
  const PositionBatch batch = make_batch(model_->segmenter(), pieces);
  const auto training_loss = [&](LanguageModel& model, at::ScalarType type) {
    const TrainingLoss loss = model.training_loss(batch, {.compute_type = type});
    const at::Tensor of_rows = loss.rows_N.sum();
    return loss.levels.defined() ? of_rows + loss.levels : of_rows;
  };
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    SCOPED_TRACE(c10::toString(type));
    std::shared_ptr<LanguageModel> here = model_;
    SetUp();  // the same weights again
    std::shared_ptr<LanguageModel> there = std::exchange(model_, here);
    for (LanguageModel* model : {here.get(), there.get()}) {
      model->to(type == at::kDouble ? at::kDouble : at::kFloat);
      model->zero_grad();
    }
    there->to(testing::other_device());
    const at::Tensor expected = training_loss(*here, type), loss = training_loss(*there, type);
    EXPECT_EQ(loss.device(), testing::other_device());
    const double tolerance = type == at::kDouble ? 1e-9 : type == at::kFloat ? 1e-4 : 0.02;
    EXPECT_NEAR(loss.item<double>() / expected.item<double>(), 1, tolerance);
    expected.backward();
    loss.backward();
    const auto values_there = there->named_parameters();
    for (const auto& parameter : here->named_parameters()) {
      const at::Tensor gradient = parameter.value().grad(), other = values_there[parameter.key()].grad();
      ASSERT_EQ(gradient.defined(), other.defined()) << parameter.key();
      if (!gradient.defined()) continue;
      ASSERT_TRUE(at::isfinite(other).all().item<bool>()) << parameter.key();
      if (type == at::kBFloat16) continue;
      const double difference = (gradient - other.cpu()).norm().item<double>();
      EXPECT_LE(difference, tolerance * 10 * gradient.norm().item<double>() + 1e-12) << parameter.key();
    }
    torch::NoGradGuard no_grad;
    const at::Tensor nats_N = here->nats(batch, {.compute_type = type}),
                     other_N = there->nats(batch, {.compute_type = type});
    EXPECT_NEAR(other_N.sum().item<double>() / nats_N.sum().item<double>(), 1, tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(families, ModelContract, ::testing::ValuesIn(kEntries),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace verbatim
