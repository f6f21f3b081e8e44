#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/scratch_folder.h"
#include "formats/safetensors.h"
#include "formats/safetensors_bytes.h"

namespace verbatim {
namespace {

using testing::as_byte_span;
using ::testing::HasSubstr;
using testing::safetensors_bytes;
using testing::ScratchFolder;

std::string with_entry(std::string_view entry, std::string_view data = "12345678") {
  return safetensors_bytes(std::string("{\"a\":") + std::string(entry) + "}", data);
}

struct Malformed {
  std::string what;
  std::string file;
  std::string complaint;  // a part of the message
};

std::vector<Malformed> malformed_files() {
  const std::string good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const std::string data = "12345678";
  return {
      {"empty", "", "cut short"},
      {"shorter than the length", "1234567", "cut short"},
      {"length beyond the file", safetensors_bytes("{}", "", 3), "cut short"},
      {"length beyond the limit", safetensors_bytes("{}", "", 100'000'001), "at most 100000000"},
      {"largest length", safetensors_bytes("{}", "", ~uint64_t{0}), "at most 100000000"},
      {"length that overflows with its own size", safetensors_bytes("{}", "", ~uint64_t{0} - 7), "at most 100000000"},
      {"no header", safetensors_bytes("", ""), "begins with '{'"},
      {"header of spaces", safetensors_bytes("        ", ""), "begins with '{'"},
      {"space before the header", safetensors_bytes(" {}", ""), "begins with '{'"},
      {"byte order mark", safetensors_bytes("\xEF\xBB\xBF{}", ""), "begins with '{'"},
      {"header is a list", safetensors_bytes("[]", ""), "begins with '{'"},
      {"header is a number", safetensors_bytes("12", ""), "begins with '{'"},
      {"header is null", safetensors_bytes("null", ""), "begins with '{'"},
      {"broken JSON", safetensors_bytes("{", ""), "expected JSON"},
      {"cut in the middle of a name", safetensors_bytes("{\"a", ""), "expected JSON"},
      {"comma at the end", safetensors_bytes("{\"a\":" + good + ",}", data), "expected JSON"},
      {"second value behind the header", safetensors_bytes("{}{}", ""), "expected JSON"},
      {"comment", safetensors_bytes("{/**/}", ""), "expected JSON"},
      {"zero bytes behind the header", safetensors_bytes(std::string_view("{}\0\0", 4), ""), "zero byte"},
      {"zero byte and junk inside", safetensors_bytes(std::string_view("{}\0,{}", 6), ""), "zero byte"},
      {"name that is not UTF-8", safetensors_bytes("{\"\xFF\":" + good + "}", data), "expected JSON"},
      {"name that is a lone surrogate", safetensors_bytes("{\"\\ud800\":" + good + "}", data), "expected JSON"},
      {"deep nesting", safetensors_bytes("{\"a\":" + std::string(100'000, '[') + "}", ""), "expected an object"},

      {"duplicate names", safetensors_bytes("{\"a\":" + good + ",\"a\":" + good + "}", data), "\"a\" twice"},
      {"duplicate names in two spellings", safetensors_bytes("{\"a\":" + good + ",\"\\u0061\":" + good + "}", data),
       "\"a\" twice"},
      {"duplicate metadata", safetensors_bytes(R"({"__metadata__":{},"__metadata__":{}})", ""), "twice"},
      {"duplicate metadata key", safetensors_bytes(R"({"__metadata__":{"k":"1","k":"2"}})", ""), "\"k\" twice"},
      {"metadata with a number", safetensors_bytes(R"({"__metadata__":{"k":1}})", ""), "an object of strings"},
      {"metadata with an object", safetensors_bytes(R"({"__metadata__":{"k":{}}})", ""), "an object of strings"},
      {"metadata with null", safetensors_bytes(R"({"__metadata__":{"k":null}})", ""), "an object of strings"},
      {"metadata is a list", safetensors_bytes(R"({"__metadata__":[]})", ""), "an object of strings"},
      {"metadata is a tensor", safetensors_bytes("{\"__metadata__\":" + good + "}", data), "an object of strings"},

      {"entry is a number", with_entry("1"), "expected an object, got a number"},
      {"entry is null", with_entry("null"), "expected an object, got null"},
      {"entry is a list", with_entry("[]"), "expected an object, got a list"},
      {"entry is empty", with_entry("{}"), "only some of them"},
      {"no type", with_entry(R"({"shape":[2],"data_offsets":[0,8]})"), "only some of them"},
      {"no shape", with_entry(R"({"dtype":"F32","data_offsets":[0,8]})"), "only some of them"},
      {"no offsets", with_entry(R"({"dtype":"F32","shape":[2]})"), "only some of them"},
      {"unknown field", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})"), "got \"x\""},
      {"two types", with_entry(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), "twice"},
      {"two shapes", with_entry(R"({"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})"), "twice"},
      {"two ranges", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8]})"), "twice"},
      {"unknown type", with_entry(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})"), "\"F31\""},
      {"type in lower case", with_entry(R"({"dtype":"f32","shape":[2],"data_offsets":[0,8]})"), "\"f32\""},
      {"empty type", with_entry(R"({"dtype":"","shape":[2],"data_offsets":[0,8]})"), "type \"\""},
      {"type of four bits", with_entry(R"({"dtype":"F4","shape":[16],"data_offsets":[0,8]})"), "whole bytes"},
      {"type is a number", with_entry(R"({"dtype":32,"shape":[2],"data_offsets":[0,8]})"), "the type as a string"},
      {"wrong type for the size", with_entry(R"({"dtype":"F64","shape":[2],"data_offsets":[0,8]})"),
       "expected 16 bytes"},
      {"shape too small", with_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})"), "expected 4 bytes"},
      {"scalar with the bytes of a list", with_entry(R"({"dtype":"F32","shape":[],"data_offsets":[0,8]})"),
       "expected 4 bytes"},
      {"empty dimension with bytes", with_entry(R"({"dtype":"F32","shape":[0],"data_offsets":[0,8]})"),
       "expected 0 bytes"},
      {"negative shape", with_entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "a negative number"},
      {"two negative sizes", with_entry(R"({"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]})"),
       "a negative number"},
      {"fraction in the shape", with_entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), "a fraction"},
      {"string in the shape", with_entry(R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})"), "got a string"},
      {"list in the shape", with_entry(R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})"), "got a list"},
      {"shape is a number", with_entry(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), "the shape as a list"},
      {"size beyond 63 bits", with_entry(R"({"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,8]})"),
       "63 bits"},
      {"size beyond 64 bits", with_entry(R"({"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,8]})"),
       "64 bits"},
      {"product that wraps to 0",
       with_entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", ""), "at most 2^63"},
      {"product that wraps to the size",
       with_entry(R"({"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]})"), "at most 2^63"},
      {"product that overflows beside a 0",
       with_entry(R"({"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]})", ""), "at most 2^63"},

      {"one offset", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8]})"), "fewer numbers"},
      {"no offset", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[]})"), "fewer numbers"},
      {"three offsets", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,16]})"), "more numbers"},
      {"negative offset", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})"), "a negative number"},
      {"offsets in the wrong order", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"),
       "within the 8 bytes"},
      {"end behind the file", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "1234567"),
       "within the 7"},
      {"range behind the file", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,16]})"),
       "within the 8 bytes"},
      {"largest offsets",
       with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]})"),
       "within the 8 bytes"},
      {"data without tensors", safetensors_bytes("{}", "x"), "behind the last tensor"},
      {"bytes behind the last tensor", with_entry(good, "123456789"), "behind the last tensor"},
      {"hole at the start", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[4,12]})", "123456789abc"),
       "a hole"},
      {"hole in the middle",
       safetensors_bytes(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
           "12345"),
       "a hole"},
      {"overlap",
       safetensors_bytes(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
           "123"),
       "overlap"},
      {"same range twice",
       safetensors_bytes(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
           "12"),
       "overlap"},
      {"empty tensor inside another",
       safetensors_bytes(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
           "12"),
       "overlap"},
  };
}

