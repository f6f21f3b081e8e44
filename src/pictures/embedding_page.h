#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "pictures/neighbour_embedding.h"
#include "text/script.h"

namespace verbatim {

struct EmbeddingPoint {
  std::string text;  // any bytes
  Script script = Script::kOther;
};

struct EmbeddingFact {
  std::string name, value;
};

// What a page shows: pieces of text and the vectors that a model gives them.
struct EmbeddingPageContent {
  std::string title;
  std::string unit = "block";  // what a point is called
  std::vector<EmbeddingFact> facts = {};
  std::vector<EmbeddingPoint> points = {};  // [N]
  std::vector<float> vectors_ND = {};
  size_t width = 0;  // D
};

struct EmbeddingPageOptions {
  size_t neighbours = 8;  // that are listed for each point
  NeighbourEmbeddingOptions neighbour_embedding = {};
};

// One HTML file without references to others: the points by their first two principal components and by t-SNE, side by
// side, coloured by script, for light and dark screens, mouse, fingers and keyboard. A point shows its text and its
// nearest neighbours by cosine. "#12" behind the page's address chooses the point with this index.
//
// Nothing of the text is ever markup. Throws InputError for more than kMostEmbeddedRows points, no points, and vectors
// that are not finite.
[[nodiscard]] std::string embedding_page(const EmbeddingPageContent& content, const EmbeddingPageOptions& options = {});

}  // namespace verbatim
