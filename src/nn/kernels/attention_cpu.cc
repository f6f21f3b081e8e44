#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "base/error.h"
#include "nn/autograd.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/attention_tiles.h"

// The border between LibTorch and the tiles: checks, plans, autograd. Legend as in attention.h.
namespace verbatim::nn {
namespace {

// Tables are kept for the life of the process: a model uses one or two.
std::shared_ptr<const RotaryTable> rotary_table(const RotaryOptions& rotary, int64_t d, int64_t positions) {
  static std::mutex mutex;
  static std::map<std::tuple<double, int64_t, int64_t>, std::shared_ptr<const RotaryTable>> tables;
  const std::lock_guard lock(mutex);
  auto& table = tables[{rotary.theta, d, rotary.width}];
  if (table != nullptr && table->positions >= positions) return table;
  const int64_t half = d / 2;
  auto fresh = std::make_shared<RotaryTable>();
  fresh->positions = std::max<int64_t>(1024, positions + positions / 4);
  fresh->cosine.resize(fresh->positions * half);
  fresh->sine.resize(fresh->positions * half);
  for (int64_t i = 0; i < half; ++i) {
    const double frequency = rotary.frequency(i, d);
    for (int64_t t = 0; t < fresh->positions; ++t) {
      fresh->cosine[t * half + i] = static_cast<float>(std::cos(static_cast<double>(t) * frequency));
      fresh->sine[t * half + i] = static_cast<float>(std::sin(static_cast<double>(t) * frequency));
    }
  }
  table = std::move(fresh);
  return table;
}

enum class Form { kTiles, kSmallRanges };

// Everything about a call but the tensors; lives until its backward pass.
struct Plan final : torch::CustomClassHolder {
  std::vector<int32_t> begin;
  std::vector<int32_t> end;
  std::vector<AttentionSegment> segments;
  AttentionShape shape;
  Form form = Form::kTiles;
  std::shared_ptr<const RotaryTable> rotary;
  bool interleaved = false;
  bool covers_everything = true;  // every query and every key belongs to a segment
};

AttentionProblem describe(const Plan& plan, const at::Tensor& like) {
  AttentionProblem problem;
  problem.type = like.scalar_type() == at::kFloat ? AttentionType::kFloat : AttentionType::kBFloat16;
  problem.heads = plan.shape.heads;
  problem.key_value_heads = plan.shape.key_value_heads;
  problem.head_width = plan.shape.head_width;
  problem.queries = static_cast<int64_t>(plan.begin.size());
  problem.begin = plan.begin.data();
  problem.end = plan.end.data();
  problem.segments = plan.segments.data();
  problem.num_segments = static_cast<int64_t>(plan.segments.size());
  problem.rotary = plan.rotary.get();
  problem.interleaved = plan.interleaved;
  problem.threads = at::get_num_threads();
  return problem;
}

template <class Pointer>
HeadColumns<Pointer> columns(const at::Tensor& x, int64_t first) {
  return {static_cast<char*>(x.data_ptr()) + first * x.element_size(), x.stride(0)};
}

at::Tensor with_dense_rows(const at::Tensor& x) {
  return x.stride(1) == 1 && x.stride(0) >= x.size(1) ? x : x.contiguous();
}

// The columns of keys and values: after the queries in `qkv`, or in a tensor of their own.
struct KeyValueColumns {
  const at::Tensor& tensor;
  int64_t first;
};

KeyValueColumns key_value_columns(const Plan& plan, const at::Tensor& queries, const at::Tensor& kv) {
  if (kv.defined()) return {kv, 0};
  return {queries, plan.shape.heads * plan.shape.head_width};
}

void set_inputs(const Plan& plan, const at::Tensor& queries, const at::Tensor& kv, AttentionProblem& problem) {
  const auto [tensor, first] = key_value_columns(plan, queries, kv);
  problem.q = columns<const void*>(queries, 0);
  problem.k = columns<const void*>(tensor, first);
  problem.v = columns<const void*>(tensor, first + plan.shape.key_value_heads * plan.shape.head_width);
}

// queries: q [Q, H d] with kv [K, 2 G d], or qkv [N, (H + 2G) d] with kv undefined.
class FastAttention : public torch::autograd::Function<FastAttention> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::Tensor queries,
                            const c10::optional<at::Tensor>& maybe_kv, const c10::intrusive_ptr<Plan>& plan) {
    queries = with_dense_rows(queries);
    const auto kv = maybe_kv ? with_dense_rows(*maybe_kv) : at::Tensor();
    const int64_t rows = queries.size(0);
    const int64_t width = plan->shape.heads * plan->shape.head_width;
    const auto out = plan->covers_everything ? at::empty({rows, width}, queries.options())
                                             : at::zeros({rows, width}, queries.options());
    const auto log_sum = at::empty({plan->shape.heads, rows}, queries.options().dtype(at::kFloat));
    AttentionProblem problem = describe(*plan, queries);
    set_inputs(*plan, queries, kv, problem);
    const AttentionOutput result{columns<void*>(out, 0), log_sum.data_ptr<float>()};
    if (plan->form == Form::kTiles) {
      tiled_forward(problem, result);
    } else {
      small_range_forward(problem, result);
    }
    context->save_for_backward({queries, kv, out, log_sum});
    context->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grad_outputs) {
    const auto saved = context->get_saved_variables();
    const auto& queries = saved[0];
    const auto& kv = saved[1];
    const auto& out = saved[2];
    const auto& log_sum = saved[3];
    const auto holder = context->saved_data["plan"].toCapsule();
    const auto& plan = static_cast<const Plan&>(*holder);
    if (!grad_outputs[0].defined()) return {at::Tensor(), at::Tensor(), at::Tensor()};
    const auto grad_out = with_dense_rows(grad_outputs[0].to(out.scalar_type()));

    const auto gradient_like = [&](const at::Tensor& x) {
      if (!x.defined()) return at::Tensor();
      return plan.covers_everything ? at::empty(x.sizes(), x.options()) : at::zeros(x.sizes(), x.options());
    };
    const auto grad_queries = gradient_like(queries);
    const auto grad_kv = gradient_like(kv);
    AttentionProblem problem = describe(plan, queries);
    set_inputs(plan, queries, kv, problem);
    const auto [tensor, first] = key_value_columns(plan, grad_queries, grad_kv);
    AttentionGradients gradients;
    gradients.out = columns<const void*>(out, 0);
    gradients.grad_out = columns<const void*>(grad_out, 0);
    gradients.log_sum = log_sum.data_ptr<float>();
    gradients.grad_q = columns<void*>(grad_queries, 0);
    gradients.grad_k = columns<void*>(tensor, first);
    gradients.grad_v = columns<void*>(tensor, first + plan.shape.key_value_heads * plan.shape.head_width);
    if (plan.form == Form::kTiles) {
      tiled_backward(problem, gradients);
    } else {
      small_range_backward(problem, gradients);
    }
    return {grad_queries, grad_kv, at::Tensor()};
  }
};

