#include "formats/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/names.h"
#include "base/text_format.h"
#include "formats/safetensors_layout.h"

namespace verbatim {
namespace safetensors {
namespace {

struct Type {
  std::string_view name;
  size_t bytes;
};

// In the order of the reference implementation. Its types of 4 and 6 bits are not here: their tensors do not consist of
// whole bytes per number.
constexpr std::array<Type, 19> kTypes = {{{"BOOL", 1},
                                          {"U8", 1},
                                          {"I8", 1},
                                          {"F8_E5M2", 1},
                                          {"F8_E4M3", 1},
                                          {"F8_E8M0", 1},
                                          {"F8_E4M3FNUZ", 1},
                                          {"F8_E5M2FNUZ", 1},
                                          {"I16", 2},
                                          {"U16", 2},
                                          {"F16", 2},
                                          {"BF16", 2},
                                          {"I32", 4},
                                          {"U32", 4},
                                          {"F32", 4},
                                          {"C64", 8},
                                          {"F64", 8},
                                          {"I64", 8},
                                          {"U64", 8}}};

}  // namespace

size_t dtype_rank(std::string_view dtype) {
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const Type& type) { return type.name == dtype; });
  if (found == kTypes.end()) {
    throw_input("type {}: expected one of the types of safetensors with whole bytes (F32, BF16, F16, I64, ...)",
                quote_bytes(dtype));
  }
  return static_cast<size_t>(found - kTypes.begin());
}

std::optional<uint64_t> tensor_bytes(std::span<const int64_t> shape, size_t element_bytes) {
  int64_t product = static_cast<int64_t>(element_bytes);
  bool is_empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      is_empty = true;
    } else if (__builtin_mul_overflow(product, size, &product)) {
      return std::nullopt;
    }
  }
  return is_empty ? 0 : static_cast<uint64_t>(product);
}

}  // namespace safetensors

namespace {

using Json = nlohmann::json;

// One entry of the header as it is written there.
struct Entry {
  std::optional<std::string> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

// What both readers of JSON here share: every event that a derived class does not expect is refused. Reading by events
// sees duplicate keys, and never builds a tree that is larger than the file.
class StrictHandler : public nlohmann::json_sax<Json> {
 public:
  explicit StrictHandler(std::string_view where) : where_(where) {}

  bool null() override { refuse("null"); }
  bool boolean(bool) override { refuse("a truth value"); }
  bool number_integer(number_integer_t) override { refuse("a negative number"); }
  bool number_unsigned(number_unsigned_t) override { refuse("a number"); }
  bool number_float(number_float_t, const string_t&) override { refuse("a fraction or a number beyond 64 bits"); }
  bool string(string_t&) override { refuse("a string"); }
  bool binary(binary_t&) override { refuse("binary data"); }
  bool start_object(size_t) override { refuse("an object"); }
  bool end_object() override { refuse("the end of an object"); }
  bool start_array(size_t) override { refuse("a list"); }
  bool end_array() override { refuse("the end of a list"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    // The library's text quotes the input, which may be binary: only its place is used.
    throw_input("{}: expected JSON, got something else at byte {} of it; the file is damaged", where_, position);
  }

 protected:
  [[noreturn]] void refuse(std::string_view found) {
    throw_input("{}{}: expected {}, got {}; the file is damaged or of another kind", where_, place(), expected(),
                found);
  }
  [[noreturn]] void refuse_duplicate(std::string_view key) {
    throw_input("{}{}: expected each name once, got {} twice", where_, place(), quote_bytes(key));
  }
  // For messages: where inside the JSON text, starting with a blank, and what may stand there.
  [[nodiscard]] virtual std::string place() const = 0;
  [[nodiscard]] virtual std::string_view expected() const = 0;

  std::string where_;
};

class HeaderHandler final : public StrictHandler {
 public:
  using StrictHandler::StrictHandler;

  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(size_t) override {
    if (state_ == State::kStart) {
      state_ = State::kNames;
    } else if (state_ == State::kTensor) {
      state_ = State::kFields;
    } else if (state_ == State::kMetadata) {
      state_ = State::kMetadataKeys;
    } else {
      refuse("an object");
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::kNames) {
      state_ = State::kEnd;
    } else {
      if (state_ == State::kFields && !(entry_->dtype && entry_->shape && entry_->offsets)) {
        throw_input("{}{}: expected dtype, shape and data_offsets, got only some of them", where_, place());
      }
      state_ = State::kNames;
    }
    return true;
  }

