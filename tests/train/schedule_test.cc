#include "train/schedule.h"

#include <gtest/gtest.h>

namespace verbatim {
namespace {

OptimSettings settings_of(const std::string& schedule) {
  OptimSettings settings;
  settings.learning_rate = 2;
  settings.warmup = 10;
  settings.schedule = schedule;
  settings.decay_share = 0.2;
  settings.minimum_ratio = 0.1;
  return settings;
}

TEST(schedule, cosine_falls_from_the_peak_to_its_share) {
  const OptimSettings settings = settings_of("cosine");
  EXPECT_DOUBLE_EQ(learning_rate(settings, 100, 0), 2.0);
  EXPECT_NEAR(learning_rate(settings, 100, 1.0 / 3), 2 * (0.1 + 0.9 * 0.75), 1e-12);  // (1 + cos 60 deg) / 2 = 3/4
  EXPECT_NEAR(learning_rate(settings, 100, 0.5), 2 * 0.55, 1e-12);
  EXPECT_NEAR(learning_rate(settings, 100, 1), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate(settings, 100, 7), 0.2, 1e-12) << "behind the end it stays";
}

TEST(schedule, wsd_stays_and_then_falls_in_a_line) {
  const OptimSettings settings = settings_of("wsd");
  for (const double progress : {0.0, 0.5, 0.8}) EXPECT_DOUBLE_EQ(learning_rate(settings, 100, progress), 2.0);
  EXPECT_NEAR(learning_rate(settings, 100, 0.9), 2 * 0.55, 1e-12);
  EXPECT_NEAR(learning_rate(settings, 100, 1), 0.2, 1e-12);
}

TEST(schedule, constant_stays) {
  for (const double progress : {0.0, 0.5, 1.0}) {
    EXPECT_DOUBLE_EQ(learning_rate(settings_of("constant"), 100, progress), 2.0);
  }
}

TEST(schedule, rises_in_a_line_and_reaches_the_peak_with_the_last_step_of_the_rise) {
  OptimSettings settings = settings_of("constant");
  EXPECT_DOUBLE_EQ(learning_rate(settings, 1, 0), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(settings, 5, 0), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(settings, 10, 0), 2.0);
  settings.warmup = 0;
  EXPECT_DOUBLE_EQ(learning_rate(settings, 1, 0), 2.0);
}

TEST(schedule, rise_and_fall_multiply) {
  EXPECT_NEAR(learning_rate(settings_of("cosine"), 5, 0.5), 0.5 * 2 * 0.55, 1e-12);
}

}  // namespace
}  // namespace verbatim
