#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/file.h"

// Python's pickle format (protocols 0 to 5), as far as plain data and the tensors of a torch checkpoint need it.
//
// A pickle is a program for a small stack machine that may call any Python function. Here it is data: the opcodes that
// build None, bool, int, float, str, bytes, list, tuple, set and dict are carried out, and a short list of names
// (collections.OrderedDict, collections.Counter, torch's functions that put tensors together, see pickle.cc) has a
// meaning of its own. Everything else is refused; no name is ever looked up, imported or called.
//
// Source: the comments of Python's Lib/pickletools.py describe every opcode.

namespace verbatim {

struct PickleSequence;
struct PickleDictionary;
struct PickleStorage;
struct PickleTensor;
struct PickleName;

// One value: None, bool, int, float, str (UTF-8), bytes, or a larger thing that the document owns. All pointers and
// views last as long as the document.
using PickleValue = std::variant<std::monostate, bool, int64_t, double, std::string_view, std::span<const std::byte>,
                                 const PickleSequence*, const PickleDictionary*, const PickleStorage*,
                                 const PickleTensor*, const PickleName*>;

// "None", "int", "dict", ...: Python's word for what a value is, for messages.
[[nodiscard]] std::string_view type_name(const PickleValue& value);

// list, tuple, set or frozenset; the items of a set in the order of the file, repetitions included.
struct PickleSequence {
  enum class Kind { kList, kTuple, kSet };
  Kind kind = Kind::kList;
  std::vector<PickleValue> items;
};

// dict, OrderedDict or Counter, in the order of insertion. Keys are str or int.
struct PickleDictionary {
  enum class Kind { kPlain, kOrdered, kCounter };
  using Key = std::variant<std::string_view, int64_t>;
  Kind kind = Kind::kPlain;
  std::vector<std::pair<Key, PickleValue>> entries;

  // The value of a key, or null.
  [[nodiscard]] const PickleValue* find(Key key) const;
  // As in Python: a key that is there already keeps its place and gets the new value.
  void set(Key key, PickleValue value);

 private:
  std::unordered_map<Key, size_t> places_;
};

// The numbers of one or more tensors, row after row, little endian.
struct PickleStorage {
  std::string dtype;  // "F32", ... as in safetensors; "U8" for storages without a type
  std::span<const std::byte> bytes;
};

// A view into a storage. Checked: as many strides as sizes, nothing negative, every element inside the storage.
struct PickleTensor {
  std::string dtype;             // "F32", "BF16", "I64", ... as in safetensors
  std::vector<int64_t> shape;    // [] is a scalar
  std::vector<int64_t> strides;  // in elements, one for each size
  int64_t offset = 0;            // in elements: where the first element lies in the storage
  std::span<const std::byte> storage;

  [[nodiscard]] int64_t element_count() const;
  // Whether the elements lie row-major without holes.
  [[nodiscard]] bool is_contiguous() const;
  // The elements of a contiguous tensor as they lie in the file.
  [[nodiscard]] std::span<const std::byte> contiguous_bytes() const;
  // Puts the elements, row-major, into `out`, which has element_count() times the bytes of the type.
  void copy_to(std::span<std::byte> out) const;
};

// A class or function that a pickle names ("torch.float32"), or an object made by one ("torch.device"): the name only.
struct PickleName {
  std::string name;  // module and name, joined with a dot
  bool is_object = false;
};

struct PickleOptions {
  // Names that are not on the list become PickleName, objects made by them too (without their content), instead of an
  // InputError. For checkpoints that carry configuration objects beside their weights. Nothing is executed either way.
  bool keep_unknown_names = false;
  // Finds what a torch checkpoint calls ("storage", type, `key`, device, count): the bytes of the storage. Throws
  // InputError when there is none. Without it such references are refused.
  std::function<std::span<const std::byte>(std::string_view key)> storage;
};

// The value of one pickle. Movable; values stay valid.
class PickleDocument {
 public:
  // Maps a file that holds one pickle. Throws InputError as parse() does, also when the file is missing.
  [[nodiscard]] static PickleDocument open(const std::filesystem::path& path, const PickleOptions& options = {});
  // The same for bytes in memory that outlive the document; `name` is for messages. Throws InputError with the offset
  // for: bytes that end early or go on behind the end, opcodes and names that are not read, stack and memo misuse,
  // text that is not UTF-8, integers beyond 64 bits, keys that are neither str nor int, tensors that leave their
  // storage, values that contain themselves, and values beyond the limits below.
  [[nodiscard]] static PickleDocument parse(std::span<const std::byte> bytes, std::string_view name,
                                            const PickleOptions& options = {});

  [[nodiscard]] const PickleValue& root() const { return root_; }

  static constexpr size_t kMaxValues = size_t{1} << 24;      // put on the stack by all opcodes together
  static constexpr size_t kMaxContainers = size_t{1} << 22;  // lists, tuples, sets, dictionaries, tensors
  static constexpr size_t kMaxMemo = size_t{1} << 23;
  static constexpr size_t kMaxDepth = 200;  // containers inside containers
  // Values counted once for every way to reach them: a file of 1 kB can hold a list of lists of 2^100 items.
  static constexpr uint64_t kMaxUnfolded = uint64_t{1} << 26;

  PickleDocument(PickleDocument&&) noexcept;
  PickleDocument& operator=(PickleDocument&&) noexcept;
  ~PickleDocument();

 private:
  struct Nodes;
  class Machine;
  PickleDocument();

  MappedFile file_;
  std::unique_ptr<Nodes> nodes_;
  PickleValue root_;
};

}  // namespace verbatim
