#include "nn/sequences.h"

#include <algorithm>

namespace verbatim::nn {

int64_t Sequences::longest() const {
  int64_t longest = 0;
  for (int64_t s = 0; s < count(); ++s) longest = std::max(longest, length(s));
  return longest;
}

}  // namespace verbatim::nn