bool has_fast_form(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.size(0) > 0;
}

// Splits the queries where no key is shared across the cut, at least `queries_each` apart.
std::vector<AttentionSegment> cut_into_segments(const Ranges& ranges, int64_t queries_each) {
  std::vector<AttentionSegment> segments;
  const auto queries = static_cast<int64_t>(ranges.begin.size());
  int64_t first = 0;
  for (int64_t i = 1; i <= queries; ++i) {
    if (i < queries && (i - first < queries_each || ranges.begin[i] < ranges.end[i - 1])) continue;
    segments.push_back({first, i, ranges.begin[first], std::max(ranges.end[i - 1], ranges.begin[first])});
    first = i;
  }
  return segments;
}

}  // namespace

at::Tensor self_attention(const at::Tensor& qkv, const Sequences& sequences, AttentionShape shape, int64_t window,
                          RotaryOptions rotary) {
  const auto [h, g, d] = shape;
  VERBATIM_ASSERT(h > 0 && g > 0 && h % g == 0 && d > 0 && window >= 0, "H {} G {} d {} window {}", h, g, d, window);
  VERBATIM_ASSERT(rotary.theta == 0 || d % 2 == 0, "rotary embedding of {} columns", d);
  VERBATIM_ASSERT(qkv.dim() == 2 && qkv.size(0) == sequences.rows() && qkv.size(1) == (h + 2 * g) * d,
                  "{} rows of {} columns for {} rows of {} heads, {} key heads, width {}", qkv.size(0), qkv.size(1),
                  sequences.rows(), h, g, d);
  VERBATIM_ASSERT(sequences.rows() < std::numeric_limits<int32_t>::max());
  if (!has_fast_form(qkv)) return self_attention_plain(qkv, sequences, shape, window, rotary);

  const auto plan = c10::make_intrusive<Plan>();
  plan->shape = shape;
  plan->begin.resize(sequences.rows());
  plan->end.resize(sequences.rows());
  for (int64_t s = 0; s < sequences.count(); ++s) {
    const int64_t first = sequences.offsets[s];
    const int64_t last = sequences.offsets[s + 1];
    for (int64_t i = first; i < last; ++i) {
      plan->begin[i] = static_cast<int32_t>(window == 0 ? first : std::max(first, i - window + 1));
      plan->end[i] = static_cast<int32_t>(i + 1);
    }
    if (first < last) plan->segments.push_back({first, last, first, last});
  }
  if (rotary.theta != 0) {
    plan->rotary = rotary_table(rotary, d, sequences.longest());
    plan->interleaved = rotary.interleaved;
  }
  return FastAttention::apply(qkv, c10::optional<at::Tensor>(), plan);
}

