#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/scratch_folder.h"
#include "formats/safetensors_bytes.h"

namespace verbatim {
namespace {

using testing::as_byte_span;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using testing::safetensors_bytes;
using testing::ScratchFolder;
using ::testing::SizeIs;
using ::testing::ThrowsMessage;

std::string text_of(const TensorView& view) {
  return {reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size()};
}

TensorView view_of(std::string dtype, std::vector<int64_t> shape, std::string_view bytes) {
  return {.dtype = std::move(dtype), .shape = std::move(shape), .bytes = as_byte_span(bytes)};
}

TEST(safetensors, knows_the_sizes_of_all_types) {
  for (const char* name : {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"}) EXPECT_EQ(dtype_bytes(name), 1u) << name;
  for (const char* name : {"I16", "U16", "F16", "BF16"}) EXPECT_EQ(dtype_bytes(name), 2u) << name;
  for (const char* name : {"I32", "U32", "F32"}) EXPECT_EQ(dtype_bytes(name), 4u) << name;
  for (const char* name : {"F64", "I64", "U64"}) EXPECT_EQ(dtype_bytes(name), 8u) << name;
  EXPECT_THAT([] { (void)dtype_bytes("F128"); }, ThrowsMessage<InputError>(HasSubstr("\"F128\"")));
}

TEST(safetensors, reads_a_file_built_by_hand) {
  const std::string file = safetensors_bytes(
      R"({"__metadata__":{"format":"pt","note":"\u00e4"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[2,10]},)"
      R"("s":{"shape":[],"data_offsets":[0,2],"dtype":"BF16"},"e":{"dtype":"I64","shape":[3,0],"data_offsets":[10,10]}}    )",
      std::string_view("\x80\x3f\x00\x00\x80\x3f\x00\x00\x00\xc0", 10));
  const SafetensorsReader reader = SafetensorsReader::parse(as_byte_span(file), "hand");
  ASSERT_EQ(reader.tensors().size(), 3u);
  EXPECT_THAT(reader.metadata(), ElementsAre(Pair("format", "pt"), Pair("note", "\xc3\xa4")));

  const TensorView& w = reader.tensor("w");
  EXPECT_EQ(w.dtype, "F32");
  EXPECT_THAT(w.shape, ElementsAre(1, 2));
  float numbers[2];
  ASSERT_EQ(w.bytes.size(), sizeof(numbers));
  std::memcpy(numbers, w.bytes.data(), sizeof(numbers));
  EXPECT_EQ(numbers[0], 1.0f);
  EXPECT_EQ(numbers[1], -2.0f);

  EXPECT_THAT(reader.tensor("s").shape, IsEmpty());
  EXPECT_EQ(text_of(reader.tensor("s")), "\x80\x3f");
  EXPECT_THAT(reader.tensor("e").shape, ElementsAre(3, 0));
  EXPECT_TRUE(reader.tensor("e").bytes.empty());
  EXPECT_TRUE(reader.contains("w"));
  EXPECT_FALSE(reader.contains("__metadata__"));
}

TEST(safetensors, accepts_a_file_without_tensors_or_with_null_metadata) {
  EXPECT_THAT(SafetensorsReader::parse(as_byte_span(safetensors_bytes("{}", "")), "empty").tensors(), IsEmpty());
  const std::string file = safetensors_bytes(R"({"__metadata__":null})", "");
  EXPECT_THAT(SafetensorsReader::parse(as_byte_span(file), "null").metadata(), IsEmpty());
}

TEST(safetensors, names_the_nearest_tensors_when_one_is_missing) {
  const std::string file =
      safetensors_bytes(R"({"model.norm.weight":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x");
  const SafetensorsReader reader = SafetensorsReader::parse(as_byte_span(file), "near");
  EXPECT_THAT([&] { (void)reader.tensor("model.norm.wieght"); },
              ThrowsMessage<InputError>(HasSubstr("did you mean 'model.norm.weight'")));
}

// Put together by hand from the rules of the reference writer: later types first, then names, no blanks, spaces up to a
// multiple of 8.
TEST(safetensors, writes_exactly_the_bytes_of_the_format) {
  const ScratchFolder folder;
  const std::string data = "0123456789abcdef";
  const std::string_view view = data;
  write_safetensors(folder / "a.safetensors", {{"b", view_of("F32", {2, 1}, view.substr(0, 8))},
                                               {"a", view_of("F32", {1}, view.substr(0, 4))},
                                               {"h", view_of("BF16", {}, view.substr(2, 2))},
                                               {"i", view_of("I64", {1}, view.substr(8, 8))},
                                               {"empty", view_of("U8", {0}, "")}});
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[12,20]},)"
      R"("h":{"dtype":"BF16","shape":[],"data_offsets":[20,22]},"empty":{"dtype":"U8","shape":[0],"data_offsets":[22,22]}})";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(ScratchFolder::read(folder / "a.safetensors"), safetensors_bytes(header + padding,
                                                                             "89abcdef"
                                                                             "0123"
                                                                             "01234567"
                                                                             "23"));
  EXPECT_THAT(folder.names(), ElementsAre("a.safetensors"));
}

struct Model {
  std::map<std::string, std::string> bytes;
  std::map<std::string, TensorView> tensors;
};

// Tensors of random types, shapes and bytes; names with quotes, blanks and letters of several scripts.
Model random_model(Random& random, size_t num_tensors) {
  const std::vector<std::string> types = {"BOOL", "U8", "I16", "BF16", "F32", "I32", "F64", "I64"};
  const std::vector<std::string> names = {"layer.", "a \"quoted\" name ", "\xc3\xa4\xe2\x82\xac ", "back\\slash\n"};
  Model model;
  for (size_t i = 0; i < num_tensors; ++i) {
    const std::string name = names[random.below(names.size())] + std::to_string(i);
    TensorView view{.dtype = types[random.below(types.size())], .shape = {}, .bytes = {}};
    size_t num_bytes = dtype_bytes(view.dtype);
    for (uint64_t rank = random.below(4); rank > 0; --rank) {
      view.shape.push_back(static_cast<int64_t>(random.below(6)));
      num_bytes *= static_cast<size_t>(view.shape.back());
    }
    std::string& bytes = model.bytes[name];
    for (size_t k = 0; k < num_bytes; ++k) bytes.push_back(static_cast<char>(random()));
    view.bytes = as_byte_span(bytes);
    model.tensors[name] = view;
  }
  return model;
}

void expect_equal(const SafetensorsReader& reader, const Model& model) {
  ASSERT_EQ(reader.tensors().size(), model.tensors.size());
  for (const auto& [name, view] : model.tensors) {
    ASSERT_TRUE(reader.contains(name)) << name;
    EXPECT_EQ(reader.tensor(name).dtype, view.dtype) << name;
    EXPECT_EQ(reader.tensor(name).shape, view.shape) << name;
    EXPECT_TRUE(text_of(reader.tensor(name)) == model.bytes.at(name)) << name;
  }
}

TEST(safetensors, round_trips_any_tensors_and_metadata) {
  const ScratchFolder folder;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Random random(seed);
    const Model model = random_model(random, random.below(20));
    const std::map<std::string, std::string> metadata = {{"format", "own"}, {"key \"\n", "value \xe2\x82\xac"}};
    write_safetensors(folder / "m.safetensors", model.tensors, metadata);
    const SafetensorsReader reader = SafetensorsReader::open(folder / "m.safetensors");
    expect_equal(reader, model);
    EXPECT_EQ(reader.metadata(), metadata) << "seed " << seed;
  }
}

TEST(safetensors, keeps_views_valid_when_the_reader_moves) {
  const ScratchFolder folder;
  Random random(1);
  const Model model = random_model(random, 10);
  write_safetensors(folder / "m.safetensors", model.tensors);
  SafetensorsReader first = SafetensorsReader::open(folder / "m.safetensors");
  const SafetensorsReader second = std::move(first);
  expect_equal(second, model);
}

TEST(safetensors, places_every_tensor_at_a_multiple_of_its_alignment) {
  const ScratchFolder folder;
  Random random(2);
  const Model model = random_model(random, 40);
  write_safetensors(folder / "m.safetensors", model.tensors);
  const SafetensorsReader reader = SafetensorsReader::open(folder / "m.safetensors");
  for (const auto& [name, view] : reader.tensors()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.bytes.data()) % dtype_bytes(view.dtype), 0u)
        << name << " " << view.dtype;
  }
}

