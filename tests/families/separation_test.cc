#include "families/tokun/separation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "families/tokun/tokun_encoder.h"
#include "finite_differences.h"
#include "nn/torch.h"
#include "tiny_models.h"

namespace verbatim {
namespace {

using testing::make_model;

constexpr int64_t kPlaces = 4;

at::Tensor some_parts(int64_t known, at::ScalarType type) {
  at::Generator generator = at::detail::createCPUGenerator(4);
  return 3 * at::randn({known, 8}, generator, at::TensorOptions(at::kDouble)).to(type);
}

// As its definition has it, one pair after the other.
double confusion_by_pairs(const at::Tensor& parts_KL, const std::vector<int64_t>& rows, double deviation) {
  double sum = 0;
  for (const int64_t own : rows) {
    const double length = parts_KL[own].norm().item<double>();
    const double scale = std::sqrt(8.0 / kPlaces) / length;  // its share of a vector of 8 numbers of mean square 1
    double likely = 1;
    for (int64_t other = 0; other < parts_KL.size(0); ++other) {
      if (other == own) continue;
      const double distance = scale * (parts_KL[own] - parts_KL[other]).norm().item<double>();
      likely += std::exp(3 - distance * distance / (8 * deviation * deviation));
    }
    sum += std::log(likely);
  }
  return sum / static_cast<double>(rows.size());
}

TEST(separation, is_the_sum_of_what_bounds_each_mistake) {
  const std::vector<int64_t> rows = {0, 3, 4, 3, 6};
  const at::Tensor parts_KL = some_parts(7, at::kDouble), row_S = at::tensor(rows, at::kLong);
  const double little = confusion_by_pairs(parts_KL, rows, 0.2), much = confusion_by_pairs(parts_KL, rows, 0.6);
  EXPECT_LT(little, 0.9 * much);
  const auto measured = [&](const at::Tensor& parts, double deviation, at::ScalarType type) {
    return confusion_of_parts(parts, row_S, kPlaces, deviation, type).item<double>();
  };
  EXPECT_NEAR(measured(parts_KL, 0.2, at::kDouble), little, 1e-5);
  EXPECT_NEAR(measured(parts_KL, 0.6, at::kDouble), much, 1e-5);
  EXPECT_NEAR(measured(parts_KL.to(at::kFloat), 0.6, at::kFloat), much, 1e-3);
  EXPECT_NEAR(measured(parts_KL.to(at::kFloat), 0.6, at::kBFloat16), much, 0.05);
  // How long all of them are is no matter.
  EXPECT_NEAR(measured(5 * parts_KL, 0.6, at::kDouble), much, 1e-5);
}

std::string settings(double separation) {
  return "[model]\nfamily = 'tokun'\n[encoder]\nchain = '4x4'\nlatent = 8\nwidth = 6\ncharacters = 9\njoin_layer = "
         "false\nnoise = 0.5\nseparation = " +
         std::to_string(separation) + "\n[backbone]\nkind = 'none'\n";
}

std::shared_ptr<LanguageModel> model_of(double separation) {
  auto model = make_model(settings(separation), 3);
  model->to(at::kDouble);
  model->train();
  return model;
}

PositionBatch some_text(LanguageModel& model) {
  PositionBatch batch = make_batch(model.segmenter(), {{.bytes = "abcdefg"}, {.bytes = "xyz, abc fee"}});
  predict_itself(batch);
  return batch;
}

// [] of the batch, besides what its rows lose.
at::Tensor added(LanguageModel& model, const PositionBatch& batch) {
  return model.training_loss(batch, {.compute_type = at::kDouble}).levels;
}

TEST(separation, has_gradients_that_equal_finite_differences) {
  const auto model = model_of(0.5);
  const PositionBatch batch = some_text(*model);
  const auto loss = [&] { return added(*model, batch); };
  loss().backward();
  torch::NoGradGuard no_grad;
  at::manual_seed(9);
  int64_t moved = 0;
  for (const auto& parameter : model->named_parameters()) {
    if (!parameter.value().requires_grad() || !parameter.value().grad().defined()) continue;
    testing::expect_slope(parameter.value(), parameter.key(), loss);
    moved += parameter.value().grad().abs().max().item<double>() > 1e-6 ? 1 : 0;
  }
  EXPECT_EQ(moved, 8)
      << "table, rows of characters and their matrix, the layer's three weights, norm and matrix of the "
         "join";
}

// What it is for: characters come to lie farther from each other than noise reaches.
TEST(separation, moves_the_parts_of_characters_apart) {
  const auto model = model_of(1);
  const PositionBatch batch = some_text(*model);
  (void)added(*model, batch);  // who is known is settled
  auto& network = dynamic_cast<TokunEncoder&>(model->encoder()).network();
  const auto confused = [&] {
    torch::NoGradGuard no_grad;
    double sum = 0;
    for (int64_t place = 0; place < kPlaces; ++place) {
      const at::Tensor parts_KL = network.known_parts(place, at::kDouble);
      sum += confusion_of_parts(parts_KL, at::arange(parts_KL.size(0)), kPlaces, 0.25, at::kDouble).item<double>();
    }
    return sum;
  };
  const double before = confused();
  for (int64_t step = 0; step < 150; ++step) {
    model->zero_grad();
    added(*model, batch).backward();
    torch::NoGradGuard no_grad;
    for (auto& parameter : model->named_parameters()) {
      if (parameter.value().grad().defined()) parameter.value().sub_(parameter.value().grad(), 0.05);
    }
  }
  EXPECT_LT(confused(), 0.8 * before);
}

TEST(separation, is_for_training_alone) {
  const auto model = model_of(0.5);
  const PositionBatch batch = some_text(*model);
  EXPECT_TRUE(added(*model, batch).defined());
  EXPECT_FALSE(added(*model_of(0), batch).defined());
  model->eval();
  EXPECT_FALSE(added(*model, batch).defined());
}

TEST(separation, begins_when_characters_are_known) {
  const auto model = model_of(0.5);
  PositionBatch batch = some_text(*model);
  batch.natural_rows = 0;
  EXPECT_FALSE(added(*model, batch).defined()) << "made-up text is no text to know characters of";
}

TEST(separation, needs_vectors_that_are_sums_and_noise) {
  for (const std::string_view changed : {"join_layer = true", "noise = 0.0", "chain = '4x2x2'"}) {
    std::string text = settings(1);
    const size_t key = text.find(changed.substr(0, changed.find(' ')));
    ASSERT_NE(key, std::string::npos) << changed;
    text.replace(key, text.find('\n', key) - key, changed);
    EXPECT_THROW((void)make_model(text), InputError) << changed;
  }
}

}  // namespace
}  // namespace verbatim
