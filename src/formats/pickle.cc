#include "formats/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <deque>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/text_format.h"
#include "formats/pickle_bytes.h"
#include "formats/pickle_tensor.h"
#include "formats/pickle_value.h"
#include "formats/safetensors.h"
#include "text/utf8.h"

namespace verbatim {

using pickle::pointer_in;

namespace {

constexpr int kNewestProtocol = 5;
constexpr size_t kFreeCopies = size_t{1} << 16;
constexpr size_t kMaxDimensions = 64;  // torch allows as many

// What a name on the list means.
enum class Callable {
  kNone,  // a name only
  kOrderedDictionary,
  kCounter,
  kSet,
  kEncode,
  kSize,
  kDevice,
  kParameter,
  kTensor,       // storage, offset, shape, strides
  kTensorTyped,  // the same, with the type as a value of its own
};

struct KnownName {
  std::string_view name;
  Callable callable;
};
constexpr std::array<KnownName, 14> kKnownNames = {{
    {"collections.OrderedDict", Callable::kOrderedDictionary},
    {"collections.Counter", Callable::kCounter},
    {"builtins.set", Callable::kSet},
    {"builtins.frozenset", Callable::kSet},
    {"__builtin__.set", Callable::kSet},  // protocols 0 to 2 use the names of Python 2
    {"__builtin__.frozenset", Callable::kSet},
    {"_codecs.encode", Callable::kEncode},  // bytes in protocols 0 to 2
    {"torch.Size", Callable::kSize},
    {"torch.device", Callable::kDevice},
    {"torch._utils._rebuild_parameter", Callable::kParameter},
    {"torch._utils._rebuild_tensor", Callable::kTensor},
    {"torch._utils._rebuild_tensor_v2", Callable::kTensor},
    {"torch._utils._rebuild_tensor_v3", Callable::kTensorTyped},
    {"torch.strided", Callable::kNone},
}};

// Nothing when the name is not on the list.
std::optional<Callable> find_callable(std::string_view name) {
  for (const KnownName& known : kKnownNames) {
    if (known.name == name) return known.callable;
  }
  if (!pickle::dtype_of_storage(name).empty() || !pickle::dtype_of_name(name).empty()) return Callable::kNone;
  return std::nullopt;
}

}  // namespace

struct PickleDocument::Nodes {
  // Deques: their elements stay where they are.
  std::deque<PickleSequence> sequences;
  std::deque<PickleDictionary> dictionaries;
  std::deque<PickleStorage> storages;
  std::deque<PickleTensor> tensors;
  std::map<std::pair<std::string, bool>, PickleName> names;  // by name and is_object
  std::deque<std::string> texts;
  std::deque<std::vector<std::byte>> byte_strings;

  [[nodiscard]] size_t container_count() const {
    return sequences.size() + dictionaries.size() + storages.size() + tensors.size() + texts.size() +
           byte_strings.size();
  }
};

// Carries out one pickle.
class PickleDocument::Machine : pickle::Bytes {
 public:
  Machine(std::span<const std::byte> bytes, std::string_view name, const PickleOptions& options, Nodes& nodes)
      : Bytes(bytes, name), options_(options), nodes_(nodes) {}

  PickleValue run() {
    for (unsigned char opcode = read_opcode(); opcode != '.'; opcode = read_opcode()) step(opcode);
    PickleValue root = pop();
    if (!stack_.empty() || !marks_.empty()) refuse("expected one value at the end, got more");
    expect_end();
    pickle::check_extent(root, name());
    return root;
  }

 private:
  using Key = PickleDictionary::Key;

  // --- Stack ---

  // Counts what functions copy: once is usual (a Counter from its dict); again and again, a short file would fill the
  // memory.
  void charge_copies(size_t count) {
    copied_ += count;
    if (copied_ > values_ + kFreeCopies) refuse("expected each value to be copied once, got more copies than values");
  }

  void push(PickleValue value) {
    if (++values_ > kMaxValues) refuse("expected at most {} values, got more", kMaxValues);
    if (nodes_.container_count() > kMaxContainers) refuse("expected at most {} containers, got more", kMaxContainers);
    stack_.push_back(value);
  }

