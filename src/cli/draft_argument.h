#pragma once

#include <memory>
#include <string>

#include "generate/draft.h"

namespace verbatim {

// What `--draft` names: "ngram", which learns from the file `text` beforehand where one is given, or a model.
[[nodiscard]] std::unique_ptr<Draft> open_draft(const std::string& draft, const std::string& text);

}  // namespace verbatim