TEST(safetensors, splits_large_models_into_shards_with_an_index) {
  const ScratchFolder folder;
  const std::string data(100, 'd');
  std::map<std::string, TensorView> tensors;
  for (const char* name : {"a", "b", "c", "e"})
    tensors[name] = view_of("U8", {40}, std::string_view(data).substr(0, 40));
  tensors["d"] = view_of("U8", {100}, data);  // alone larger than a shard
  write_safetensors(folder / "model.safetensors", tensors, {{"k", "v"}}, 80);
  EXPECT_THAT(folder.names(), ElementsAre("model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
                                          "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors",
                                          "model.safetensors.index.json"));
  const std::string expected_index = R"({
  "metadata": {
    "total_size": 260
  },
  "weight_map": {
    "a": "model-00001-of-00004.safetensors",
    "b": "model-00001-of-00004.safetensors",
    "c": "model-00002-of-00004.safetensors",
    "d": "model-00003-of-00004.safetensors",
    "e": "model-00004-of-00004.safetensors"
  }
}
)";
  EXPECT_EQ(ScratchFolder::read(folder / "model.safetensors.index.json"), expected_index);
  // By index, by the name of the single file, and by folder.
  for (const auto& path : {folder / "model.safetensors.index.json", folder / "model.safetensors", folder.path()}) {
    const SafetensorsReader reader = SafetensorsReader::open(path);
    ASSERT_EQ(reader.tensors().size(), 5u) << path;
    EXPECT_EQ(text_of(reader.tensor("d")), data);
    EXPECT_THAT(reader.metadata(), ElementsAre(Pair("format", "pt"), Pair("k", "v")));
  }
}