  // Below the last mark nothing can be taken.
  [[nodiscard]] size_t available() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

  void need(size_t count) const {
    if (available() < count) {
      refuse("expected {} values on the stack, got {}; the file is damaged", count, available());
    }
  }

  PickleValue pop() {
    need(1);
    const PickleValue value = stack_.back();
    stack_.pop_back();
    return value;
  }

  const PickleValue& top() const {
    need(1);
    return stack_.back();
  }

  // The values above the last mark, which goes too.
  std::vector<PickleValue> pop_to_mark() {
    if (marks_.empty()) refuse("expected a mark on the stack, got none; the file is damaged");
    std::vector<PickleValue> values(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return values;
  }

  std::vector<PickleValue> pop_many(size_t count) {
    need(count);
    std::vector<PickleValue> values(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return values;
  }

  const PickleSequence* new_sequence(PickleSequence::Kind kind, std::vector<PickleValue> items = {}) {
    return &nodes_.sequences.emplace_back(PickleSequence{.kind = kind, .items = std::move(items)});
  }

  PickleDictionary* new_dictionary(PickleDictionary::Kind kind) {
    PickleDictionary& dictionary = nodes_.dictionaries.emplace_back();
    dictionary.kind = kind;
    return &dictionary;
  }

  const PickleName* new_name(std::string name, bool is_object) {
    const PickleName node{.name = name, .is_object = is_object};
    return &nodes_.names.try_emplace({std::move(name), is_object}, node).first->second;
  }

  // The machine owns what its values point to.
  template <class T>
  static T* writable(const T* node) {
    return const_cast<T*>(node);
  }

  // --- Memo ---

  void put(uint64_t place) {
    if (memo_.size() == kMaxMemo) refuse("expected at most {} values in the memo, got more", kMaxMemo);
    memo_[place] = top();
  }

  void get(uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) refuse("expected something in memo {}, got nothing; the file is damaged", place);
    push(found->second);
  }

  // --- Containers ---

  [[nodiscard]] Key as_key(const PickleValue& value) const {
    if (const auto* const text = std::get_if<std::string_view>(&value)) return *text;
    if (const auto* const number = std::get_if<int64_t>(&value)) return *number;
    refuse("expected keys of type str or int, got {}", type_name(value));
  }

  void set_items(PickleDictionary& dictionary, const std::vector<PickleValue>& flat) const {
    if (flat.size() % 2 != 0) refuse("expected a value for each key, got {} of both", flat.size());
    for (size_t i = 0; i < flat.size(); i += 2) dictionary.set(as_key(flat[i]), flat[i + 1]);
  }

  // Of a dict, or of a list of pairs.
  void update(PickleDictionary& dictionary, const PickleValue& from) {
    if (const auto* const source = pointer_in<PickleDictionary>(from)) {
      charge_copies(source->entries.size());
      for (const auto& [key, value] : source->entries) dictionary.set(key, value);
      return;
    }
    const auto* const pairs = pointer_in<PickleSequence>(from);
    if (pairs == nullptr) refuse("expected a dict or a list of pairs, got {}", type_name(from));
    charge_copies(pairs->items.size());
    for (const PickleValue& item : pairs->items) {
      const auto* const pair = pointer_in<PickleSequence>(item);
      if (pair == nullptr || pair->items.size() != 2) refuse("expected pairs, got {}", type_name(item));
      dictionary.set(as_key(pair->items[0]), pair->items[1]);
    }
  }

  [[nodiscard]] bool is_unknown_object(const PickleValue& value) const {
    const auto* const name = pointer_in<PickleName>(value);
    return options_.keep_unknown_names && name != nullptr && name->is_object;
  }

  void add_to_dictionary(const std::vector<PickleValue>& flat) {
    const PickleValue& target = top();
    if (is_unknown_object(target)) return;
    const auto* const dictionary = pointer_in<PickleDictionary>(target);
    if (dictionary == nullptr) refuse("expected a dict to put items into, got {}", type_name(target));
    set_items(*writable(dictionary), flat);
  }

  void add_to_sequence(PickleSequence::Kind kind, const std::vector<PickleValue>& items) {
    const PickleValue& target = top();
    if (is_unknown_object(target)) return;
    const auto* const sequence = pointer_in<PickleSequence>(target);
    if (sequence == nullptr || sequence->kind != kind) {
      refuse("expected a {} to put items into, got {}", kind == PickleSequence::Kind::kList ? "list" : "set",
             type_name(target));
    }
    auto& all = writable(sequence)->items;
    all.insert(all.end(), items.begin(), items.end());
  }

  // --- Names ---

  void push_name(std::string_view module, std::string_view name) {
    std::string full = fmt::format("{}.{}", module, name);
    if (!find_callable(full) && !options_.keep_unknown_names) {
      refuse(
          "expected plain data or tensors, got a reference to {}, which is not on the list of names that are read; "
          "save the weights alone (torch.save(model.state_dict(), ...)) or as safetensors",
          quote_bytes(full));
    }
    push(new_name(std::move(full), /*is_object=*/false));
  }

  void check_arguments(const PickleName& function, size_t count, size_t least, size_t most) const {
    if (count < least || count > most) {
      refuse("expected {} to {} arguments for {}, got {}", least, most, function.name, count);
    }
  }

  // What Python would call: `function` with the items of a tuple.
  void call(const PickleValue& callee, const PickleValue& arguments, bool is_new) {
    const auto* const function = pointer_in<PickleName>(callee);
    const auto* const tuple = pointer_in<PickleSequence>(arguments);
    if (function == nullptr || function->is_object) refuse("expected a name to call, got {}", type_name(callee));
    if (tuple == nullptr || tuple->kind != PickleSequence::Kind::kTuple) {
      refuse("expected a tuple of arguments, got {}", type_name(arguments));
    }
    const std::vector<PickleValue>& items = tuple->items;
    const std::optional<Callable> callable = find_callable(function->name);
    if (!callable) {  // was kept only because the caller wants unknown names
      push(new_name(function->name, /*is_object=*/true));
      return;
    }
    switch (*callable) {
      case Callable::kOrderedDictionary:
      case Callable::kCounter: {
        check_arguments(*function, items.size(), 0, 1);
        PickleDictionary* const dictionary = new_dictionary(
            *callable == Callable::kCounter ? PickleDictionary::Kind::kCounter : PickleDictionary::Kind::kOrdered);
        if (!items.empty()) update(*dictionary, items[0]);
        push(static_cast<const PickleDictionary*>(dictionary));
        return;
      }
      case Callable::kSet:
      case Callable::kSize: {
        check_arguments(*function, items.size(), 0, 1);
        const auto kind = *callable == Callable::kSet ? PickleSequence::Kind::kSet : PickleSequence::Kind::kTuple;
        const auto* const from = items.empty() ? new_sequence(kind) : pointer_in<PickleSequence>(items[0]);
        if (from == nullptr) refuse("expected a list for {}, got {}", function->name, type_name(items[0]));
        charge_copies(from->items.size());
        push(new_sequence(kind, from->items));
        return;
      }
      case Callable::kEncode:
        push(encode_latin1(*function, items));
        return;
      case Callable::kDevice:
        push(new_name(function->name, /*is_object=*/true));
        return;
      case Callable::kParameter: {
        check_arguments(*function, items.size(), 3, 3);
        if (pointer_in<PickleTensor>(items[0]) == nullptr) refuse("expected a tensor, got {}", type_name(items[0]));
        push(items[0]);
        return;
      }
      case Callable::kTensor:
      case Callable::kTensorTyped:
        if (is_new) break;
        push(rebuild_tensor(*function, *callable == Callable::kTensorTyped, items));
        return;
      case Callable::kNone:
        break;
    }
    refuse("expected a function that is read, got a call of {}", function->name);
  }

  std::span<const std::byte> encode_latin1(const PickleName& function, const std::vector<PickleValue>& items) {
    check_arguments(function, items.size(), 2, 2);
    const auto* const text = std::get_if<std::string_view>(&items[0]);
    const auto* const encoding = std::get_if<std::string_view>(&items[1]);
    if (text == nullptr || encoding == nullptr || *encoding != "latin1") {
      refuse("expected text and \"latin1\" for {}, got other arguments", function.name);
    }
    charge_copies(text->size());
    std::vector<std::byte>& bytes = nodes_.byte_strings.emplace_back();
    for (const Utf8Unit& unit : Utf8Units(*text)) {
      if (unit.code_point.value > 0xFF) refuse("expected characters up to U+00FF, got {}", quote_bytes(*text));
      bytes.push_back(static_cast<std::byte>(unit.code_point.value));
    }
    return bytes;
  }

  [[nodiscard]] int64_t as_integer(const PickleValue& value, std::string_view what) const {
    const auto* const number = std::get_if<int64_t>(&value);
    if (number == nullptr) refuse("expected an int for {} of a tensor, got {}", what, type_name(value));
    return *number;
  }

  [[nodiscard]] std::vector<int64_t> as_integers(const PickleValue& value, std::string_view what) const {
    const auto* const sequence = pointer_in<PickleSequence>(value);
    if (sequence == nullptr) refuse("expected a tuple for {} of a tensor, got {}", what, type_name(value));
    if (sequence->items.size() > kMaxDimensions) {
      refuse("expected at most {} dimensions for a tensor, got {}", kMaxDimensions, sequence->items.size());
    }
    std::vector<int64_t> numbers;
    for (const PickleValue& item : sequence->items) numbers.push_back(as_integer(item, what));
    return numbers;
  }

  const PickleTensor* rebuild_tensor(const PickleName& function, bool is_typed, const std::vector<PickleValue>& items) {
    check_arguments(function, items.size(), is_typed ? 7 : 4, is_typed ? 8 : 7);
    const auto* const storage = pointer_in<PickleStorage>(items[0]);
    if (storage == nullptr) refuse("expected a storage for a tensor, got {}", type_name(items[0]));
    std::string dtype = storage->dtype;
    if (is_typed) {
      const auto* const name = pointer_in<PickleName>(items[6]);
      if (name != nullptr) dtype = pickle::dtype_of_name(name->name);
      if (name == nullptr || dtype.empty()) refuse("expected the type of a tensor, got {}", type_name(items[6]));
    }
    PickleTensor tensor{.dtype = std::move(dtype),
                        .shape = as_integers(items[2], "the shape"),
                        .strides = as_integers(items[3], "the strides"),
                        .offset = as_integer(items[1], "the offset"),
                        .storage = storage->bytes};
    pickle::check_view(tensor, where());
    return &nodes_.tensors.emplace_back(std::move(tensor));
  }

  // ("storage", type, key, device, number of elements)
  void load_storage(const PickleValue& reference) {
    const auto* const tuple = pointer_in<PickleSequence>(reference);
    if (tuple == nullptr || tuple->items.size() != 5) {
      refuse("expected a tuple of five values for a storage, got {}", type_name(reference));
    }
    const std::vector<PickleValue>& items = tuple->items;
    const auto* const word = std::get_if<std::string_view>(&items[0]);
    const auto* const type = pointer_in<PickleName>(items[1]);
    const auto* const key = std::get_if<std::string_view>(&items[2]);
    const auto* const count = std::get_if<int64_t>(&items[4]);
    if (word == nullptr || *word != "storage" || type == nullptr || key == nullptr || count == nullptr) {
      refuse("expected (\"storage\", type, key, device, count), got other values");
    }
    const std::string_view dtype = pickle::dtype_of_storage(type->name);
    if (dtype.empty()) refuse("expected a storage of a known type, got {}", quote_bytes(type->name));
    if (!options_.storage) refuse("expected plain data, got a storage of a torch checkpoint");
    const std::span<const std::byte> bytes = options_.storage(*key);
    const size_t element_bytes = dtype_bytes(dtype);
    if (*count < 0 || bytes.size() % element_bytes != 0 ||
        static_cast<uint64_t>(*count) != bytes.size() / element_bytes) {
      refuse("expected {} elements of {} bytes in storage {}, got {} bytes", *count, element_bytes, quote_bytes(*key),
             bytes.size());
    }
    push(&nodes_.storages.emplace_back(PickleStorage{.dtype = std::string(dtype), .bytes = bytes}));
  }

  // Sets attributes of the object below: those of dictionaries (version numbers of torch's modules) are passed over.
  void build() {
    const PickleValue state = pop();
    const PickleValue& target = top();
    if (is_unknown_object(target)) return;
    if (pointer_in<PickleDictionary>(target) == nullptr) {
      refuse("expected attributes of an OrderedDict only, got those of {}", type_name(target));
    }
    if (pointer_in<PickleDictionary>(state) == nullptr) {
      refuse("expected a dict of attributes, got {}", type_name(state));
    }
  }

  // --- Opcodes ---

  void step(unsigned char opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        const int protocol = read_byte();
        if (protocol > kNewestProtocol) refuse("expected protocol 0 to {}, got {}", kNewestProtocol, protocol);
        return;
      }
      case 0x95: {  // FRAME: how many bytes a reader of a stream may fetch at once
        const uint64_t size = read_number(8);
        if (size > left()) {
          refuse("expected a frame of {} bytes, got {} up to the end; the file is cut short", size, left());
        }
        return;
      }
      case '(':  // MARK
        if (marks_.size() == kMaxValues) refuse("expected at most {} marks, got more", kMaxValues);
        marks_.push_back(stack_.size());
        return;
      case '0':  // POP: a mark when that is on top
        if (available() == 0 && !marks_.empty()) {
          marks_.pop_back();
        } else {
          (void)pop();
        }
        return;
      case '1':  // POP_MARK
        (void)pop_to_mark();
        return;
      case '2':  // DUP
        push(PickleValue(top()));
        return;
      case 'N':  // NONE
        push(std::monostate());
        return;
      case 0x88:  // NEWTRUE
        push(true);
        return;
      case 0x89:  // NEWFALSE
        push(false);
        return;
      default:
        if (!step_number(opcode) && !step_text(opcode) && !step_container(opcode) && !step_memo(opcode) &&
            !step_name(opcode)) {
          refuse_opcode(opcode);
        }
    }
  }

