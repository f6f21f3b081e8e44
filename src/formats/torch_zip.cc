#include "formats/torch_zip.h"

#include <utility>

#include "base/error.h"
#include "base/names.h"
#include "base/text_format.h"
#include "formats/stored_zip.h"

namespace verbatim {
namespace {

constexpr std::string_view kPickleName = "/data.pkl";
// What torch before 1.6 begins with: protocol 2 and the integer 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyMagic = "\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";
constexpr size_t kTarMagicPlace = 257;  // "ustar" in the header of a tar file: torch before 0.1.10
constexpr size_t kCopiesPerFile = 4;
constexpr size_t kMaxTensors = size_t{1} << 20;  // a short file can repeat one tensor many times
constexpr size_t kMaxNameBytes = 4096;
constexpr size_t kSmallCopies = size_t{1} << 20;  // bytes that are always allowed

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void refuse_other_kinds(std::string_view file, std::string_view name) {
  if (file.starts_with(kLegacyMagic) ||
      (file.size() > kTarMagicPlace && file.substr(kTarMagicPlace).starts_with("ustar"))) {
    throw_input(
        "{}: expected the zip container of torch 1.6 or later, got an older one; load it with torch and save it "
        "again (torch.save), or as safetensors",
        name);
  }
  if (file.starts_with('\x80')) {
    throw_input("{}: expected the zip container that torch.save writes, got a plain pickle", name);
  }
}

// Of the one folder of the archive, with '/' at the end.
std::string_view find_folder(const StoredZip& zip, std::string_view name) {
  std::string_view folder;
  size_t count = 0;
  for (const auto& [file, bytes] : zip.files()) {
    const size_t slash = file.find('/');
    if (slash != std::string::npos && std::string_view(file).substr(slash) == kPickleName) {
      folder = std::string_view(file).substr(0, slash + 1);
      ++count;
    }
  }
  if (count != 1) {
    throw_input("{}: expected a checkpoint of torch.save with one NAME/data.pkl, got {} among {} files", name, count,
                zip.files().size());
  }
  if (zip.files().contains(fmt::format("{}constants.pkl", folder))) {
    throw_input(
        "{}: expected a checkpoint of torch.save, got a TorchScript archive; save its state_dict() with torch.save",
        name);
  }
  const auto order = zip.files().find(fmt::format("{}byteorder", folder));
  if (order != zip.files().end() && as_text(order->second) != "little") {
    throw_input("{}: expected little-endian storages, got byte order {}", name, quote_bytes(as_text(order->second)));
  }
  return folder;
}

// Collects tensors with their names. Recursion is safe: PickleDocument bounds depth and size.
class Collector {
 public:
  Collector(std::string_view file, size_t copy_limit, TorchTensors& out)
      : file_(file), copies_left_(copy_limit), out_(out) {}

  void collect(const PickleValue& value, const std::string& name) {
    if (const auto* const tensor = std::get_if<const PickleTensor*>(&value)) {
      add(**tensor, name);
    } else if (const auto* const dictionary = std::get_if<const PickleDictionary*>(&value)) {
      for (const auto& [key, item] : (*dictionary)->entries) {
        const auto* const text = std::get_if<std::string_view>(&key);
        collect(item, joined(name, text != nullptr ? std::string(*text) : std::to_string(std::get<int64_t>(key))));
      }
    } else if (const auto* const sequence = std::get_if<const PickleSequence*>(&value)) {
      for (size_t i = 0; i < (*sequence)->items.size(); ++i) {
        collect((*sequence)->items[i], joined(name, std::to_string(i)));
      }
    }
  }

 private:
  [[nodiscard]] std::string joined(const std::string& name, const std::string& key) const {
    if (name.size() + key.size() > kMaxNameBytes) {
      throw_input("{}: expected names of tensors of at most {} bytes, got {}", file_, kMaxNameBytes, quote_bytes(name));
    }
    return name.empty() ? key : name + "." + key;
  }

