#include "formats/torch_zip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
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
using ::testing::ElementsAre;
using testing::global;
using ::testing::HasSubstr;
using testing::integer;
using ::testing::IsEmpty;
using testing::number;
using testing::pickle;
using testing::ScratchFolder;
using testing::storage;
using testing::tensor;
using testing::text;
using testing::torch_zip_bytes;
using testing::tuple;
using testing::zip_bytes;

const std::filesystem::path kGolden = std::filesystem::path(VERBATIM_SHARED) / "golden/tfree";

std::string bytes_of(const TensorView& view) {
  return {reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size()};
}

template <class T>
std::string packed(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

TEST(torch_zip, reads_the_checkpoint_of_the_reference_bit_for_bit) {
  if (!std::filesystem::exists(kGolden / "checkpoint_b")) GTEST_SKIP() << kGolden << " is absent";
  const TorchZip zip = TorchZip::open(kGolden / "checkpoint_b/transformer/transformer.pt");
  const TorchTensors tensors = zip.tensors();
  const SafetensorsReader expected = SafetensorsReader::open(kGolden / "model_b/model.safetensors");
  ASSERT_EQ(tensors.views.size(), expected.tensors().size());
  EXPECT_THAT(tensors.copies, IsEmpty());
  for (const auto& [name, view] : expected.tensors()) {
    const auto found = tensors.views.find(name);
    ASSERT_NE(found, tensors.views.end()) << name;
    EXPECT_EQ(found->second.dtype, view.dtype) << name;
    EXPECT_EQ(found->second.shape, view.shape) << name;
    EXPECT_TRUE(std::ranges::equal(found->second.bytes, view.bytes)) << name;
  }
}

TEST(torch_zip, reads_the_cached_dictionary_of_the_reference) {
  if (!std::filesystem::exists(kGolden / "cached_dictionary")) GTEST_SKIP() << kGolden << " is absent";
  const TorchZip zip = TorchZip::open(kGolden / "cached_dictionary/tokenizer.pt");
  const auto& root = *std::get<const PickleDictionary*>(zip.root());
  ASSERT_NE(root.find("trigram_to_vocab"), nullptr);
  EXPECT_EQ(type_name(*root.find("trigram_to_vocab")), "None");
  const auto& words = *std::get<const PickleSequence*>(*root.find("words"));
  EXPECT_EQ(words.items.size(), 146u);
  const auto& counter = *std::get<const PickleDictionary*>(*root.find("word_counter_full"));
  EXPECT_EQ(counter.entries.size(), words.items.size());
  // Every word of the list has its count.
  for (const PickleValue& word : words.items) EXPECT_NE(counter.find(std::get<std::string_view>(word)), nullptr);

  const TorchTensors tensors = zip.tensors();
  std::vector<std::string> names;
  for (const auto& [name, view] : tensors.views) names.push_back(name + " " + view.dtype);
  EXPECT_THAT(names, ElementsAre("word_counts I64", "word_trigram_counts I64", "words_to_weights_token_indices I64",
                                 "words_to_weights_token_indices_edges I64", "words_to_weights_word_indices I64",
                                 "words_to_weights_word_indices_edges I64"));
  EXPECT_THAT(tensors.views.at("word_trigram_counts").shape, ElementsAre(146));
  EXPECT_THAT(tensors.views.at("words_to_weights_word_indices").shape, ElementsAre(887));
}

TEST(torch_zip, reads_a_file_built_by_hand) {
  const std::vector<float> floats = {0, 1, 2, 3, 4, 5};
  const std::vector<int64_t> longs = {7, -8};
  const std::string file = torch_zip_bytes(
      dictionary({{"model", dictionary({{"norm.weight", tensor(storage("FloatStorage", "0", 6), 1, {2}, {1})},
                                        {"head", global("torch._utils", "_rebuild_parameter") + "(" +
                                                     tensor(storage("FloatStorage", "0", 6), 0, {2, 3}, {3, 1}) +
                                                     "\x88" + global("collections", "OrderedDict") + ")RtR"}})},
                  {"ids", "](" + tensor(storage("LongStorage", "1", 2), 1, {}, {}) + "e"},
                  {"step", integer(12)}}),
      {packed(floats), packed(longs)});
  const TorchZip zip = TorchZip::parse(as_byte_span(file), "hand");
  const TorchTensors all = zip.tensors();
  std::vector<std::string> names;
  for (const auto& [name, view] : all.views) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("ids.0", "model.head", "model.norm.weight"));
  EXPECT_EQ(bytes_of(all.views.at("model.norm.weight")), packed<float>({1, 2}));
  EXPECT_EQ(bytes_of(all.views.at("ids.0")), packed<int64_t>({-8}));
  EXPECT_THAT(all.views.at("ids.0").shape, IsEmpty());
  EXPECT_THAT(all.copies, IsEmpty());
  // Contiguous tensors are views into the file.
  const auto* const place = reinterpret_cast<const char*>(all.views.at("model.head").bytes.data());
  EXPECT_TRUE(place >= file.data() && place < file.data() + file.size());

  const TorchTensors model = zip.tensors("model");
  EXPECT_EQ(model.views.size(), 2u);
  EXPECT_THAT(model.views.at("head").shape, ElementsAre(2, 3));
  EXPECT_EQ(zip.tensors("model.norm.weight").views.size(), 1u);
  EXPECT_EQ(std::get<int64_t>(*std::get<const PickleDictionary*>(zip.root())->find("step")), 12);
  try {
    (void)zip.tensors("modle");
    ADD_FAILURE() << "was accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'model'"));
  }
}