  bool step_number(unsigned char opcode) {
    switch (opcode) {
      case 'I': {  // INT; 00 and 01 are truth values
        const std::string_view line = read_line();
        if (line == "00" || line == "01") {
          push(line == "01");
        } else {
          push(parse_number<int64_t>(line));
        }
        return true;
      }
      case 'L': {  // LONG
        std::string_view line = read_line();
        if (line.ends_with('L')) line.remove_suffix(1);
        push(parse_number<int64_t>(line));
        return true;
      }
      case 'J':  // BININT
        push(int64_t{static_cast<int32_t>(read_number(4))});
        return true;
      case 'K':  // BININT1
        push(static_cast<int64_t>(read_number(1)));
        return true;
      case 'M':  // BININT2
        push(static_cast<int64_t>(read_number(2)));
        return true;
      case 0x8A:  // LONG1
        push(read_long(read_number(1)));
        return true;
      case 0x8B:  // LONG4
        push(read_long(read_number(4)));
        return true;
      case 'F':  // FLOAT
        push(parse_number<double>(read_line()));
        return true;
      case 'G': {  // BINFLOAT, big endian
        push(std::bit_cast<double>(__builtin_bswap64(read_number(8))));
        return true;
      }
      default:
        return false;
    }
  }

  bool step_text(unsigned char opcode) {
    switch (opcode) {
      case 'V':  // UNICODE
        push(std::string_view(nodes_.texts.emplace_back(decode_escaped(read_line()))));
        return true;
      case 0x8C:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING: text of Python 2
        push(read_text(read_number(1)));
        return true;
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING
        push(read_text(read_number(4)));
        return true;
      case 0x8D:  // BINUNICODE8
        push(read_text(read_number(8)));
        return true;
      case 'C':  // SHORT_BINBYTES
        push(read(read_number(1)));
        return true;
      case 'B':  // BINBYTES
        push(read(read_number(4)));
        return true;
      case 0x8E:  // BINBYTES8
        push(read(read_number(8)));
        return true;
      default:
        return false;
    }
  }

