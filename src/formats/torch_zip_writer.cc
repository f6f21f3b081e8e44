#include "formats/torch_zip_writer.h"

#include <zlib.h>

#include <limits>

#include "base/error.h"
#include "base/file.h"

namespace verbatim {

namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint32_t kNoSize = 0xFFFFFFFF;  // the true one stands in the zip64 field

template <class T>
void append(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
}

std::string_view storage_class(std::string_view dtype) {
  static const std::map<std::string_view, std::string_view> classes = {
      {"F64", "DoubleStorage"}, {"F32", "FloatStorage"}, {"F16", "HalfStorage"},  {"BF16", "BFloat16Storage"},
      {"I64", "LongStorage"},   {"I32", "IntStorage"},   {"I16", "ShortStorage"}, {"I8", "CharStorage"},
      {"U8", "ByteStorage"},    {"BOOL", "BoolStorage"}};
  const auto found = classes.find(dtype);
  VERBATIM_ASSERT(found != classes.end(), "torch.save has no storage for type {}", dtype);
  return found->second;
}

// The pickle of a value, opcode by opcode (Python's pickletools describes them).
class Pickler {
 public:
  Pickler() : out_("\x80\x02") {}

  void text(std::string_view value) {
    out_ += 'X';
    append(out_, static_cast<uint32_t>(value.size()));
    out_ += value;
  }
  void integer(int64_t value) {
    if (value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max()) {
      out_ += 'J';
      append(out_, static_cast<int32_t>(value));
    } else {
      out_ += "\x8a\x08";
      append(out_, value);
    }
  }
  void global(std::string_view module, std::string_view name) {
    out_ += 'c';
    out_ += module;
    out_ += '\n';
    out_ += name;
    out_ += '\n';
  }
  void none() { out_ += 'N'; }
  void mark() { out_ += '('; }
  void tuple() { out_ += 't'; }
  void empty_list() { out_ += ']'; }
  void append_items() { out_ += 'e'; }
  void empty_dict() { out_ += '}'; }
  void set_items() { out_ += 'u'; }
  void persistent() { out_ += 'Q'; }
  void call() { out_ += 'R'; }
  void boolean(bool value) { out_ += value ? '\x88' : '\x89'; }
  void shape(const std::vector<int64_t>& values) {
    mark();
    for (const int64_t value : values) integer(value);
    tuple();
  }
  [[nodiscard]] std::string finish() && {
    out_ += '.';
    return std::move(out_);
  }

 private:
  std::string out_;
};

// torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())
void add_tensor(Pickler& pickle, const TensorView& tensor, const std::string& key) {
  int64_t count = 1;
  std::vector<int64_t> strides(tensor.shape.size());
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    strides[i] = count;
    count *= std::max<int64_t>(tensor.shape[i], 1);
  }
  pickle.global("torch._utils", "_rebuild_tensor_v2");
  pickle.mark();
  pickle.mark();
  pickle.text("storage");
  pickle.global("torch", storage_class(tensor.dtype));
  pickle.text(key);
  pickle.text("cpu");
  pickle.integer(static_cast<int64_t>(tensor.bytes.size() / dtype_bytes(tensor.dtype)));
  pickle.tuple();
  pickle.persistent();
  pickle.integer(0);
  pickle.shape(tensor.shape);
  pickle.shape(strides);
  pickle.boolean(false);
  pickle.global("collections", "OrderedDict");
  pickle.mark();
  pickle.tuple();
  pickle.call();
  pickle.tuple();
  pickle.call();
}

struct Entry {
  std::string name;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint32_t crc = 0;
};

// Entries are stored, with zip64 sizes, so that large tensors need no other path than small ones.
class StoredZipWriter {
 public:
  explicit StoredZipWriter(const std::filesystem::path& path) : file_(path) {}