TEST(torch_zip, knows_all_types) {
  const std::vector<std::pair<std::string, std::string>> types = {
      {"DoubleStorage", "F64"}, {"FloatStorage", "F32"}, {"HalfStorage", "F16"},  {"BFloat16Storage", "BF16"},
      {"LongStorage", "I64"},   {"IntStorage", "I32"},   {"ShortStorage", "I16"}, {"CharStorage", "I8"},
      {"ByteStorage", "U8"},    {"BoolStorage", "BOOL"}};
  const std::string data(24, '\1');
  for (const auto& [type, dtype] : types) {
    const auto count = static_cast<int64_t>(data.size() / dtype_bytes(dtype));
    const std::string file =
        torch_zip_bytes(dictionary({{"t", tensor(storage(type, "0", count), 0, {count}, {1})}}), {data});
    const TorchZip zip = TorchZip::parse(as_byte_span(file), type);
    EXPECT_EQ(zip.tensors().views.at("t").dtype, dtype);
    EXPECT_EQ(bytes_of(zip.tensors().views.at("t")), data);
  }
  // The function for types without a storage of their own.
  const std::string untyped = global("torch._utils", "_rebuild_tensor_v3") + "((" + text("storage") +
                              global("torch.storage", "UntypedStorage") + text("0") + text("cpu") + integer(24) + "tQ" +
                              integer(0) + tuple({12}) + tuple({1}) + "\x89}" + global("torch", "uint16") + "tR";
  const std::string file = torch_zip_bytes(dictionary({{"t", untyped}}), {data});
  EXPECT_EQ(TorchZip::parse(as_byte_span(file), "v3").tensors().views.at("t").dtype, "U16");
}

