#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <system_error>

namespace verbatim {
namespace {

using ::testing::HasSubstr;

TEST(error, throws_input_errors_with_the_formatted_message) {
  try {
    throw_input("{}: expected {} bytes, got {}", "a.bin", 8, 3);
    FAIL() << "nothing was thrown";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "a.bin: expected 8 bytes, got 3");
  }
}

TEST(error, tells_what_failed_on_what_and_why_for_system_errors) {
  try {
    throw_system(ENOENT, "open", "a.bin");
    FAIL() << "nothing was thrown";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), ENOENT);
    EXPECT_STREQ(error.what(), "cannot open a.bin: No such file or directory");
  }
}

TEST(error, names_file_line_and_condition_of_a_broken_promise) {
  const int width = 3;
  try {
    VERBATIM_ASSERT(width % 2 == 0, "width is {}", width);
    FAIL() << "nothing was thrown";
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(), HasSubstr("error_test.cc:"));
    EXPECT_THAT(error.what(), HasSubstr("'width % 2 == 0'"));
    EXPECT_THAT(error.what(), HasSubstr("width is 3"));
  }
}

TEST(error, does_not_throw_when_the_promise_holds) {
  EXPECT_NO_THROW(VERBATIM_ASSERT(1 + 1 == 2));
  EXPECT_THROW(VERBATIM_ASSERT(1 + 1 == 3), InternalError);
}

}  // namespace
}  // namespace verbatim
