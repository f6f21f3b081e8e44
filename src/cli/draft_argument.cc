#include "cli/draft_argument.h"

#include "base/file.h"
#include "cli/model_argument.h"
#include "cli/options.h"

namespace verbatim {

std::unique_ptr<Draft> open_draft(const std::string& draft, const std::string& text) {
  if (draft != "ngram" && !text.empty()) throw UsageError("--draft-text goes with --draft ngram");
  if (draft == "ngram") return std::make_unique<NgramDraft>(text.empty() ? std::string() : read_file(text));
  return std::make_unique<ModelDraft>(open_model(draft).model);
}

}  // namespace verbatim