TEST(safetensors, round_trips_sharded_models) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const ScratchFolder folder;
    Random random(seed);
    const Model model = random_model(random, 30);
    write_safetensors(folder / "model.safetensors", model.tensors, {}, 1 + random.below(2000));
    expect_equal(SafetensorsReader::open(folder.path()), model);
  }
}

TEST(safetensors, replaces_what_another_way_of_writing_left) {
  const ScratchFolder folder;
  const std::string data = "0123456789";
  const std::map<std::string, TensorView> small = {{"a", view_of("U8", {5}, std::string_view(data).substr(5))}};
  const std::map<std::string, TensorView> large = {{"a", view_of("U8", {10}, data)}, {"b", view_of("U8", {10}, data)}};
  const auto path = folder / "model.safetensors";
  write_safetensors(path, large, {}, 10);
  write_safetensors(path, small, {}, 10);
  EXPECT_EQ(text_of(SafetensorsReader::open(folder.path()).tensor("a")), "56789");
  EXPECT_EQ(text_of(SafetensorsReader::open(path).tensor("a")), "56789");
  write_safetensors(path, large, {}, 10);
  EXPECT_EQ(SafetensorsReader::open(folder.path()).tensors().size(), 2u);
}

TEST(safetensors, refuses_to_write_what_it_could_not_read) {
  const ScratchFolder folder;
  const auto path = folder / "m.safetensors";
  const std::string data = "12345678";
  EXPECT_THROW(write_safetensors(path, {{"\xff", view_of("U8", {8}, data)}}), InputError);
  EXPECT_THROW(write_safetensors(path, {{"__metadata__", view_of("U8", {8}, data)}}), InputError);
  EXPECT_THROW(write_safetensors(path, {}, {{"k", "\xff"}}), InputError);
  EXPECT_THROW(write_safetensors(path, {{"a", view_of("F31", {8}, data)}}), InputError);
  EXPECT_THROW(write_safetensors(path, {{"a", view_of("F32", {8}, data)}}), InternalError);
  EXPECT_THROW(write_safetensors(path, {{"a", view_of("U8", {-8}, data)}}), InternalError);
  EXPECT_THROW(write_safetensors(folder / "absent" / "m.safetensors", {}), InputError);
  EXPECT_THAT(folder.names(), IsEmpty());
}

// A file of another writer; the digests of its numbers were taken with Python.
TEST(safetensors, reads_a_file_of_another_writer) {
  const std::filesystem::path path = std::filesystem::path(VERBATIM_SHARED) / "golden/soft/metrics.safetensors";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "needs " << path;
  const SafetensorsReader reader = SafetensorsReader::open(path);
  ASSERT_THAT(reader.tensors(), SizeIs(2));
  for (const char* name : {"embeddings", "predictions"}) {
    EXPECT_EQ(reader.tensor(name).dtype, "F32");
    EXPECT_THAT(reader.tensor(name).shape, ElementsAre(64, 24));
  }
  EXPECT_EQ(sha256_hex(text_of(reader.tensor("embeddings"))),
            "a55dae6d23e1a91f7f67aae1b5065183cf3bf4ec6576ca5e5102bea10cff9a62");
  EXPECT_EQ(sha256_hex(text_of(reader.tensor("predictions"))),
            "a27db931c40346754c68f0a3f1f2120c480778ec01fa8ec8e6b9c53e366cb096");
}

TEST(safetensors, reads_all_golden_files) {
  const std::filesystem::path folder = std::filesystem::path(VERBATIM_SHARED) / "golden";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "needs " << folder;
  int num_files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    EXPECT_FALSE(SafetensorsReader::open(entry.path()).tensors().empty()) << entry.path();
    ++num_files;
  }
  EXPECT_GT(num_files, 5);
}

}  // namespace
}  // namespace verbatim
