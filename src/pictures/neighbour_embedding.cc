#include "pictures/neighbour_embedding.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "pictures/principal_components.h"
#include "pictures/rows.h"

namespace verbatim {
namespace {

using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Index = Eigen::Index;

constexpr int kProgressSteps = 50;
constexpr float kStartDeviation = 1e-4F;  // of the first coordinate: small, so that early steps can rearrange all
constexpr float kSmallestGain = 0.01F;

// [N, N] squared distances. Only their ratios matter later: rows are brought to at most 1 first, where no square
// overflows.
Eigen::ArrayXXf squared_distances(std::span<const float> rows_ND, Index count, Index width) {
  const Eigen::Map<const FloatRows> given_ND(rows_ND.data(), count, width);
  const float largest = given_ND.cwiseAbs().maxCoeff();
  const FloatRows scaled_ND = given_ND / (largest > 0 ? largest : 1.0F);
  Eigen::ArrayXXf squared_NN = Eigen::ArrayXXf::Zero(count, count);
  for (Index i = 0; i < count; ++i) {
    for (Index j = 0; j < i; ++j) {
      squared_NN(i, j) = squared_NN(j, i) = (scaled_ND.row(i) - scaled_ND.row(j)).squaredNorm();
    }
  }
  return squared_NN;
}

// Turns squared distances to the other rows into probabilities: exp(-squared * precision), normalised, with the
// precision at which their entropy is log(perplexity). Where so many rows are equally near that none gives so little,
// the nearest share it all.
void to_probabilities(Eigen::ArrayXf& squared, double perplexity) {
  squared -= squared.minCoeff();
  const float mean = squared.mean();
  if (mean > 0) squared /= mean;
  const auto wanted = static_cast<float>(std::log(perplexity));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float low = 0, high = kInfinity, precision = 1, sum = 0;
  Eigen::ArrayXf weights(squared.size());
  for (int step = 0; step < 64; ++step) {
    weights = (-precision * squared).exp();
    sum = weights.sum();
    const float entropy = std::log(sum) + precision * (weights * squared).sum() / sum;
    if (std::abs(entropy - wanted) < 1e-4F) break;
    if (entropy > wanted) {
      low = precision;
      precision = high == kInfinity ? 2 * precision : (precision + high) / 2;
    } else {
      high = precision;
      precision = (precision + low) / 2;
    }
  }
  squared = weights / sum;
}

// [N, N], symmetric, sums to 1: how likely a pair is to be picked as neighbours.
Eigen::ArrayXXf pair_probabilities(std::span<const float> rows_ND, Index count, Index width, double perplexity) {
  Eigen::ArrayXXf pairs_NN = squared_distances(rows_ND, count, width);
  Eigen::ArrayXf others(count - 1);
  for (Index i = 0; i < count; ++i) {
    const Index behind = count - 1 - i;
    others << pairs_NN.col(i).head(i), pairs_NN.col(i).tail(behind);
    to_probabilities(others, perplexity);
    pairs_NN.col(i) << others.head(i), 0.0F, others.tail(behind);
  }
  const float scale = 0.5F / static_cast<float>(count);
  for (Index i = 0; i < count; ++i) {
    for (Index j = 0; j < i; ++j) pairs_NN(i, j) = pairs_NN(j, i) = (pairs_NN(i, j) + pairs_NN(j, i)) * scale;
  }
  return pairs_NN;
}

// One of the two coordinates of all points, and how it moves.
struct Coordinate {
  Eigen::ArrayXf place, velocity, gain, pull, push;

  explicit Coordinate(Index count)
      : place(Eigen::ArrayXf::Zero(count)),
        velocity(Eigen::ArrayXf::Zero(count)),
        gain(Eigen::ArrayXf::Ones(count)),
        pull(count),
        push(count) {}

  // A point that keeps its direction gets faster, one that turns back gets slower (Jacobs 1988).
  void move(const Eigen::ArrayXf& gradient, float momentum, float rate) {
    gain = (gradient * velocity < 0).select(gain + 0.2F, gain * 0.8F).max(kSmallestGain);
    velocity = momentum * velocity - rate * gain * gradient;
    place += velocity;
    place -= place.mean();
  }
};

class Layout {
 public:
  Layout(Eigen::ArrayXXf pairs_NN, const PrincipalComponents& start)
      : pairs_NN_(std::move(pairs_NN)), x_(pairs_NN_.rows()), y_(pairs_NN_.rows()) {
    const Index count = pairs_NN_.rows();
    pairs_entropy_ = -(pairs_NN_ * pairs_NN_.max(std::numeric_limits<float>::min()).log()).cast<double>().sum();
    for (Index i = 0; i < count; ++i) {
      x_.place(i) = start.coordinates_NK[static_cast<size_t>(2 * i)];
      y_.place(i) = start.coordinates_NK[static_cast<size_t>(2 * i + 1)];
    }
    const float largest = std::max(x_.place.abs().maxCoeff(), y_.place.abs().maxCoeff());
    if (!(largest > 0)) return;  // all rows are equal, and so are all points
    x_.place /= largest;
    y_.place /= largest;
    const float scale = kStartDeviation / std::sqrt(x_.place.square().mean());
    x_.place *= scale;
    y_.place *= scale;
    // Points of a line could never leave it or pass each other: multiples of the golden ratio spread them a little.
    if (start.shares_K[1] < 1e-6) {
      for (Index i = 0; i < count; ++i) {
        const double turns = 0.6180339887498949 * static_cast<double>(i);
        y_.place(i) += 0.01F * kStartDeviation * static_cast<float>(turns - std::floor(turns) - 0.5);
      }
    }
  }

