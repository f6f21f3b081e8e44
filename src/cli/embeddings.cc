#include "cli/embeddings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "cli/progress.h"
#include "evaluate/reconstruction.h"
#include "pictures/embedding_page.h"
#include "text/script.h"

namespace verbatim {

namespace {

// Long enough for any block of `count` characters, and its end is no character cut in two.
constexpr size_t kLongestBlock = 4 * 256;

// Every so many blocks of all documents one point, so that long documents do not stand for all.
BlockVectors choose_blocks(LanguageModel& model, const DocumentSource& documents, size_t points) {
  BlockVectors chosen;
  const uint64_t count = documents.document_count();
  for (uint64_t d = 0; d < count && chosen.texts.size() < points; ++d) {
    const size_t share = std::max<size_t>((points - chosen.texts.size()) / (count - d), 1);
    const std::string_view text = documents.document(d).substr(0, share * kLongestBlock);
    BlockVectors some = block_vectors(model, {text}, share);
    chosen.width = some.width;
    chosen.texts.insert(chosen.texts.end(), some.texts.begin(), some.texts.end());
    chosen.vectors.insert(chosen.vectors.end(), some.vectors.begin(), some.vectors.end());
  }
  return chosen;
}

}  // namespace

void write_embeddings(LanguageModel& model, const DocumentSource& documents, int64_t points,
                      const std::filesystem::path& file, CommandContext& context) {
  BlockVectors blocks = choose_blocks(model, documents, static_cast<size_t>(points));
  if (blocks.texts.size() < 2) throw_input("{}: holds no two blocks of text to compare", documents.name());
  EmbeddingPageContent content;
  content.title = "Embeddings of blocks";
  content.facts = {{"text", documents.name()},
                   {"documents", fmt::format("{}", documents.document_count())},
                   {"parameters", fmt::format("{}", model.parameter_count())}};
  for (const std::string& text : blocks.texts) content.points.push_back({.text = text, .script = script_of(text)});
  content.vectors_ND = std::move(blocks.vectors);
  content.width = static_cast<size_t>(blocks.width);
  EmbeddingPageOptions options;
  Progress progress({.label = "t-SNE", .unit = "iterations", .total = options.neighbour_embedding.iterations});
  options.neighbour_embedding.progress = [&](int iteration, double divergence) {
    progress.update(iteration, fmt::format("divergence {:.3f}", divergence));
  };
  write_file_atomically(file, embedding_page(content, options));
  progress.finish();
  Record record;
  record.set("file", file.string()).set("points", content.points.size()).set("width", content.width);
  context.output.record(record);
}

}  // namespace verbatim
