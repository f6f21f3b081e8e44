#pragma once

#include <filesystem>
#include <string>

#include "cli/command.h"
#include "corpus/corpus.h"
#include "model/language_model.h"

namespace verbatim {

// `verbatim inspect MODEL --embeddings FILE`: the vectors of blocks of the documents as one page, coloured by script.
// About as many blocks of each document; at most `points` in all. Throws InputError for a model without blocks.
void write_embeddings(LanguageModel& model, const DocumentSource& documents, int64_t points,
                      const std::filesystem::path& file, CommandContext& context);

}  // namespace verbatim
