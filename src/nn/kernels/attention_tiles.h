#pragma once

#include <cstdint>
#include <vector>

// The fast attention on CPU, below LibTorch: plain pointers in, plain pointers out. Two forms share one description:
// `tiled_*` (32 queries by blocks of 32 keys; long ranges) and `small_range_*` (one query at a time; a few keys each).
// Both give the same bits for any number of threads: tasks do not depend on it and every output has one owner.
namespace verbatim::nn {

enum class AttentionType { kFloat, kBFloat16 };

// Query rows that see no key outside [key_begin, key_end), and keys that no other query sees.
struct AttentionSegment {
  int64_t query_begin = 0;
  int64_t query_end = 0;
  int64_t key_begin = 0;
  int64_t key_end = 0;
};

// cos and sin of position * theta^(-2i/d), [positions][d/2].
struct RotaryTable {
  int64_t positions = 0;
  std::vector<float> cosine;
  std::vector<float> sine;
};

// Columns of a row-major matrix: the heads of one kind lie side by side.
template <class Pointer>
struct HeadColumns {
  Pointer data = nullptr;
  int64_t stride = 0;  // elements from row to row
};

struct AttentionProblem {
  AttentionType type = AttentionType::kFloat;
  int64_t heads = 0;               // H
  int64_t key_value_heads = 0;     // G
  int64_t head_width = 0;          // d
  HeadColumns<const void*> q;      // [Q, H d]
  HeadColumns<const void*> k;      // [K, G d]
  HeadColumns<const void*> v;      // [K, G d]
  int64_t queries = 0;             // Q
  const int32_t* begin = nullptr;  // [Q], the first key row seen; non-decreasing
  const int32_t* end = nullptr;    // [Q], one past the last; non-decreasing
  const AttentionSegment* segments = nullptr;
  int64_t num_segments = 0;
  const RotaryTable* rotary = nullptr;  // positions count from the start of a segment, for queries and keys alike
  bool interleaved = false;
  int threads = 1;
};

// `log_sum` [H, Q]: log2 of the softmax's denominator, scores in units of log 2; 1e30 where a query sees nothing.
struct AttentionOutput {
  HeadColumns<void*> out;  // [Q, H d]; rows of queries outside all segments are not written
  float* log_sum = nullptr;
};

struct AttentionGradients {
  HeadColumns<const void*> out;       // [Q, H d]
  HeadColumns<const void*> grad_out;  // [Q, H d]
  const float* log_sum = nullptr;
  HeadColumns<void*> grad_q;  // rows outside all segments are not written
  HeadColumns<void*> grad_k;
  HeadColumns<void*> grad_v;
};

void tiled_forward(const AttentionProblem& problem, const AttentionOutput& result);
void tiled_backward(const AttentionProblem& problem, const AttentionGradients& gradients);

// No rotary embedding. Head width up to kLargestSmallWidth.
inline constexpr int64_t kLargestSmallWidth = 256;
void small_range_forward(const AttentionProblem& problem, const AttentionOutput& result);
void small_range_backward(const AttentionProblem& problem, const AttentionGradients& gradients);

}  // namespace verbatim::nn
