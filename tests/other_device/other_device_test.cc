#include "other_device/other_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn/torch.h"

namespace verbatim::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

at::Tensor numbers() { return at::arange(12, at::kFloat).view({3, 4}); }

TEST(other_device, computes_what_the_cpu_computes) {
  const at::Tensor here = numbers(), there = here.to(other_device());
  EXPECT_EQ(there.device(), other_device());
  EXPECT_TRUE(at::equal(at::mm(there, there.t()).cpu(), at::mm(here, here.t())));
  EXPECT_TRUE(at::equal(at::cat({there, there * 2}).narrow(1, 1, 2).contiguous().cpu(),
                        at::cat({here, here * 2}).narrow(1, 1, 2)));
  EXPECT_EQ(there.sum().item<float>(), 66);
  EXPECT_TRUE(
      at::equal(at::arange(5, at::TensorOptions(other_device()).dtype(at::kLong)).cpu(), at::arange(5, at::kLong)));
}

TEST(other_device, writes_in_place_and_through_views) {
  const at::Tensor there = numbers().to(other_device());
  there.select(0, 1).mul_(10);
  there.index_put_({at::tensor({2}, at::kLong)}, at::tensor(7.0F));  // indices may come from the CPU, as in CUDA
  at::Tensor expected = numbers();
  expected[1] *= 10;
  expected[2] = 7;
  EXPECT_TRUE(at::equal(there.cpu(), expected));
}

TEST(other_device, differentiates) {
  const at::Tensor here = numbers().requires_grad_(), there = numbers().to(other_device()).requires_grad_();
  at::softmax(here, 1).square().sum().backward();
  at::softmax(there, 1).square().sum().backward();
  EXPECT_EQ(there.grad().device(), other_device());
  EXPECT_TRUE(at::equal(there.grad().cpu(), here.grad()));
}

TEST(other_device, refuses_tensors_of_two_devices) {
  const at::Tensor there = numbers().to(other_device());
  EXPECT_THAT([&] { static_cast<void>(at::mm(there, numbers().t())); },
              ThrowsMessage<c10::Error>(HasSubstr("aten::mm")));
  EXPECT_THAT([&] { static_cast<void>(there + numbers()); }, ThrowsMessage<c10::Error>(HasSubstr("same device")));
  EXPECT_THROW(static_cast<void>(there.index_select(0, at::tensor({1}, at::kLong))), c10::Error);
  EXPECT_THROW(static_cast<void>(at::cat({there, numbers()})), c10::Error);
}

TEST(other_device_death, ends_a_program_that_reads_through_a_pointer) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const at::Tensor there = numbers().to(other_device());
  EXPECT_DEATH({ EXPECT_EQ(*static_cast<volatile float*>(there.data_ptr()), 0); }, "");
}

}  // namespace
}  // namespace verbatim::testing
