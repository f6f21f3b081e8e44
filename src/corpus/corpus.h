#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "corpus/memory_map.h"

namespace verbatim {

// A folder made by `verbatim prepare`: a training part and a validation part (which may be empty).
class Corpus {
 public:
  // Throws InputError when `folder` is no prepared folder (and says how to make one) or its files are damaged.
  [[nodiscard]] static Corpus open(const std::filesystem::path& folder);

  [[nodiscard]] const MemoryMap& train() const { return train_; }
  [[nodiscard]] const MemoryMap& valid() const { return valid_; }
  // What the documents are, from corpus.json: "text", or "instruct" (lists of pieces, see instruct.h).
  [[nodiscard]] const std::string& kind() const { return kind_; }
  // Of conversations: the template they were written with ("tfree", "plain"); otherwise empty.
  [[nodiscard]] const std::string& chat_template() const { return chat_template_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  std::string kind_ = "text";
  std::string chat_template_;
  MemoryMap train_;
  MemoryMap valid_;
};

// Documents to evaluate on, wherever they are.
class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  [[nodiscard]] virtual uint64_t document_count() const = 0;
  // The bytes of one document; index < document_count(). The view lasts as long as the source.
  [[nodiscard]] virtual std::string_view document(uint64_t index) const = 0;
  [[nodiscard]] virtual uint64_t total_bytes() const = 0;
  // What it is, for reports: "data/wiki (valid)", "letters.txt".
  [[nodiscard]] virtual const std::string& name() const = 0;
};

// Opens, whichever `path` names:
//   DIR, DIR:valid, DIR:train   the part of a prepared folder (without a word, the validation part)
//   PREFIX                      a memory map PREFIX.bin, .idx, .meta.json
//   anything else               files, folders and patterns as `verbatim prepare` reads them: a text file is one
//   document, JSON
//                               lines have the member "text"; held in memory; empty documents stay
// Throws InputError when there is nothing, or nothing with text.
[[nodiscard]] std::unique_ptr<DocumentSource> open_documents(const std::string& path);

}  // namespace verbatim