  void add(const PickleTensor& tensor, const std::string& name) {
    if (out_.views.size() == kMaxTensors) throw_input("{}: expected at most {} tensors, got more", file_, kMaxTensors);
    TensorView view{.dtype = tensor.dtype, .shape = tensor.shape, .bytes = {}};
    view.bytes = tensor.is_contiguous() ? tensor.contiguous_bytes() : copy_of(tensor, name);
    if (!out_.views.try_emplace(name, std::move(view)).second) {
      throw_input("{}: expected one tensor of the name {}, got two", file_, quote_bytes(name));
    }
  }

  std::span<const std::byte> copy_of(const PickleTensor& tensor, const std::string& name) {
    const size_t bytes = static_cast<size_t>(tensor.element_count()) * dtype_bytes(tensor.dtype);
    if (bytes > copies_left_) {
      throw_input(
          "{}: tensor {}: expected tensors that lie contiguous, or copies of at most {} times the file, got "
          "more; save contiguous tensors (tensor.contiguous())",
          file_, quote_bytes(name), kCopiesPerFile);
    }
    copies_left_ -= bytes;
    std::unique_ptr<std::byte[]>& copy = out_.copies.emplace_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
    tensor.copy_to({copy.get(), bytes});
    return {copy.get(), bytes};
  }

  std::string_view file_;
  size_t copies_left_;
  TorchTensors& out_;
};

// The value at `path` below `value`; null when there is none.
const PickleValue* find_member(const PickleValue& value, std::string_view path) {
  if (path.empty()) return &value;
  const auto* const dictionary = std::get_if<const PickleDictionary*>(&value);
  if (dictionary == nullptr) return nullptr;
  for (size_t size = path.size(); size != std::string_view::npos && size > 0; size = path.rfind('.', size - 1)) {
    if (const PickleValue* const item = (*dictionary)->find(path.substr(0, size))) {
      return find_member(*item, path.substr(std::min(size + 1, path.size())));
    }
  }
  return nullptr;
}

}  // namespace

TorchZip TorchZip::parse(std::span<const std::byte> bytes, std::string_view name, const Options& options) {
  refuse_other_kinds(as_text(bytes), name);
  const StoredZip zip = StoredZip::parse(bytes, name);
  const std::string folder(find_folder(zip, name));
  const PickleOptions pickle_options{
      .keep_unknown_names = options.keep_unknown_names, .storage = [&](std::string_view key) {
        const auto found = zip.files().find(fmt::format("{}data/{}", folder, key));
        if (found == zip.files().end()) {
          throw_input("{}: expected the storage {} of a tensor, got no such file inside; the file is damaged", name,
                      quote_bytes(fmt::format("{}data/{}", folder, key)));
        }
        return found->second;
      }};
  const std::string pickle = fmt::format("{}data.pkl", folder);
  return {PickleDocument::parse(zip.files().find(pickle)->second, fmt::format("{}: {}", name, pickle), pickle_options),
          std::string(name), bytes.size()};
}

TorchZip TorchZip::open(const std::filesystem::path& path, const Options& options) {
  MappedFile file(path);
  TorchZip zip = parse(file.bytes(), path.string(), options);
  // Moving a MappedFile leaves its mapping where it is, and so the views.
  zip.file_ = std::move(file);
  return zip;
}

TorchTensors TorchZip::tensors(std::string_view member) const {
  const PickleValue* const value = find_member(root(), member);
  if (value == nullptr) {
    std::vector<std::string> keys;
    if (const auto* const dictionary = std::get_if<const PickleDictionary*>(&root())) {
      for (const auto& [key, item] : (*dictionary)->entries) {
        if (const auto* const text = std::get_if<std::string_view>(&key)) keys.emplace_back(*text);
      }
    }
    throw_input("{}: expected a member {}, got none of that name{}", name_, quote_bytes(member),
                suggest_names(member, keys));
  }
  TorchTensors tensors;
  Collector(name_, kCopiesPerFile * file_bytes_ + kSmallCopies, tensors).collect(*value, {});
  return tensors;
}

}  // namespace verbatim