  bool step_container(unsigned char opcode) {
    using Kind = PickleSequence::Kind;
    switch (opcode) {
      case ']':  // EMPTY_LIST
        push(new_sequence(Kind::kList));
        return true;
      case 'l':  // LIST
        push(new_sequence(Kind::kList, pop_to_mark()));
        return true;
      case ')':  // EMPTY_TUPLE
        push(new_sequence(Kind::kTuple));
        return true;
      case 't':  // TUPLE
        push(new_sequence(Kind::kTuple, pop_to_mark()));
        return true;
      case 0x85:  // TUPLE1, TUPLE2, TUPLE3
      case 0x86:
      case 0x87:
        push(new_sequence(Kind::kTuple, pop_many(opcode - 0x84)));
        return true;
      case 0x8F:  // EMPTY_SET
        push(new_sequence(Kind::kSet));
        return true;
      case 0x91:  // FROZENSET
        push(new_sequence(Kind::kSet, pop_to_mark()));
        return true;
      case '}':  // EMPTY_DICT
        push(static_cast<const PickleDictionary*>(new_dictionary(PickleDictionary::Kind::kPlain)));
        return true;
      case 'd': {  // DICT
        PickleDictionary* const dictionary = new_dictionary(PickleDictionary::Kind::kPlain);
        set_items(*dictionary, pop_to_mark());
        push(static_cast<const PickleDictionary*>(dictionary));
        return true;
      }
      case 'a':  // APPEND
        add_to_sequence(Kind::kList, {pop()});
        return true;
      case 'e':  // APPENDS
        add_to_sequence(Kind::kList, pop_to_mark());
        return true;
      case 0x90:  // ADDITEMS
        add_to_sequence(Kind::kSet, pop_to_mark());
        return true;
      case 's':  // SETITEM
        add_to_dictionary(pop_many(2));
        return true;
      case 'u':  // SETITEMS
        add_to_dictionary(pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  bool step_memo(unsigned char opcode) {
    switch (opcode) {
      case 'p':  // PUT
        put(parse_number<uint64_t>(read_line()));
        return true;
      case 'q':  // BINPUT
        put(read_number(1));
        return true;
      case 'r':  // LONG_BINPUT
        put(read_number(4));
        return true;
      case 0x94:  // MEMOIZE
        put(memo_.size());
        return true;
      case 'g':  // GET
        get(parse_number<uint64_t>(read_line()));
        return true;
      case 'h':  // BINGET
        get(read_number(1));
        return true;
      case 'j':  // LONG_BINGET
        get(read_number(4));
        return true;
      default:
        return false;
    }
  }

  bool step_name(unsigned char opcode) {
    switch (opcode) {
      case 'c': {  // GLOBAL
        const std::string_view module = read_line();
        push_name(module, read_line());
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const std::vector<PickleValue> names = pop_many(2);
        const auto* const module = std::get_if<std::string_view>(&names[0]);
        const auto* const name = std::get_if<std::string_view>(&names[1]);
        if (module == nullptr || name == nullptr) refuse("expected two strings for a name, got other values");
        push_name(*module, *name);
        return true;
      }
      case 'Q':  // BINPERSID
        load_storage(pop());
        return true;
      case 'R':     // REDUCE
      case 0x81: {  // NEWOBJ
        const std::vector<PickleValue> values = pop_many(2);
        call(values[0], values[1], opcode == 0x81);
        return true;
      }
      case 'b':  // BUILD
        build();
        return true;
      default:
        return false;
    }
  }

  const PickleOptions& options_;
  Nodes& nodes_;
  size_t values_ = 0;  // pushed so far
  size_t copied_ = 0;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::unordered_map<uint64_t, PickleValue> memo_;
};

PickleDocument::PickleDocument() : nodes_(std::make_unique<Nodes>()) {}
PickleDocument::PickleDocument(PickleDocument&&) noexcept = default;
PickleDocument& PickleDocument::operator=(PickleDocument&&) noexcept = default;
PickleDocument::~PickleDocument() = default;

PickleDocument PickleDocument::parse(std::span<const std::byte> bytes, std::string_view name,
                                     const PickleOptions& options) {
  PickleDocument document;
  document.root_ = Machine(bytes, name, options, *document.nodes_).run();
  return document;
}

PickleDocument PickleDocument::open(const std::filesystem::path& path, const PickleOptions& options) {
  MappedFile file(path, MappedFile::Access::kSequential);
  PickleDocument document = parse(file.bytes(), path.string(), options);
  document.file_ = std::move(file);
  return document;
}

}  // namespace verbatim
