#include <gtest/gtest.h>

#include "tiny_models.h"

namespace verbatim {
namespace {

// `--encoder.ngram_sizes=[]` beside a settings file with n-grams.
TEST(byte_encoder, takes_the_rows_of_tables_that_are_switched_off) {
  const char* toml =
      "[model]\nfamily='byte'\n[encoder]\nngram_sizes=[]\nngram_rows=64\n"
      "[backbone]\nkind='transformer'\nwidth=16\nheads=2\nlayers=1\n";
  EXPECT_EQ(testing::make_model(toml)->encoder().named_parameters().size(), 1U);
}

}  // namespace
}  // namespace verbatim