  bool key(string_t& key) override {
    if (state_ == State::kNames) {
      name_ = key;
      if (key == safetensors::kMetadataKey) {
        if (std::exchange(has_metadata_, true)) refuse_duplicate(key);
        state_ = State::kMetadata;
      } else {
        const auto [position, is_new] = entries.try_emplace(key);
        if (!is_new) refuse_duplicate(key);
        entry_ = &position->second;
        state_ = State::kTensor;
      }
    } else if (state_ == State::kMetadataKeys) {
      const auto [position, is_new] = metadata.try_emplace(key);
      if (!is_new) refuse_duplicate(key);
      value_ = &position->second;
      state_ = State::kMetadataValue;
    } else {
      start_field(key);
    }
    return true;
  }

  bool null() override {
    // An absent table, as the reference implementation may write it.
    if (state_ != State::kMetadata) refuse("null");
    state_ = State::kNames;
    return true;
  }

  bool string(string_t& text) override {
    if (state_ == State::kMetadataValue) {
      *value_ = std::move(text);
      state_ = State::kMetadataKeys;
    } else if (state_ == State::kType) {
      entry_->dtype = std::move(text);
      state_ = State::kFields;
    } else {
      refuse("a string");
    }
    return true;
  }

  bool start_array(size_t) override {
    if (state_ == State::kShape) {
      entry_->shape.emplace();
      state_ = State::kShapeNumbers;
    } else if (state_ == State::kOffsets) {
      entry_->offsets.emplace();
      state_ = State::kOffsetNumbers;
    } else {
      refuse("a list");
    }
    return true;
  }

  bool end_array() override {
    if (state_ == State::kOffsetNumbers && entry_->offsets->size() != 2) refuse("fewer numbers");
    state_ = State::kFields;
    return true;
  }

  bool number_unsigned(number_unsigned_t number) override {
    if (state_ == State::kShapeNumbers) {
      if (number > uint64_t{std::numeric_limits<int64_t>::max()}) refuse("a number beyond 63 bits");
      entry_->shape->push_back(static_cast<int64_t>(number));
    } else if (state_ == State::kOffsetNumbers) {
      if (entry_->offsets->size() == 2) refuse("more numbers");
      entry_->offsets->push_back(number);
    } else {
      refuse("a number");
    }
    return true;
  }

 private:
  enum class State {
    kStart,
    kNames,  // inside the header: the name of a tensor, or the table of metadata
    kTensor,
    kFields,  // inside an entry
    kType,
    kShape,
    kShapeNumbers,
    kOffsets,
    kOffsetNumbers,
    kMetadata,
    kMetadataKeys,
    kMetadataValue,
    kEnd
  };

  void start_field(std::string_view key) {
    const auto expect_once = [&](bool is_known) {
      if (is_known) refuse_duplicate(key);
    };
    if (key == "dtype") {
      expect_once(entry_->dtype.has_value());
      state_ = State::kType;
    } else if (key == "shape") {
      expect_once(entry_->shape.has_value());
      state_ = State::kShape;
    } else if (key == "data_offsets") {
      expect_once(entry_->offsets.has_value());
      state_ = State::kOffsets;
    } else {
      throw_input("{}{}: expected dtype, shape and data_offsets, got {}", where_, place(), quote_bytes(key));
    }
  }

  [[nodiscard]] std::string place() const override { return fmt::format(" entry {}", quote_bytes(name_)); }
  [[nodiscard]] std::string_view expected() const override {
    switch (state_) {
      case State::kStart:
      case State::kTensor:
        return "an object";
      case State::kType:
        return "the type as a string";
      case State::kShape:
      case State::kShapeNumbers:
        return "the shape as a list of sizes";
      case State::kOffsets:
      case State::kOffsetNumbers:
        return "data_offsets as a list of two numbers";
      case State::kMetadata:
      case State::kMetadataKeys:
      case State::kMetadataValue:
        return "an object of strings";
      case State::kNames:
      case State::kFields:
      case State::kEnd:
        break;
    }
    return "the end";
  }

  State state_ = State::kStart;
  bool has_metadata_ = false;
  std::string name_;
  Entry* entry_ = nullptr;
  std::string* value_ = nullptr;
};

// Of the index only weight_map counts; whatever else stands in it is passed over.
class IndexHandler final : public StrictHandler {
 public:
  using StrictHandler::StrictHandler;

  std::map<std::string, std::string> weight_map;
  bool has_weight_map = false;