  enum class Measure : bool { kNo, kYes };
  // Returns the divergence before the step where that is asked for.
  double step(float exaggeration, float momentum, float rate, Measure measure) {
    const double divergence = sum_forces(measure);
    const auto share = static_cast<float>(1 / closeness_sum_);
    for (Coordinate* coordinate : {&x_, &y_}) {
      gradient_ = 4 * (exaggeration * coordinate->pull - share * coordinate->push);
      coordinate->move(gradient_, momentum, rate);
    }
    return divergence;
  }

  double divergence() { return sum_forces(Measure::kYes); }

  [[nodiscard]] std::vector<float> points() const {
    std::vector<float> points_N2;
    points_N2.reserve(static_cast<size_t>(2 * x_.place.size()));
    for (Index i = 0; i < x_.place.size(); ++i) {
      points_N2.push_back(x_.place(i));
      points_N2.push_back(y_.place(i));
    }
    return points_N2;
  }

 private:
  // Attraction and repulsion of each point, every pair once. Repulsion is to be divided by the sum over all pairs,
  // which is known only when all are done.
  double sum_forces(Measure measure) {
    const Index count = pairs_NN_.rows();
    for (Coordinate* coordinate : {&x_, &y_}) {
      coordinate->pull.setZero();
      coordinate->push.setZero();
    }
    double closeness_sum = 0, cost = 0;
    for (Index i = 0; i + 1 < count; ++i) {
      const Index later = count - 1 - i;
      const auto pairs = pairs_NN_.col(i).tail(later);
      x_difference_ = x_.place(i) - x_.place.tail(later);
      y_difference_ = y_.place(i) - y_.place.tail(later);
      closeness_ = (1 + x_difference_.square() + y_difference_.square()).inverse();
      closeness_sum += static_cast<double>(closeness_.sum());
      if (measure == Measure::kYes) cost -= static_cast<double>((pairs * closeness_.log()).sum());
      force_ = pairs * closeness_;
      add_force(x_.pull, i, x_difference_);
      add_force(y_.pull, i, y_difference_);
      force_ = closeness_.square();
      add_force(x_.push, i, x_difference_);
      add_force(y_.push, i, y_difference_);
    }
    closeness_sum_ = 2 * closeness_sum;
    return measure == Measure::kYes ? std::max(0.0, 2 * cost + std::log(closeness_sum_) - pairs_entropy_) : 0;
  }

  // What acts on point i acts on each later one the other way.
  void add_force(Eigen::ArrayXf& sums, Index i, const Eigen::ArrayXf& difference) {
    part_ = force_ * difference;
    sums(i) += part_.sum();
    sums.tail(part_.size()) -= part_;
  }

  Eigen::ArrayXXf pairs_NN_;
  double pairs_entropy_ = 0;
  Coordinate x_, y_;
  double closeness_sum_ = 0;
  Eigen::ArrayXf x_difference_, y_difference_, closeness_, force_, part_, gradient_;
};

}  // namespace

NeighbourEmbedding neighbour_embedding(std::span<const float> rows_ND, size_t width,
                                       const NeighbourEmbeddingOptions& options) {
  const size_t count = count_rows(rows_ND, width);
  if (count > kMostEmbeddedRows) {
    throw_input("a picture of neighbours takes at most {} rows, got {}; take a sample", kMostEmbeddedRows, count);
  }
  if (!(options.perplexity >= 1)) throw_input("perplexity is {}, must be 1 or more; try 30", options.perplexity);
  NeighbourEmbedding result{.coordinates_N2 = std::vector<float>(2 * count)};
  if (count < 2) return result;

  result.perplexity = std::clamp(static_cast<double>(count - 1) / 3, 1.0, options.perplexity);
  Layout layout(pair_probabilities(rows_ND, static_cast<Index>(count), static_cast<Index>(width), result.perplexity),
                principal_components(rows_ND, width));
  // Belkina et al. 2019: larger sets need larger steps.
  const auto rate = static_cast<float>(std::max(static_cast<double>(count) / options.exaggeration / 4, 50.0));
  for (int done = 0; done < options.iterations; ++done) {
    const bool early = done < options.early_iterations;
    const bool report = options.progress && done > 0 && done % kProgressSteps == 0;
    const double divergence = layout.step(early ? static_cast<float>(options.exaggeration) : 1.0F, early ? 0.5F : 0.8F,
                                          rate, report ? Layout::Measure::kYes : Layout::Measure::kNo);
    if (report) options.progress(done, divergence);
  }
  result.divergence = layout.divergence();
  result.coordinates_N2 = layout.points();
  if (options.progress) options.progress(options.iterations, result.divergence);
  return result;
}

}  // namespace verbatim