TEST(safetensors, refuses_every_malformed_file_and_says_why) {
  for (const Malformed& malformed : malformed_files()) {
    try {
      (void)SafetensorsReader::parse(as_byte_span(malformed.file), "model.safetensors");
      ADD_FAILURE() << malformed.what << " was accepted";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(malformed.complaint)) << malformed.what;
      EXPECT_THAT(error.what(), HasSubstr("model.safetensors")) << malformed.what;
    }
  }
}

TEST(safetensors, refuses_malformed_files_on_disk_too) {
  const ScratchFolder folder;
  const auto path = folder.write("a.safetensors", with_entry("{}"));
  EXPECT_THROW((void)SafetensorsReader::open(path), InputError);
  EXPECT_THROW((void)SafetensorsReader::open(folder.write("empty.safetensors", "")), InputError);
  EXPECT_THROW((void)SafetensorsReader::open(folder / "absent.safetensors"), InputError);
  EXPECT_THROW((void)SafetensorsReader::open(folder.path()), InputError);
}

std::string shard(std::string_view name) {
  return safetensors_bytes("{\"" + std::string(name) + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x");
}

TEST(safetensors, refuses_every_malformed_index) {
  const ScratchFolder folder;
  folder.write("1.safetensors", shard("a"));
  folder.write("2.safetensors", shard("b"));
  folder.write("3.safetensors", shard("a"));
  folder.write("bad.safetensors", "123");
  const std::vector<std::pair<std::string, std::string>> indices = {
      {"", "expected JSON"},
      {"[]", "expected an object"},
      {"1", "expected an object"},
      {"{", "expected JSON"},
      {"{}", "expected a weight_map"},
      {R"({"metadata":{}})", "expected a weight_map"},
      {R"({"weight_map":1})", "got a number"},
      {R"({"weight_map":[]})", "got a list"},
      {R"({"weight_map":"x"})", "got a string"},
      {R"({"weight_map":{"a":1}})", "got a number"},
      {R"({"weight_map":{"a":{}}})", "got an object"},
      {R"({"weight_map":{"a":["1.safetensors"]}})", "got a list"},
      {R"({"weight_map":{"a":"1.safetensors"},"weight_map":{}})", "twice"},
      {R"({"weight_map":{"a":"1.safetensors","a":"1.safetensors"}})", "\"a\" twice"},
      {R"({"weight_map":{"a":"../1.safetensors"}})", "same folder"},
      {R"({"weight_map":{"a":"/etc/passwd"}})", "same folder"},
      {R"({"weight_map":{"a":".."}})", "same folder"},
      {R"({"weight_map":{"a":"."}})", "same folder"},
      {R"({"weight_map":{"a":""}})", "same folder"},
      {R"({"weight_map":{"a":"1.safetensors\u0000"}})", "same folder"},
      {R"({"weight_map":{"a":"4.safetensors"}})", "got nothing there"},
      {R"({"weight_map":{"a":"bad.safetensors"}})", "cut short"},
      {R"({"weight_map":{"c":"1.safetensors"}})", "expected tensor \"c\""},
      {R"({"weight_map":{"a":"2.safetensors","b":"1.safetensors"}})", "expected tensor"},
      {R"({"weight_map":{"a":"1.safetensors","b":"1.safetensors"}})", "expected tensor \"b\""},
      {R"({"weight_map":{"a":"1.safetensors","b":"3.safetensors"}})", "in one file only"},
  };
  for (const auto& [index, complaint] : indices) {
    const auto path = folder.write("model.safetensors.index.json", index);
    try {
      (void)SafetensorsReader::open(path);
      ADD_FAILURE() << index << " was accepted";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(complaint)) << index;
    }
  }
  // The same files with a correct index are fine.
  folder.write(
      "model.safetensors.index.json",
      R"({"metadata":{"total_size":2,"x":[1,{"y":[]}]},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  EXPECT_EQ(SafetensorsReader::open(folder / "model.safetensors.index.json").tensors().size(), 2u);
}

TEST(safetensors, refuses_a_shard_with_more_tensors_than_its_index_knows) {
  const ScratchFolder folder;
  folder.write(
      "1.safetensors",
      safetensors_bytes(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          "xy"));
  const auto path = folder.write("m.safetensors.index.json", R"({"weight_map":{"a":"1.safetensors"}})");
  EXPECT_THROW((void)SafetensorsReader::open(path), InputError);
}

// What a reader accepts must lie inside the file, whole, without overlap; everything else must be an InputError.
void expect_sound_or_refused(const std::string& file, const std::string& what) {
  try {
    const SafetensorsReader reader = SafetensorsReader::parse(as_byte_span(file), "mutated");
    uint64_t covered = 0;
    for (const auto& [name, view] : reader.tensors()) {
      uint64_t expected = dtype_bytes(view.dtype);
      for (const int64_t size : view.shape) {
        ASSERT_GE(size, 0) << what;
        expected *= static_cast<uint64_t>(size);
      }
      ASSERT_EQ(view.bytes.size(), expected) << what;
      ASSERT_GE(reinterpret_cast<const char*>(view.bytes.data()), file.data()) << what;
      ASSERT_LE(reinterpret_cast<const char*>(view.bytes.data() + view.bytes.size()), file.data() + file.size())
          << what;
      covered += view.bytes.size();
    }
    ASSERT_LE(covered, file.size()) << what;
  } catch (const InputError& error) {
    ASSERT_NE(std::string(error.what()), "") << what;
  }
}

TEST(safetensors, survives_changed_missing_and_added_bytes) {
  const std::string good = safetensors_bytes(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[0,3],"data_offsets":[8,8]},"c":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}}   )",
      "0123456789");
  ASSERT_EQ(SafetensorsReader::parse(as_byte_span(good), "good").tensors().size(), 3u);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW((void)SafetensorsReader::parse(as_byte_span(good.substr(0, size)), "cut"), InputError) << size;
  }
  constexpr uint64_t kSeed = 20;
  Random random(kSeed);
  const std::string_view likely = "0123456789{}[]\":,-. aF\\\0\xff";
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
      // Keep the length of the header right in half of the trials, so that the changes reach the JSON.
      if (trial % 2 == 0) file.replace(0, 8, safetensors_bytes("", "", file.size() - 18));
    }
    expect_sound_or_refused(file, "seed " + std::to_string(kSeed) + ", trial " + std::to_string(trial));
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace verbatim