  void add(const std::string& name, std::span<const std::byte> bytes) {
    Entry entry{.name = name, .offset = file_.bytes_written(), .size = bytes.size()};
    entry.crc = static_cast<uint32_t>(
        crc32_z(crc32_z(0, nullptr, 0), reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
    // Local header, then the extra fields: zip64 sizes, and padding ("FB", as torch writes it) up to the alignment.
    constexpr uint64_t kFixed = 30, kZip64 = 20, kFieldHeader = 4;
    const uint64_t before = entry.offset + kFixed + name.size() + kZip64 + kFieldHeader;
    const uint64_t padding = (kAlignment - before % kAlignment) % kAlignment;
    std::string header;
    append(header, uint32_t{0x04034b50});
    append(header, uint16_t{45});
    common(header, entry);
    append(header, kNoSize);
    append(header, kNoSize);
    append(header, static_cast<uint16_t>(name.size()));
    append(header, static_cast<uint16_t>(kZip64 + kFieldHeader + padding));
    header += name;
    append(header, uint16_t{1});
    append(header, uint16_t{16});
    append(header, entry.size);
    append(header, entry.size);
    header += "FB";
    append(header, static_cast<uint16_t>(padding));
    header.append(padding, 'Z');
    file_.write(header);
    file_.write(bytes);
    entries_.push_back(std::move(entry));
  }

  void commit() {
    const uint64_t directory = file_.bytes_written();
    for (const Entry& entry : entries_) {
      std::string header;
      append(header, uint32_t{0x02014b50});
      append(header, uint16_t{45});
      append(header, uint16_t{45});
      common(header, entry);
      append(header, kNoSize);
      append(header, kNoSize);
      append(header, static_cast<uint16_t>(entry.name.size()));
      append(header, uint16_t{28});  // extra
      append(header, uint16_t{0});   // comment
      append(header, uint16_t{0});   // disk
      append(header, uint16_t{0});
      append(header, uint32_t{0});
      append(header, kNoSize);
      header += entry.name;
      append(header, uint16_t{1});
      append(header, uint16_t{24});
      append(header, entry.size);
      append(header, entry.size);
      append(header, entry.offset);
      file_.write(header);
    }
    const uint64_t end = file_.bytes_written();
    std::string tail;
    append(tail, uint32_t{0x06064b50});  // zip64 end of central directory
    append(tail, uint64_t{44});
    append(tail, uint16_t{45});
    append(tail, uint16_t{45});
    append(tail, uint32_t{0});
    append(tail, uint32_t{0});
    append(tail, uint64_t{entries_.size()});
    append(tail, uint64_t{entries_.size()});
    append(tail, end - directory);
    append(tail, directory);
    append(tail, uint32_t{0x07064b50});  // its locator
    append(tail, uint32_t{0});
    append(tail, end);
    append(tail, uint32_t{1});
    append(tail, uint32_t{0x06054b50});  // end of central directory
    append(tail, uint16_t{0});
    append(tail, uint16_t{0});
    append(tail, uint16_t{0xFFFF});
    append(tail, uint16_t{0xFFFF});
    append(tail, kNoSize);
    append(tail, kNoSize);
    append(tail, uint16_t{0});
    file_.write(tail);
    file_.commit();
  }

 private:
  // Flags, method (stored), time, date, checksum.
  static void common(std::string& header, const Entry& entry) {
    append(header, uint16_t{0});
    append(header, uint16_t{0});
    append(header, uint16_t{0});
    append(header, uint16_t{0x21});  // the first day that the format knows: files do not depend on the clock
    append(header, entry.crc);
  }

  AtomicFile file_;
  std::vector<Entry> entries_;
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace

void write_torch_zip(const std::filesystem::path& path,
                     const std::vector<std::pair<std::string, TorchValue>>& members) {
  const std::string folder = path.stem().string();
  Pickler pickle;
  std::vector<const TensorView*> tensors;
  pickle.empty_dict();
  pickle.mark();
  for (const auto& [name, value] : members) {
    pickle.text(name);
    if (const auto* tensor = std::get_if<TensorView>(&value)) {
      uint64_t expected = dtype_bytes(tensor->dtype);
      for (const int64_t size : tensor->shape) expected *= static_cast<uint64_t>(size);
      VERBATIM_ASSERT(tensor->bytes.size() == expected, "{}: {} bytes, expected {}", name, tensor->bytes.size(),
                      expected);
      add_tensor(pickle, *tensor, std::to_string(tensors.size()));
      tensors.push_back(tensor);
    } else if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
      pickle.empty_list();
      pickle.mark();
      for (const std::string& item : *list) pickle.text(item);
      pickle.append_items();
    } else if (const auto* counts = std::get_if<std::vector<std::pair<std::string, int64_t>>>(&value)) {
      pickle.empty_dict();
      pickle.mark();
      for (const auto& [key, count] : *counts) {
        pickle.text(key);
        pickle.integer(count);
      }
      pickle.set_items();
    } else {
      pickle.none();
    }
  }
  pickle.set_items();
  StoredZipWriter zip(path);
  const std::string program = std::move(pickle).finish();
  zip.add(folder + "/data.pkl", bytes_of(program));
  for (size_t i = 0; i < tensors.size(); ++i) {
    zip.add(folder + "/data/" + std::to_string(i), tensors[i]->bytes);
  }
  zip.add(folder + "/version", bytes_of("3\n"));
  zip.commit();
}

}  // namespace verbatim
