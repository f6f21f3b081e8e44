#include "corpus/corpus.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "corpus/input.h"
#include "corpus/instruct.h"

namespace verbatim {
namespace {

namespace fs = std::filesystem;

bool holds_map(const fs::path& prefix) { return fs::is_regular_file(memory_map_file(prefix, ".meta.json")); }

class MappedDocuments final : public DocumentSource {
 public:
  MappedDocuments(MemoryMap map, std::string name) : map_(std::move(map)), name_(std::move(name)) {
    if (map_.element_bytes() != 1) {
      throw_input("{}: holds elements of type {}, expected text (uint8)", name_, map_.element_type());
    }
  }
  [[nodiscard]] uint64_t document_count() const override { return map_.document_count(); }
  [[nodiscard]] std::string_view document(uint64_t index) const override { return map_.document(index); }
  [[nodiscard]] uint64_t total_bytes() const override { return map_.total_bytes(); }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  MemoryMap map_;
  std::string name_;
};

class HeldDocuments final : public DocumentSource, private DocumentSink {
 public:
  explicit HeldDocuments(const std::string& path) : name_(path) {
    const InputOptions options;
    for (const InputFile& file : find_inputs({path}, options).files) read_documents(file, options, *this);
  }
  [[nodiscard]] uint64_t document_count() const override { return documents_.size(); }
  [[nodiscard]] std::string_view document(uint64_t index) const override {
    VERBATIM_ASSERT(index < documents_.size(), "document {} of {}", index, documents_.size());
    return documents_[index];
  }
  [[nodiscard]] uint64_t total_bytes() const override { return total_bytes_; }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  void append(std::string_view bytes) override { open_.append(bytes); }
  void end() override {
    total_bytes_ += open_.size();
    documents_.push_back(std::exchange(open_, {}));
  }

  std::string name_;
  std::vector<std::string> documents_;
  std::string open_;
  uint64_t total_bytes_ = 0;
};

// Conversations as a model reads them: the contents of their pieces, joined.
class JoinedConversations final : public DocumentSource {
 public:
  JoinedConversations(const MemoryMap& map, std::string name) : name_(std::move(name)) {
    for (uint64_t i = 0; i < map.document_count(); ++i) {
      std::string text;
      for (const InstructPiece& piece :
           parse_instruct_document(map.document(i), fmt::format("{}: document {}", name_, i))) {
        text += piece.content;
      }
      total_bytes_ += text.size();
      texts_.push_back(std::move(text));
    }
  }
  [[nodiscard]] uint64_t document_count() const override { return texts_.size(); }
  [[nodiscard]] std::string_view document(uint64_t index) const override { return texts_[index]; }
  [[nodiscard]] uint64_t total_bytes() const override { return total_bytes_; }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  std::string name_;
  std::vector<std::string> texts_;
  uint64_t total_bytes_ = 0;
};

std::unique_ptr<DocumentSource> open_part(const std::string& folder, const std::string& part) {
  if (!holds_map(fs::path(folder) / part)) {
    throw_input("{}: no prepared corpus with a part {} is here; make one with: verbatim prepare INPUT... --out {}",
                folder, part, folder);
  }
  std::string name = fmt::format("{} ({})", folder, part);
  MemoryMap map = MemoryMap::open(fs::path(folder) / part);
  // A folder put together by hand may hold one part only: then it is text.
  if (holds_map(fs::path(folder) / "train") && Corpus::open(folder).kind() == "instruct") {
    return std::make_unique<JoinedConversations>(map, std::move(name));
  }
  return std::make_unique<MappedDocuments>(std::move(map), std::move(name));
}

}  // namespace

Corpus Corpus::open(const fs::path& folder) {
  const std::string name = folder.string();
  if (!fs::exists(folder))
    throw_input("{}: no such folder; make it with: verbatim prepare INPUT... --out {}", name, name);
  if (!fs::is_directory(folder)) {
    throw_input("{} is a file, expected a prepared folder; make one with: verbatim prepare {} --out DIR", name, name);
  }
  if (!holds_map(folder / "train")) {
    throw_input(
        "{}: expected a prepared folder, found no train.meta.json; make one with: verbatim prepare {} --out DIR", name,
        name);
  }
  Corpus corpus;
  corpus.folder_ = folder;
  corpus.train_ = MemoryMap::open(folder / "train");
  if (holds_map(folder / "valid")) corpus.valid_ = MemoryMap::open(folder / "valid");
  // Folders put together by hand may do without.
  if (const fs::path file = folder / "corpus.json"; fs::exists(file)) {
    const auto json = nlohmann::json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) throw_input("{}: expected a JSON object; prepare the corpus again", file.string());
    const auto text = [&](const char* name, const std::string& otherwise) {
      const auto found = json.find(name);
      if (found == json.end()) return otherwise;
      if (!found->is_string())
        throw_input("{}: expected a string for \"{}\", got {}", file.string(), name, found->dump());
      return found->get<std::string>();
    };
    corpus.kind_ = text("kind", corpus.kind_);
    corpus.chat_template_ = text("chat_template", {});
  }
  return corpus;
}

std::unique_ptr<DocumentSource> open_documents(const std::string& path) {
  std::unique_ptr<DocumentSource> source;
  if (fs::is_directory(path) && holds_map(fs::path(path) / "train")) {
    source = open_part(path, "valid");
    if (source->total_bytes() == 0) {
      throw_input("{}: the validation part is empty; evaluate on {}:train or on other text", path, path);
    }
    return source;
  }
  for (const std::string part : {"train", "valid"}) {
    const std::string ending = ":" + part;
    if (path.ends_with(ending) && !fs::exists(path)) {
      source = open_part(path.substr(0, path.size() - ending.size()), part);
    }
  }
  if (source == nullptr && !fs::exists(path) && holds_map(path)) {
    source = std::make_unique<MappedDocuments>(MemoryMap::open(path), path);
  }
  if (source == nullptr) source = std::make_unique<HeldDocuments>(path);
  if (source->total_bytes() == 0) throw_input("{}: holds no text", path);
  return source;
}

}  // namespace verbatim