  bool null() override { return skip("null"); }
  bool boolean(bool) override { return skip("a truth value"); }
  bool number_integer(number_integer_t) override { return skip("a number"); }
  bool number_unsigned(number_unsigned_t) override { return skip("a number"); }
  bool number_float(number_float_t, const string_t&) override { return skip("a number"); }
  bool start_array(size_t) override {
    skip("a list");
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ > 1 || !is_weight_map_) skip("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (--depth_ == 1) is_weight_map_ = false;
    return true;
  }
  bool key(string_t& key) override {
    if (depth_ == 1) {
      is_weight_map_ = key == "weight_map";
      if (is_weight_map_ && std::exchange(has_weight_map, true)) refuse_duplicate(key);
    } else if (is_weight_map_) {
      const auto [position, is_new] = weight_map.try_emplace(key);
      if (!is_new) refuse_duplicate(key);
      value_ = &position->second;
    }
    return true;
  }
  bool string(string_t& text) override {
    if (is_weight_map_ && depth_ == 2) {
      *value_ = std::move(text);
      return true;
    }
    return skip("a string");
  }

 private:
  bool skip(std::string_view found) {
    if (is_weight_map_ || (depth_ == 0 && found != "an object")) refuse(found);
    return true;
  }
  [[nodiscard]] std::string place() const override { return is_weight_map_ ? " weight_map" : ""; }
  [[nodiscard]] std::string_view expected() const override {
    return is_weight_map_ ? "an object of file names" : "an object";
  }

