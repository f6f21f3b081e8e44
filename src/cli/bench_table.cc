#include "cli/bench.h"

namespace verbatim {

const std::vector<Bench>& plain_benches() {
  static const std::vector<Bench> table = {
      {"prepare", "text files into a corpus, beside copying them", bench_prepare},
      {"encode", "text to the ids of T-Free, beside SentencePiece and the memory; takes a text", bench_encode},
  };
  return table;
}

std::vector<Bench>& tensor_benches() {
  static std::vector<Bench> table = {
      {"machine", "matrix product rate and memory bandwidth, the limits of everything else", nullptr},
      {"generate", "generation beside the memory bandwidth limit and without caches; takes a model", nullptr,
       /*needs_model=*/true},
      {"draft", "generation with a draft beside plain generation of the same texts; takes a model", nullptr,
       /*needs_model=*/true},
      {"train", "a training step beside the matrix product rate; takes a model or settings", nullptr,
       /*needs_model=*/true},
  };
  return table;
}

std::vector<Bench> benches() {
  std::vector<Bench> all = tensor_benches();
  all.insert(all.end(), plain_benches().begin(), plain_benches().end());
  return all;
}

}  // namespace verbatim