at::Tensor range_attention(const at::Tensor& q, const at::Tensor& kv, const Ranges& ranges, AttentionShape shape) {
  const auto [h, g, d] = shape;
  const auto queries = static_cast<int64_t>(ranges.begin.size());
  VERBATIM_ASSERT(h > 0 && g > 0 && h % g == 0 && d > 0, "H {} G {} d {}", h, g, d);
  VERBATIM_ASSERT(q.dim() == 2 && q.size(0) == queries && q.size(1) == h * d, "{} x {} queries", q.size(0), q.size(1));
  VERBATIM_ASSERT(kv.dim() == 2 && kv.size(1) == 2 * g * d && kv.scalar_type() == q.scalar_type());
  VERBATIM_ASSERT(ranges.end.size() == ranges.begin.size());
  int64_t seen = 0;
  for (int64_t i = 0; i < queries; ++i) {
    VERBATIM_ASSERT(ranges.begin[i] >= (i == 0 ? 0 : ranges.begin[i - 1]) && ranges.end[i] >= ranges.begin[i] &&
                        ranges.end[i] >= (i == 0 ? 0 : ranges.end[i - 1]) && ranges.end[i] <= kv.size(0),
                    "query {} reads keys {} to {} of {}", i, ranges.begin[i], ranges.end[i], kv.size(0));
    seen += ranges.end[i] - ranges.begin[i];
  }
  if (!has_fast_form(q)) return range_attention_plain(q, kv, ranges, shape);

  // Below this mean, tiles of 32 x 32 are too empty to pay.
  constexpr int64_t kSmallRange = 16;
  constexpr int64_t kSmallSegment = 256;
  constexpr int64_t kTileSegment = 32;
  const auto plan = c10::make_intrusive<Plan>();
  plan->shape = shape;
  plan->form = seen < kSmallRange * queries && d <= kLargestSmallWidth ? Form::kSmallRanges : Form::kTiles;
  plan->begin = ranges.begin;
  plan->end = ranges.end;
  plan->segments = cut_into_segments(ranges, plan->form == Form::kTiles ? kTileSegment : kSmallSegment);
  plan->covers_everything = false;
  return FastAttention::apply(q, c10::optional<at::Tensor>(kv), plan);
}

}  // namespace verbatim::nn