  size_t depth_ = 0;
  bool is_weight_map_ = false;
  std::string* value_ = nullptr;
};

// Checks one entry against its type and shape and against the end of the data.
TensorView view_of(const Entry& entry, std::span<const std::byte> data, const std::string& where) {
  const uint64_t begin = (*entry.offsets)[0];
  const uint64_t end = (*entry.offsets)[1];
  if (begin > end || end > data.size()) {
    throw_input("{}: expected data_offsets within the {} bytes of data, got [{}, {}]; the file is cut short or damaged",
                where, data.size(), begin, end);
  }
  size_t element_bytes = 0;
  try {
    element_bytes = dtype_bytes(*entry.dtype);
  } catch (const InputError& error) {
    throw_input("{}: {}", where, error.what());
  }
  const std::optional<uint64_t> bytes = safetensors::tensor_bytes(*entry.shape, element_bytes);
  if (!bytes) throw_input("{}: expected a shape of at most 2^63 bytes, got more; the file is damaged", where);
  if (*bytes != end - begin) {
    throw_input("{}: expected {} bytes for its type and shape, got {}; the file is damaged", where, *bytes,
                end - begin);
  }
  return {.dtype = *entry.dtype, .shape = *entry.shape, .bytes = data.subspan(begin, end - begin)};
}

// The ranges of all tensors, put in order, must tile the data.
void check_tiling(const std::map<std::string, Entry>& entries, uint64_t data_bytes, std::string_view where) {
  std::vector<std::tuple<uint64_t, uint64_t, std::string_view>> ranges;
  ranges.reserve(entries.size());
  for (const auto& [name, entry] : entries) ranges.emplace_back((*entry.offsets)[0], (*entry.offsets)[1], name);
  std::sort(ranges.begin(), ranges.end());
  uint64_t covered = 0;
  for (const auto& [begin, end, name] : ranges) {
    if (begin != covered) {
      throw_input("{}: expected {} to start at byte {} of the data, got {}: {}", where, quote_bytes(name), covered,
                  begin, begin < covered ? "tensors overlap" : "there is a hole between tensors");
    }
    covered = end;
  }
  if (covered != data_bytes) {
    throw_input("{}: expected {} bytes of data, got {}: bytes behind the last tensor", where, covered, data_bytes);
  }
}

// Sends the events of `text` to `handler`, which refuses what it does not expect.
void parse_json(std::string_view text, StrictHandler& handler, std::string_view where) {
  // The library takes a zero byte for the end and would pass over what follows.
  const size_t zero = text.find('\0');
  if (zero != std::string_view::npos) {
    throw_input("{}: expected JSON, got a zero byte at byte {} of it; the file is damaged", where, zero);
  }
  Json::sax_parse(text, &handler);
}

bool is_index(const std::filesystem::path& path) { return path.string().ends_with(safetensors::kIndexSuffix); }

// The file that `path` means: see SafetensorsReader::open.
std::filesystem::path resolve(const std::filesystem::path& path) {
  std::error_code ignored;  // what cannot be examined is reported when it is opened
  std::filesystem::path file = path;
  if (std::filesystem::is_directory(path, ignored)) file /= "model.safetensors";
  if (std::filesystem::exists(file, ignored)) return file;
  std::filesystem::path index = safetensors::index_path(file);
  return std::filesystem::exists(index, ignored) ? index : file;
}

}  // namespace

size_t dtype_bytes(std::string_view dtype) { return safetensors::kTypes[safetensors::dtype_rank(dtype)].bytes; }

SafetensorsReader SafetensorsReader::open(const std::filesystem::path& path) {
  const std::filesystem::path file = resolve(path);
  SafetensorsReader reader;
  reader.name_ = file.string();
  if (is_index(file)) {
    reader.add_index(file);
  } else {
    reader.add_file(file);
  }
  return reader;
}

void SafetensorsReader::add_file(const std::filesystem::path& path) {
  MappedFile file(path, MappedFile::Access::kSequential);
  SafetensorsReader part = parse(file.bytes(), path.string());
  // Moving a MappedFile leaves its mapping where it is, and so the views.
  files_.push_back(std::move(file));
  for (auto& [name, view] : part.tensors_) {
    if (!tensors_.try_emplace(name, std::move(view)).second) {
      throw_input("{}: expected tensor {} in one file only, got it in two", path.string(), quote_bytes(name));
    }
  }
  metadata_.merge(part.metadata_);
}

void SafetensorsReader::add_index(const std::filesystem::path& path) {
  const std::string text = read_file(path, safetensors::kMaxHeaderBytes);
  IndexHandler index(path.string());
  parse_json(text, index, path.string());
  if (!index.has_weight_map) throw_input("{}: expected a weight_map, got none; this is no index", path.string());

  std::map<std::string, std::vector<std::string>> names_of_shard;
  for (const auto& [name, shard] : index.weight_map) names_of_shard[shard].push_back(name);
  for (const auto& [shard, names] : names_of_shard) {
    // A plain name: an index must not reach out of its folder.
    const bool is_plain = !shard.empty() && shard != "." && shard != ".." &&
                          shard.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
    if (!is_plain) {
      throw_input("{}: expected the name of a file in the same folder, got {}", path.string(), quote_bytes(shard));
    }
    const std::filesystem::path shard_path = path.parent_path() / shard;
    const size_t num_before = tensors_.size();
    add_file(shard_path);
    for (const std::string& name : names) {
      if (!tensors_.contains(name)) {
        throw_input("{}: expected tensor {}, which {} puts there, got none", shard_path.string(), quote_bytes(name),
                    path.filename().string());
      }
    }
    // Names are unique over the shards, so equal numbers mean equal sets.
    if (tensors_.size() - num_before != names.size()) {
      throw_input("{}: expected {} tensors as {} says, got {}; the shards belong to different models",
                  shard_path.string(), names.size(), path.filename().string(), tensors_.size() - num_before);
    }
  }
}

SafetensorsReader SafetensorsReader::parse(std::span<const std::byte> bytes, std::string_view name) {
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes)) {
    throw_input("{}: expected a safetensors file, got {} bytes; the file is cut short", name, bytes.size());
  }
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  const uint64_t rest = bytes.size() - sizeof(header_bytes);
  if (header_bytes > safetensors::kMaxHeaderBytes) {
    throw_input("{}: expected a header of at most {} bytes, got {}; this is no safetensors file", name,
                safetensors::kMaxHeaderBytes, header_bytes);
  }
  if (header_bytes > rest) {
    throw_input("{}: expected a header of {} bytes, got {} bytes up to the end of the file; the file is cut short",
                name, header_bytes, rest);
  }
  std::string_view header(reinterpret_cast<const char*>(bytes.data()) + sizeof(header_bytes), header_bytes);
  if (!header.starts_with('{')) {
    throw_input("{}: expected a header that begins with '{{', got {}; this is no safetensors file", name,
                quote_bytes(header, 8));
  }
  header = header.substr(0, header.find_last_not_of(' ') + 1);

  HeaderHandler handler(name);
  parse_json(header, handler, name);
  const std::span<const std::byte> data = bytes.subspan(sizeof(header_bytes) + header_bytes);
  SafetensorsReader reader;
  reader.name_ = name;
  for (const auto& [tensor_name, entry] : handler.entries) {
    reader.tensors_.emplace(tensor_name,
                            view_of(entry, data, fmt::format("{}: tensor {}", name, quote_bytes(tensor_name))));
  }
  check_tiling(handler.entries, data.size(), name);
  reader.metadata_ = std::move(handler.metadata);
  return reader;
}

const TensorView& SafetensorsReader::tensor(std::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  if (found != tensors_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, view] : tensors_) names.push_back(known);
  throw_input("{}: expected tensor {}, got none of that name among {}{}", name_, quote_bytes(name), names.size(),
              suggest_names(name, names));
}

bool SafetensorsReader::contains(std::string_view name) const { return tensors_.contains(std::string(name)); }

}  // namespace verbatim
