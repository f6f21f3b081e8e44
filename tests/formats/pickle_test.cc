#include "formats/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/scratch_folder.h"
#include "formats/safetensors_bytes.h"
#include "formats/torch_bytes.h"

namespace verbatim {
namespace {

using testing::as_byte_span;
using testing::dictionary;
using testing::global;
using ::testing::HasSubstr;
using testing::integer;
using testing::number;
using testing::pickle;
using testing::ScratchFolder;
using testing::storage;
using testing::tensor;
using testing::text;
using testing::tuple;

const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree/cached_dictionary";

std::string_view text_of(const PickleValue& value) { return std::get<std::string_view>(value); }
int64_t integer_of(const PickleValue& value) { return std::get<int64_t>(value); }
const PickleDictionary& dictionary_of(const PickleValue& value) { return *std::get<const PickleDictionary*>(value); }
const PickleSequence& sequence_of(const PickleValue& value) { return *std::get<const PickleSequence*>(value); }

std::vector<std::pair<std::string, int64_t>> counts_of(const PickleValue& value) {
  std::vector<std::pair<std::string, int64_t>> counts;
  for (const auto& [key, count] : dictionary_of(value).entries) {
    counts.emplace_back(std::get<std::string_view>(key), integer_of(count));
  }
  return counts;
}

// Outlives the documents of a test, whose values are views.
PickleDocument parse(const std::string& bytes, const PickleOptions& options = {}) {
  return PickleDocument::parse(as_byte_span(bytes), "hand", options);
}

TEST(pickle, reads_the_counters_of_the_reference) {
  if (!std::filesystem::exists(kGolden / "counter_1.pckl")) GTEST_SKIP() << kGolden << " is absent";
  using Counts = std::vector<std::pair<std::string, int64_t>>;
  const PickleDocument first = PickleDocument::open(kGolden / "counter_1.pckl");
  EXPECT_EQ(dictionary_of(first.root()).kind, PickleDictionary::Kind::kCounter);
  EXPECT_EQ(
      counts_of(first.root()),
      (Counts{{"the", 50}, {"cat", 7}, {"Cat", 7}, {"sat", 3}, {"on", 20}, {"mat", 1}, {"<|ws|>", 9}, {".", 31}}));
  const PickleDocument second = PickleDocument::open(kGolden / "counter_2.pckl");
  EXPECT_EQ(
      counts_of(second.root()),
      (Counts{{"der", 40}, {"Hund", 7}, {"the", 2}, {"läuft", 3}, {"<|\n|>", 4}, {",", 30}, {"und", 12}, {"sat", 1}}));
}

std::string unhex(std::string_view digits) {
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

// Written by Python 3.11: pickle.dumps({"a": [1, -2, 3.5, None, True, "ä", b"\xff", (), (1, 2)], 7: 2**40}, protocol),
// protocols 0 to 5
TEST(pickle, reads_what_python_writes_in_every_protocol) {
  const std::vector<std::string> files = {
      "286470300a56610a70310a286c70320a49310a61492d320a6146332e350a614e614930310a6156e40a70330a61635f636f64"
      "6563730a656e636f64650a70340a2856ff0a70350a566c6174696e310a70360a7470370a5270380a612874612849310a4932"
      "0a7470390a617349370a4c313039393531313632373737364c0a732e",
      "7d71002858010000006171015d7102284b014afeffffff47400c0000000000004e4930310a5802000000c3a47103635f636f"
      "646563730a656e636f64650a7104285802000000c3bf710558060000006c6174696e31710674710752710829284b014b0274"
      "7109654b074c313039393531313632373737364c0a752e",
      "80027d71002858010000006171015d7102284b014afeffffff47400c0000000000004e885802000000c3a47103635f636f64"
      "6563730a656e636f64650a71045802000000c3bf710558060000006c6174696e317106867107527108294b014b0286710965"
      "4b078a06000000000001752e",
      "80037d71002858010000006171015d7102284b014afeffffff47400c0000000000004e885802000000c3a471034301ff7104"
      "294b014b02867105654b078a06000000000001752e",
      "80049539000000000000007d94288c0161945d94284b014afeffffff47400c0000000000004e888c02c3a4944301ff94294b"
      "014b028694654b078a06000000000001752e",
      "80059539000000000000007d94288c0161945d94284b014afeffffff47400c0000000000004e888c02c3a4944301ff94294b"
      "014b028694654b078a06000000000001752e"};
  for (const std::string& digits : files) {
    SCOPED_TRACE(digits);
    const std::string file = unhex(digits);
    const PickleDocument document = parse(file);
    const PickleDictionary& root = dictionary_of(document.root());
    ASSERT_EQ(root.entries.size(), 2u);
    EXPECT_EQ(integer_of(*root.find(int64_t{7})), int64_t{1} << 40);
    EXPECT_EQ(root.find("b"), nullptr);
    const PickleSequence& list = sequence_of(*root.find("a"));
    EXPECT_EQ(list.kind, PickleSequence::Kind::kList);
    ASSERT_EQ(list.items.size(), 9u);
    EXPECT_EQ(integer_of(list.items[0]), 1);
    EXPECT_EQ(integer_of(list.items[1]), -2);
    EXPECT_EQ(std::get<double>(list.items[2]), 3.5);
    EXPECT_EQ(type_name(list.items[3]), "None");
    EXPECT_TRUE(std::get<bool>(list.items[4]));
    EXPECT_EQ(text_of(list.items[5]), "ä");
    EXPECT_EQ(std::to_integer<int>(std::get<std::span<const std::byte>>(list.items[6])[0]), 0xFF);
    EXPECT_TRUE(sequence_of(list.items[7]).items.empty());
    EXPECT_EQ(integer_of(sequence_of(list.items[8]).items[1]), 2);
  }
}

TEST(pickle, reads_integers_of_every_length) {
  const std::vector<std::pair<std::string, int64_t>> table = {
      {"\x8a" + number(0, 1), 0},
      {"\x8a\x01\xff", -1},
      {"\x8a\x02\xff" + number(0, 1), 255},
      {"\x8a\x08" + number(uint64_t{1} << 63, 8), std::numeric_limits<int64_t>::min()},
      {"\x8b" + number(3, 4) + number(0x7FFFFF, 3), 0x7FFFFF},
      {"\x8b" + number(12, 4) + number(5, 8) + number(0, 4), 5},
      {"\x8a\x09" + number(~uint64_t{0}, 8) + "\xff", -1},
      {"J" + number(0x80000000, 4), -2147483648},
      {"M\xff\xff", 65535},
  };
  for (const auto& [opcodes, expected] : table) {
    const std::string file = pickle(opcodes);
    EXPECT_EQ(integer_of(parse(file).root()), expected);
  }
  const std::string file = pickle("\x8a\x09" + number(uint64_t{1} << 63, 8) + number(0, 1));
  EXPECT_THROW((void)parse(file), InputError);
}

TEST(pickle, keeps_the_first_place_and_the_last_value_of_a_key) {
  const std::string file = pickle(dictionary({{"a", integer(1)}, {"b", integer(2)}, {"a", integer(3)}}));
  const PickleDocument document = parse(file);
  EXPECT_EQ(counts_of(document.root()), (std::vector<std::pair<std::string, int64_t>>{{"a", 3}, {"b", 2}}));
}

TEST(pickle, shares_what_the_memo_shares) {
  const std::string file = pickle(
      "]q\x01(h\x01"
      "0"
      "](K\x05"
      "eq\x02h\x02"
      "e");
  const PickleDocument document = parse(file);
  const PickleSequence& list = sequence_of(document.root());
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_EQ(&sequence_of(list.items[0]), &sequence_of(list.items[1]));
}

TEST(pickle, reads_ordered_dictionaries_sets_sizes_and_names) {
  const std::string file =
      pickle("(" + global("collections", "OrderedDict") + "(](" + tuple({1, 2}) + tuple({3, 4}) + "etR" +  // pairs
             "}" + text("_metadata") + "}sb" +                                                             // attributes
             global("__builtin__", "set") +
             "(](K\x01K\x02"
             "etR" +
             global("torch", "Size") + "(" + tuple({3, 4}) + "tR" + global("torch", "float32") +
             global("torch", "device") + "(" + text("cuda") + integer(0) + "tRl");
  const PickleDocument document = parse(file);
  const PickleSequence& list = sequence_of(document.root());
  ASSERT_EQ(list.items.size(), 5u);
  EXPECT_EQ(dictionary_of(list.items[0]).kind, PickleDictionary::Kind::kOrdered);
  EXPECT_EQ(integer_of(*dictionary_of(list.items[0]).find(int64_t{3})), 4);
  EXPECT_EQ(type_name(list.items[1]), "set");
  EXPECT_EQ(type_name(list.items[2]), "tuple");
  EXPECT_EQ(integer_of(sequence_of(list.items[2]).items[1]), 4);
  EXPECT_EQ(std::get<const PickleName*>(list.items[3])->name, "torch.float32");
  EXPECT_EQ(std::get<const PickleName*>(list.items[4])->name, "torch.device");
  EXPECT_TRUE(std::get<const PickleName*>(list.items[4])->is_object);
}

TEST(pickle, keeps_unknown_objects_as_names_when_asked) {
  const std::string made = global("omegaconf.listconfig", "ListConfig") + ")\x81}" + text("_content") + "]sb";
  const std::string file = pickle(dictionary({{"config", made}, {"n", integer(1)}}));
  try {
    (void)parse(file);
    ADD_FAILURE() << "was accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("omegaconf.listconfig.ListConfig"));
  }
  const PickleDocument document = parse(file, {.keep_unknown_names = true, .storage = {}});
  const auto* const name = std::get<const PickleName*>(*dictionary_of(document.root()).find("config"));
  EXPECT_EQ(name->name, "omegaconf.listconfig.ListConfig");
  EXPECT_TRUE(name->is_object);
  EXPECT_EQ(integer_of(*dictionary_of(document.root()).find("n")), 1);
}

TEST(pickle, is_read_from_disk) {
  const ScratchFolder folder;
  PickleDocument document = PickleDocument::open(folder.write("a.pckl", pickle(text("hello"))));
  const PickleDocument moved = std::move(document);
  EXPECT_EQ(text_of(moved.root()), "hello");
  EXPECT_THROW((void)PickleDocument::open(folder / "absent.pckl"), InputError);
}

std::string repeated(const std::string& part, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += part;
  return all;
}

TEST(pickle, refuses_everything_else_and_says_why) {
  struct Malformed {
    std::string what;
    std::string file;
    std::string complaint;
  };
  const std::string one = "m";  // stands for a key of storage, of four floats
  const std::vector<Malformed> table = {
      {"empty", "", "cut short"},
      {"no end", "\x80\x02N", "cut short"},
      {"bytes behind the end", "N.N", "1 more bytes"},
      {"nothing at the end", ".", "1 values on the stack"},
      {"two values", "NN.", "one value"},
      {"a mark left over", "(N.", "one value"},
      {"unknown opcode", "\xee.", "0xEE"},
      {"text file", "hello.", "nothing of the file was executed"},
      {"protocol 6", "\x80\x06N.", "protocol"},
      {"frame beyond the end", "\x80\x04\x95" + number(100, 8) + "N.", "frame"},
      {"os.system", pickle(global("os", "system") + "(" + text("true") + "tR"), "os.system"},
      {"posix.system in protocol 4", "\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"},
      {"builtins.eval", pickle(global("builtins", "eval")), "builtins.eval"},
      {"nested name",
       "\x80\x04\x8c\x0b"
       "collections\x8c\x10OrderedDict.get_\x93.",
       "not on the list"},
      {"name with a line break", "\x80\x04\x8c\x01\n\x8c\x01\n\x93.", "\\n.\\n"},
      {"STACK_GLOBAL of numbers", "\x80\x04K\x01K\x02\x93.", "two strings"},
      {"INST", "(ios\nsystem\n.", "INST"},
      {"OBJ", "(" + global("collections", "OrderedDict") + "o.", "OBJ"},
      {"NEWOBJ_EX", global("collections", "OrderedDict") + ")}\x92.", "NEWOBJ_EX"},
      {"EXT1", "\x82\x01.", "EXT1"},
      {"PERSID", "Pa\n.", "PERSID"},
      {"BYTEARRAY8", "\x96" + number(0, 8) + ".", "BYTEARRAY8"},
      {"NEXT_BUFFER", "\x97.", "NEXT_BUFFER"},
      {"text of Python 2", "S'a'\n.", "STRING"},
      {"call of a dict", "})R.", "a name to call"},
      {"call with a list", global("collections", "OrderedDict") + "]R.", "a tuple of arguments"},
      {"call of a type", global("torch", "FloatStorage") + ")R.", "a call of torch.FloatStorage"},
      {"new tensor", global("torch._utils", "_rebuild_tensor_v2") + ")\x81.", "_rebuild_tensor_v2"},
      {"Counter of a number", global("collections", "Counter") + "(K\x01tR.", "a dict or a list of pairs"},
      {"OrderedDict of triples", global("collections", "OrderedDict") + "(](" + tuple({1, 2, 3}) + "etR.", "pairs"},
      {"set of a number", global("builtins", "set") + "(K\x01tR.", "a list"},
      {"encode to UTF-7", global("_codecs", "encode") + text("a") + text("utf7") + "\x86R.", "latin1"},
      {"encode beyond Latin-1", global("_codecs", "encode") + text("€") + text("latin1") + "\x86R.", "U+00FF"},
      {"build of a list", "]}b.", "attributes"},
      {"build with a number",
       "}K\x01"
       "b.",
       "a dict of attributes"},
      {"pop of nothing", "0.", "on the stack"},
      {"pop across a mark", "K\x01(\x85.", "on the stack"},
      {"tuple without mark", "t.", "a mark"},
      {"memo that is empty", "h\x05.", "memo 5"},
      {"memo beyond 64 bits", "g99999999999999999999\n.", "64 bits"},
      {"negative memo", "g-1\n.", "64 bits"},
      {"append to a tuple",
       ")K\x01"
       "a.",
       "list to put items"},
      {"append to a dict",
       "}K\x01"
       "a.",
       "list to put items"},
      {"items of a list", "]K\x01K\x02s.", "a dict to put items"},
      {"add to a list", "](K\x01\x90.", "set to put items"},
      {"key without value", "}(K\x01u.", "a value for each key"},
      {"key that is a list", "}]K\x01s.", "keys of type str or int"},
      {"key that is None", "}NK\x01s.", "keys of type str or int"},
      {"integer beyond 64 bits", "I9223372036854775808\n.", "64 bits"},
      {"long beyond 64 bits", "L-9223372036854775809L\n.", "64 bits"},
      {"no integer", "I1x\n.", "a number"},
      {"empty integer", "I\n.", "a number"},
      {"no float", "Fabc\n.", "a number"},
      {"float beyond the end", "G123.", "cut short"},
      {"long text", "X" + number(0xFFFFFFFF, 4) + "a.", "cut short"},
      {"longest text", "\x8d" + number(~uint64_t{0}, 8) + "a.", "cut short"},
      {"longest bytes", "\x8e" + number(~uint64_t{0}, 8) + "a.", "cut short"},
      {"long integer", "\x8b" + number(0xFFFFFFFF, 4) + "a.", "cut short"},
      {"text that is not UTF-8", "X" + number(1, 4) + "\xff.", "UTF-8"},
      {"lone surrogate", "X" + number(3, 4) + "\xed\xa0\x80.", "UTF-8"},
      {"escaped surrogate", "V\\ud800\n.", "a character"},
      {"short escape", "V\\u12\n.", "a character"},
      {"line without end", "Vabc", "a line"},
      {"list that holds itself",
       "]q\x01h\x01"
       "a.",
       "contains itself"},
      {"dict that holds itself", "}q\x01K\x01h\x01s.", "contains itself"},
      {"list in a tuple in itself",
       "]q\x01h\x01\x85"
       "a.",
       "contains itself"},
      {"deep lists", repeated("]", 300) + repeated("a", 299) + ".", "inside each other"},
      {"deep tuples", ")" + repeated("\x85", 100'000) + ".", "inside each other"},
      // Lists of the list before, twice: 2^100 values in 700 bytes.
      {"repeated lists",
       "]" +
           repeated("q\x01"
                    "0](h\x01h\x01"
                    "e",
                    100) +
           ".",
       "by repetition"},
      // Each copy of the dictionary below costs six bytes.
      {"repeated copies",
       dictionary({}) + "q\x01" +
           [] {
             std::string items = "(";
             for (int i = 0; i < 60'000; ++i) items.append("J").append(number(i, 4)).append("N");
             return items + "u0";
           }() +
           global("collections", "OrderedDict") +
           "q\x02"
           "0(" +
           repeated("h\x02h\x01\x85R", 400) + "t.",
       "more copies than values"},
      {"storage outside of a checkpoint", storage("FloatStorage", one, 4) + ".", "a storage of a torch checkpoint"},
      {"persistent id of text", text("a") + "Q.", "tuple of five"},
      {"persistent id with another word", "(" + text("module") + "NNNNtQ.", "\"storage\""},
      {"storage of an unlisted type", storage("ComplexFloatStorage", one, 4) + ".", "torch.ComplexFloatStorage"},
  };
  for (const Malformed& malformed : table) {
    try {
      (void)PickleDocument::parse(as_byte_span(malformed.file), "bad.pckl");
      ADD_FAILURE() << malformed.what << " was accepted";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(malformed.complaint)) << malformed.what;
      EXPECT_THAT(error.what(), HasSubstr("bad.pckl")) << malformed.what;
    }
  }
}

TEST(pickle, refuses_tensors_that_leave_their_storage) {
  const std::string numbers(16, '\1');  // four floats
  const PickleOptions options{.storage = [&](std::string_view) { return as_byte_span(numbers); }};
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  struct View {
    std::string what;
    int64_t offset;
    std::vector<int64_t> shape;
    std::vector<int64_t> strides;
    std::string complaint;  // empty: accepted
  };
  const std::vector<View> table = {
      {"whole", 0, {2, 2}, {2, 1}, ""},
      {"scalar", 3, {}, {}, ""},
      {"transposed", 0, {2, 2}, {1, 2}, ""},
      {"expanded", 3, {5, 1}, {0, 1}, ""},
      {"empty at the end", 4, {0, 7}, {7, 1}, ""},
      {"unused stride", 0, {1, 4}, {kLargest, 1}, ""},
      {"one too long", 0, {5}, {1}, "at place 4"},
      {"one too far", 1, {4}, {1}, "at place 4"},
      {"scalar behind the end", 4, {}, {}, "at place 4"},
      {"offset beyond", 5, {0}, {1}, "offset 5"},
      {"negative offset", -1, {1}, {1}, "offset -1"},
      {"negative size", 0, {-1}, {1}, "got -1"},
      {"negative stride", 3, {4}, {-1}, "got -1"},
      {"more sizes", 0, {2, 2}, {1}, "a stride for each"},
      {"more strides", 0, {2}, {1, 1}, "a stride for each"},
      {"stride overflows", 0, {3}, {kLargest}, "beyond 2^63"},
      {"sum overflows", 0, {2, 2}, {kLargest, kLargest}, "beyond 2^63"},
      {"offset overflows", 4, {2}, {kLargest}, "beyond 2^63"},
      {"count overflows", 0, {int64_t{1} << 32, int64_t{1} << 32}, {0, 0}, "at most 2^63"},
      {"bytes overflow", 0, {int64_t{1} << 61}, {0}, "at most 2^63"},
      {"count overflows beside 0", 0, {0, int64_t{1} << 32, int64_t{1} << 32}, {0, 0, 0}, "at most 2^63"},
      {"largest sizes", 0, {kLargest, kLargest}, {1, 1}, ""},  // refused, whichever is found first
  };
  for (const View& view : table) {
    const std::string file = pickle(tensor(storage("FloatStorage", "0", 4), view.offset, view.shape, view.strides));
    try {
      (void)PickleDocument::parse(as_byte_span(file), "views", options);
      EXPECT_TRUE(view.complaint.empty() && view.what != "largest sizes") << view.what << " was accepted";
    } catch (const InputError& error) {
      EXPECT_TRUE(!view.complaint.empty() || view.what == "largest sizes") << view.what << ": " << error.what();
      EXPECT_THAT(error.what(), HasSubstr(view.complaint)) << view.what;
    }
  }
  const std::vector<std::pair<std::string, std::string>> others = {
      {storage("FloatStorage", "0", 3), "3 elements"},
      {storage("FloatStorage", "0", -4), "-4 elements"},
      {storage("FloatStorage", "0", int64_t{1} << 62), "elements"},
      {storage("DoubleStorage", "0", 4), "4 elements of 8 bytes"},
      {tensor("N", 0, {1}, {1}), "a storage for a tensor"},
      {tensor(storage("FloatStorage", "0", 4), 0, std::vector<int64_t>(65, 1), {}), "64 dimensions"},
      {global("torch._utils", "_rebuild_tensor_v2") + ")R", "arguments"},
      {global("torch._utils", "_rebuild_parameter") + "(N\x88}tR", "a tensor"},
      {global("torch._utils", "_rebuild_tensor_v2") + "(" + storage("FloatStorage", "0", 4) + "NNNNNtR", "a tuple"},
      {global("torch._utils", "_rebuild_tensor_v2") + "(" + storage("FloatStorage", "0", 4) + "N" + tuple({1}) +
           tuple({1}) + "NNtR",
       "an int"},
  };
  for (const auto& [opcodes, complaint] : others) {
    const std::string file = pickle(opcodes);
    try {
      (void)PickleDocument::parse(as_byte_span(file), "views", options);
      ADD_FAILURE() << complaint << ": was accepted";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(complaint));
    }
  }
}

TEST(pickle, survives_changed_missing_and_added_bytes) {
  const std::string numbers(16, '\1');
  const PickleOptions options{.storage = [&](std::string_view) { return as_byte_span(numbers); }};
  const std::string good =
      pickle(dictionary({{"a", tensor(storage("FloatStorage", "0", 4), 0, {2, 2}, {2, 1})},
                         {"b", "](K\x01G" + number(0, 8) +
                                   "\x88N\x8c\x02xyq\x07h\x07"
                                   "e"},
                         {"c", global("collections", "Counter") + "(}" + text("n") + integer(5) + "stR"}}));
  (void)PickleDocument::parse(as_byte_span(good), "good", options);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW((void)PickleDocument::parse(as_byte_span(good.substr(0, size)), "cut", options), InputError) << size;
  }
  constexpr uint64_t kSeed = 21;
  Random random(kSeed);
  const std::string_view likely("()]}eastuRQqhcNKXb.01\x81\x85\x88\x8a\x94\xff\0", 27);
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string file = good;
    const uint64_t num_changes = 1 + random.below(4);
    for (uint64_t i = 0; i < num_changes; ++i) {
      const size_t position = random.below(file.size());
      const char c = random.below(2) == 0 ? likely[random.below(likely.size())] : static_cast<char>(random());
      switch (random.below(4)) {
        case 0:
          file.insert(position, 1, c);
          break;
        case 1:
          file.erase(position, 1);
          break;
        default:
          file[position] = c;
      }
    }
    try {
      (void)PickleDocument::parse(as_byte_span(file), "mutated",
                                  {.keep_unknown_names = trial % 2 == 0, .storage = options.storage});
    } catch (const InputError& error) {
      ASSERT_NE(std::string(error.what()), "") << "seed " << kSeed << ", trial " << trial;
    }
  }
}

}  // namespace
}  // namespace verbatim
