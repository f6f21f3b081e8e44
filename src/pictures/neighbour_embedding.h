#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace verbatim {

struct NeighbourEmbeddingOptions {
  double perplexity = 30;      // how many neighbours of a row count, about; few rows have fewer, see below
  int iterations = 750;        // steps in all
  int early_iterations = 250;  // of them, the first ones, in which neighbours attract each other more strongly
  double exaggeration = 12;    // how many times more strongly
  // Called after every 50 steps and after the last one with the number of steps done and the Kullback-Leibler
  // divergence in nats, which falls as the picture gets better. What it throws ends the work.
  std::function<void(int iteration, double divergence)> progress = {};
};

struct NeighbourEmbedding {
  std::vector<float> coordinates_N2;
  double perplexity = 0;  // that was used: at most (N - 1) / 3, at least 1
  double divergence = 0;  // at the end
};

// All pairs are held in memory, N^2 floats, and walked through in every step.
inline constexpr size_t kMostEmbeddedRows = 5000;

// Rows as points of a plane such that neighbours stay neighbours (t-SNE; van der Maaten and Hinton 2008, sections 2 and
// 3, with the exact gradient). Distances between far points and the sizes of groups mean little.
//
// Starts from the first two principal components, so there is no chance in it: the same rows give the same points on
// the same machine. Equal rows stay together. Throws InputError for a value that is not finite and for more than
// kMostEmbeddedRows rows.
[[nodiscard]] NeighbourEmbedding neighbour_embedding(std::span<const float> rows_ND, size_t width,
                                                     const NeighbourEmbeddingOptions& options = {});

}  // namespace verbatim