TEST(torch_zip, copies_tensors_that_do_not_lie_contiguous) {
  const std::string file =
      torch_zip_bytes(dictionary({{"transposed", tensor(storage("FloatStorage", "0", 6), 0, {3, 2}, {1, 3})},
                                  {"column", tensor(storage("FloatStorage", "0", 6), 1, {2}, {3})},
                                  {"expanded", tensor(storage("FloatStorage", "0", 6), 5, {2, 2}, {0, 0})}}),
                      {packed<float>({0, 1, 2, 3, 4, 5})});
  TorchTensors tensors;
  {
    TorchTensors first = TorchZip::parse(as_byte_span(file), "hand").tensors();
    tensors = std::move(first);
  }
  EXPECT_EQ(tensors.copies.size(), 3u);
  EXPECT_EQ(bytes_of(tensors.views.at("transposed")), packed<float>({0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(bytes_of(tensors.views.at("column")), packed<float>({1, 4}));
  EXPECT_EQ(bytes_of(tensors.views.at("expanded")), packed<float>({5, 5, 5, 5}));
}

TEST(torch_zip, refuses_to_fill_the_memory_with_copies) {
  const std::string file = torch_zip_bytes(
      dictionary({{"t", tensor(storage("FloatStorage", "0", 1), 0, {int64_t{1} << 40}, {0})}}), {packed<float>({1})});
  const TorchZip zip = TorchZip::parse(as_byte_span(file), "hand");
  EXPECT_THROW((void)zip.tensors(), InputError);
}

TEST(torch_zip, refuses_two_tensors_of_one_name) {
  const std::string scalar = tensor(storage("FloatStorage", "0", 1), 0, {}, {});
  const std::string file =
      torch_zip_bytes(dictionary({{"a.b", scalar}, {"a", dictionary({{"b", scalar}})}}), {packed<float>({1})});
  const TorchZip zip = TorchZip::parse(as_byte_span(file), "hand");
  EXPECT_THROW((void)zip.tensors(), InputError);
  EXPECT_EQ(zip.tensors("a").views.size(), 1u);
  EXPECT_EQ(zip.tensors("a.b").views.size(), 1u);
}

std::string good_file(const testing::ZipOptions& options = {}) {
  return torch_zip_bytes(dictionary({{"a", tensor(storage("FloatStorage", "0", 2), 0, {2}, {1})},
                                     {"b", tensor(storage("ByteStorage", "1", 3), 1, {2}, {1})}}),
                         {packed<float>({1, 2}), "xyz"}, options);
}

TEST(torch_zip, reads_archives_with_64_bit_sizes_comments_and_wrong_checksums) {
  for (const testing::ZipOptions& options : std::vector<testing::ZipOptions>{
           {.zip64 = true}, {.comment = "PK\x05\x06 a comment"}, {.zip64 = true, .comment = "c"}, {.checksum = 77}}) {
    const std::string file = good_file(options);
    const TorchZip zip = TorchZip::parse(as_byte_span(file), "hand");
    EXPECT_EQ(bytes_of(zip.tensors().views.at("b")), "yz");
  }
}

TEST(torch_zip, is_read_from_disk_and_moved) {
  const ScratchFolder folder;
  TorchZip zip = TorchZip::open(folder.write("a.pt", good_file()));
  const TorchZip moved = std::move(zip);
  EXPECT_EQ(bytes_of(moved.tensors().views.at("b")), "yz");
  EXPECT_THROW((void)TorchZip::open(folder / "absent.pt"), InputError);
  EXPECT_THROW((void)TorchZip::open(folder.write("empty.pt", "")), InputError);
}

// `file` with `bytes` written over what is at `place`.
std::string patched(std::string file, size_t place, const std::string& bytes) {
  return file.replace(place, bytes.size(), bytes);
}

TEST(torch_zip, refuses_every_malformed_file_and_says_why) {
  struct Malformed {
    std::string what;
    std::string file;
    std::string complaint;
  };
  const std::string good = good_file();
  const std::string good64 = good_file({.zip64 = true});
  const size_t end = good.size() - 22;
  const size_t directory = good.find("PK\x01\x02");
  const size_t second = good.find("PK\x01\x02", directory + 1);
  const size_t end64 = good64.find("PK\x06\x06");
  const size_t directory64 = good64.find("PK\x01\x02");
  const std::string data = pickle("N");
  const std::vector<Malformed> table = {
      {"empty", "", "a ZIP archive"},
      {"text", "hello", "a ZIP archive"},
      {"older container",
       "\x80\x02\x8a\x0al\xfc\x9c"
       "F\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
       "an older one"},
      {"oldest container", std::string(257, 'a') + "ustar" + std::string(300, 'a'), "an older one"},
      {"plain pickle", pickle("N"), "a plain pickle"},
      {"bytes behind the end", good + "x", "a ZIP archive"},
      {"second disk", patched(good, end + 4, number(1, 2)), "in one part"},
      {"directory on a second disk", patched(good, end + 6, number(1, 2)), "in one part"},
      {"fewer files here", patched(good, end + 8, number(1, 2)), "in one part"},
      {"more files than listed", patched(good, end + 8, number(9, 2) + number(9, 2)), "cut short"},
      {"fewer files than listed", patched(good, end + 8, number(1, 2) + number(1, 2)), "a directory of"},
      {"directory beyond the end", patched(good, end + 16, number(1 << 30, 4)), "the directory of"},
      {"long directory", patched(good, end + 12, number(0xFFFFFFF0, 4)), "the directory of"},
      {"zip64 without a record", patched(good, end + 16, number(0xFFFFFFFF, 4)), "zip64"},
      {"directory of something else", patched(good, directory, "PK\x01\x03"), "an entry of the directory"},
      {"long name", patched(good, directory + 28, number(0xFFFF, 2)), "the name of an entry"},
      {"long extra field", patched(good, directory + 30, number(0xFFFF, 2)), "the name of an entry"},
      {"compressed", zip_bytes({{.name = "m/data.pkl", .data = data, .method = 8}}), "compression method 8"},
      {"encrypted", zip_bytes({{.name = "m/data.pkl", .data = data, .flags = 1}}), "encrypted"},
      {"two sizes", patched(good, directory + 24, number(1, 4)), "as many stored bytes"},
      {"size beyond the directory", patched(good, directory + 20, number(1 << 20, 4) + number(1 << 20, 4)),
       "the file \"m/data.pkl\""},
      {"header beyond the end", patched(good, directory + 42, number(1 << 30, 4)), "the header of"},
      {"header elsewhere", patched(good, directory + 42, number(1, 4)), "the header of"},
      {"header of another file", patched(good, second + 42, number(0, 4)), "the same name"},
      {"another name in the header", zip_bytes({{.name = "m/data.pkl", .data = data, .local_name = "n/data.pkl"}}),
       "the same name"},
      {"another method in the header", patched(good, 8, number(8, 2)), "method 8"},
      {"long name in the header", patched(good, 26, number(0xFFFF, 2)), "the name of"},
      {"the same name twice", zip_bytes({{.name = "m/data.pkl", .data = data}, {.name = "m/data.pkl", .data = data}}),
       "got it twice"},
      {"overlap", patched(good, directory + 20, number(200, 4) + number(200, 4)), ""},
      {"zip64 record beyond the end", patched(good64, good64.size() - 22 - 12, number(~uint64_t{0} - 3, 8)), "zip64"},
      {"zip64 record of something else", patched(good64, end64, "PK\x06\x08"), "zip64"},
      {"zip64 directory overflows", patched(good64, end64 + 40, number(~uint64_t{0} - 3, 8)), "the directory of"},
      {"zip64 count of files", patched(good64, end64 + 24, number(~uint64_t{0}, 8) + number(~uint64_t{0}, 8)),
       "cut short"},
      {"zip64 size of a file",
       patched(good64, directory64 + 46 + 10 + 4, number(~uint64_t{0}, 8) + number(~uint64_t{0}, 8)),
       "the file \"m/data.pkl\""},
      {"zip64 field cut short", patched(good64, directory64 + 46 + 10 + 2, number(16, 2)), "zip64 field"},
      {"no pickle", zip_bytes({{.name = "m/version", .data = "3\n"}}), "got 0 among 1 files"},
      {"no files", zip_bytes({}), "got 0 among 0 files"},
      {"two pickles", zip_bytes({{.name = "a/data.pkl", .data = data}, {.name = "b/data.pkl", .data = data}}),
       "got 2 among 2"},
      {"TorchScript", zip_bytes({{.name = "m/data.pkl", .data = data}, {.name = "m/constants.pkl", .data = data}}),
       "TorchScript"},
      {"big endian", zip_bytes({{.name = "m/data.pkl", .data = data}, {.name = "m/byteorder", .data = "big"}}),
       "byte order \"big\""},
      {"missing storage", torch_zip_bytes(storage("FloatStorage", "5", 2), {"12345678"}), "m/data/5"},
      {"storage outside", torch_zip_bytes(storage("FloatStorage", "../version", 2), {"12345678"}), "m/data/../version"},
      {"short storage", torch_zip_bytes(storage("FloatStorage", "0", 3), {"12345678"}), "3 elements of 4 bytes"},
      {"foreign global", torch_zip_bytes(global("os", "system") + "(" + text("true") + "tR", {}), "os.system"},
  };
  for (const Malformed& malformed : table) {
    try {
      (void)TorchZip::parse(as_byte_span(malformed.file), "bad.pt");
      ADD_FAILURE() << malformed.what << " was accepted";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(malformed.complaint)) << malformed.what;
      EXPECT_THAT(error.what(), HasSubstr("bad.pt")) << malformed.what;
    }
  }
}

TEST(torch_zip, refuses_files_inside_other_files) {
  // The second file lies, header and all, in the bytes of the first.
  const std::string inner = "PK\x03\x04" + number(20, 2) + number(0, 20) + number(0, 4) + std::string();
  std::string outer =
      zip_bytes({{.name = "m/data.pkl", .data = pickle("N") + std::string(100, ' ')}, {.name = "m/x", .data = "1234"}});
  const size_t hidden = outer.find(".   ") + 1;
  const size_t header = outer.find("PK\x03\x04", 1);
  const size_t entry = outer.find("PK\x01\x02", outer.find("PK\x01\x02") + 1);
  outer.replace(hidden, 30 + 3 + 10 + 4, outer.substr(header, 30 + 3 + 10 + 4));
  outer.replace(entry + 42, 4, number(hidden, 4));
  try {
    (void)TorchZip::parse(as_byte_span(outer), "bad.pt");
    ADD_FAILURE() << "was accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("do not overlap"));
  }
}

// Every view that is accepted lies inside the file or in a copy.
void expect_sound_or_refused(const std::string& file, const std::string& what) {
  try {
    const TorchTensors tensors = TorchZip::parse(as_byte_span(file), "mutated").tensors();
    for (const auto& [name, view] : tensors.views) {
      uint64_t expected = dtype_bytes(view.dtype);
      for (const int64_t size : view.shape) expected *= static_cast<uint64_t>(size);
      ASSERT_EQ(view.bytes.size(), expected) << what;
      if (!tensors.copies.empty() || view.bytes.empty()) continue;
      const auto* const begin = reinterpret_cast<const char*>(view.bytes.data());
      ASSERT_TRUE(begin >= file.data() && begin + view.bytes.size() <= file.data() + file.size()) << what;
    }
  } catch (const InputError& error) {
    ASSERT_NE(std::string(error.what()), "") << what;
  }
}

TEST(torch_zip, survives_changed_and_missing_bytes) {
  for (const bool zip64 : {false, true}) {
    const std::string good = good_file({.zip64 = zip64});
    for (size_t size = 0; size < good.size(); ++size) {
      EXPECT_THROW((void)TorchZip::parse(as_byte_span(good.substr(0, size)), "cut"), InputError) << size;
    }
    constexpr uint64_t kSeed = 22;
    Random random(kSeed);
    for (int trial = 0; trial < 20'000; ++trial) {
      std::string file = good;
      for (uint64_t i = 0; i <= random.below(4); ++i) file[random.below(file.size())] = static_cast<char>(random());
      expect_sound_or_refused(file, "seed " + std::to_string(kSeed) + ", trial " + std::to_string(trial));
      if (HasFatalFailure()) return;
    }
  }
}

TEST(torch_zip, refuses_the_checkpoint_of_the_reference_cut_short_anywhere) {
  if (!std::filesystem::exists(kGolden / "cached_dictionary")) GTEST_SKIP() << kGolden << " is absent";
  const std::string whole = ScratchFolder::read(kGolden / "cached_dictionary/tokenizer.pt");
  for (size_t size = 0; size < whole.size(); size += 64) {
    EXPECT_THROW((void)TorchZip::parse(as_byte_span(whole).first(size), "cut"), InputError) << size;
  }
}

}  // namespace
}  // namespace verbatim
