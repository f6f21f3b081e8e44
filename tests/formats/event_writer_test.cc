#include "formats/event_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/scratch_folder.h"

namespace verbatim {
namespace {

using ::testing::IsEmpty;
using testing::ScratchFolder;
using ::testing::SizeIs;
using ::testing::StartsWith;

// A second, slow decoder of the format, from its description: records, then protocol buffers without a schema.

uint32_t slow_crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
  }
  return ~crc;
}

uint32_t slow_masked_crc(std::string_view bytes) {
  const uint32_t crc = slow_crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

uint64_t little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

std::string_view take(std::string_view& bytes, size_t size) {
  if (size > bytes.size()) throw std::runtime_error("cut short");
  const std::string_view taken = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return taken;
}

std::vector<std::string> decode_records(std::string_view file) {
  std::vector<std::string> records;
  while (!file.empty()) {
    const std::string_view length = take(file, 8);
    if (little_endian(take(file, 4)) != slow_masked_crc(length)) throw std::runtime_error("wrong CRC of the length");
    const std::string_view data = take(file, little_endian(length));
    if (little_endian(take(file, 4)) != slow_masked_crc(data)) throw std::runtime_error("wrong CRC of the data");
    records.emplace_back(data);
  }
  return records;
}

// Field number -> its only value: numbers as decimal text of their 64 bits, strings and messages as bytes.
using Message = std::map<uint32_t, std::string>;

uint64_t take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    const auto byte = static_cast<uint8_t>(take(bytes, 1)[0]);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  throw std::runtime_error("endless varint");
}

Message decode(std::string_view bytes) {
  Message message;
  while (!bytes.empty()) {
    const uint64_t key = take_varint(bytes);
    std::string value;
    switch (key & 7) {
      case 0:
        value = std::to_string(take_varint(bytes));
        break;
      case 1:
        value = std::to_string(little_endian(take(bytes, 8)));
        break;
      case 2:
        value = take(bytes, take_varint(bytes));
        break;
      case 5:
        value = std::to_string(little_endian(take(bytes, 4)));
        break;
      default:
        throw std::runtime_error("unknown wire type");
    }
    if (!message.emplace(static_cast<uint32_t>(key >> 3), value).second) throw std::runtime_error("field twice");
  }
  return message;
}

double double_of(const std::string& bits) { return std::bit_cast<double>(uint64_t{std::stoull(bits)}); }
float float_of(const std::string& bits) { return std::bit_cast<float>(static_cast<uint32_t>(std::stoull(bits))); }

std::vector<Message> events_of(const std::filesystem::path& path) {
  std::vector<Message> events;
  for (const std::string& record : decode_records(ScratchFolder::read(path))) events.push_back(decode(record));
  return events;
}

TEST(event_writer, has_a_decoder_here_that_knows_a_published_record) {
  // Every event file starts with such a record of 24 bytes of data; the length and its CRC are the same in all of them.
  const std::string_view start("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12);
  EXPECT_EQ(slow_masked_crc(start.substr(0, 8)), little_endian(start.substr(8)));
}

TEST(event_writer, names_the_file_as_tensorboard_expects_and_makes_the_folder) {
  const ScratchFolder folder;
  const auto before = std::time(nullptr);
  const EventWriter writer(folder / "run" / "tb");
  const std::string name = writer.path().filename();
  EXPECT_THAT(name, StartsWith("events.out.tfevents."));
  const int64_t time = std::stoll(name.substr(20, 10));
  EXPECT_GE(time, before);
  EXPECT_LE(time, std::time(nullptr));
  EXPECT_GT(name.size(), 31u);  // the host follows
  EXPECT_EQ(writer.path().parent_path(), folder / "run" / "tb");
}

TEST(event_writer, starts_the_file_with_its_version) {
  const ScratchFolder folder;
  const auto before = static_cast<double>(std::time(nullptr));
  std::filesystem::path path;
  {
    const EventWriter writer(folder.path());
    path = writer.path();
  }
  const std::string file = ScratchFolder::read(path);
  EXPECT_EQ(file.substr(0, 12), std::string("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12));
  const std::vector<Message> events = events_of(path);
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].at(3), "brain.Event:2");
  EXPECT_GE(double_of(events[0].at(1)), before);
  EXPECT_LE(double_of(events[0].at(1)), static_cast<double>(std::time(nullptr) + 1));
}

TEST(event_writer, writes_scalars) {
  const ScratchFolder folder;
  const std::vector<double> values = {0.0, -2.5, 3.14159, 1e-30, std::numeric_limits<double>::infinity()};
  const std::vector<int64_t> steps = {0, 1, 127, 128, 123'456'789'012};
  EventWriter writer(folder.path());
  for (size_t i = 0; i < values.size(); ++i) writer.scalar("loss/train", steps[i], values[i]);
  writer.scalar("nan", 1, std::nan(""));
  writer.flush();
  const std::vector<Message> events = events_of(writer.path());
  ASSERT_THAT(events, SizeIs(values.size() + 2));
  for (size_t i = 0; i < values.size(); ++i) {
    const Message& event = events[i + 1];
    EXPECT_EQ(event.at(2), std::to_string(steps[i]));
    const Message value = decode(decode(event.at(5)).at(1));
    EXPECT_EQ(value.at(1), "loss/train");
    EXPECT_EQ(float_of(value.at(2)), static_cast<float>(values[i]));
    EXPECT_THAT(value, SizeIs(2));
  }
  EXPECT_TRUE(std::isnan(float_of(decode(decode(events.back().at(5)).at(1)).at(2))));
}

TEST(event_writer, writes_texts_for_the_text_tab) {
  const ScratchFolder folder;
  EventWriter writer(folder.path());
  const std::string text = "a **sample**\n\xe2\x82\xac" + std::string(300, 'x');
  writer.text("samples", 7, text);
  writer.flush();
  const std::vector<Message> events = events_of(writer.path());
  ASSERT_THAT(events, SizeIs(2));
  EXPECT_EQ(events[1].at(2), "7");
  const Message value = decode(decode(events[1].at(5)).at(1));
  EXPECT_EQ(value.at(1), "samples");
  const Message tensor = decode(value.at(8));
  EXPECT_EQ(tensor.at(1), "7");                              // DT_STRING
  EXPECT_EQ(decode(decode(tensor.at(2)).at(2)).at(1), "1");  // one dimension of size 1
  EXPECT_EQ(tensor.at(8), text);
  const Message metadata = decode(value.at(9));
  EXPECT_EQ(decode(metadata.at(1)).at(1), "text");
  EXPECT_EQ(metadata.at(4), "2");  // a tensor
}

TEST(event_writer, repairs_strings_that_are_not_utf8) {
  const ScratchFolder folder;
  EventWriter writer(folder.path());
  writer.text("t\xff", 1, "cut \xe2\x82");
  writer.flush();
  const Message value = decode(decode(events_of(writer.path()).at(1).at(5)).at(1));
  EXPECT_EQ(value.at(1), "t\xef\xbf\xbd");
  EXPECT_EQ(decode(value.at(8)).at(8), "cut \xef\xbf\xbd");
}

TEST(event_writer, writes_negative_steps_as_ten_bytes) {
  const ScratchFolder folder;
  EventWriter writer(folder.path());
  writer.scalar("x", -1, 0);
  writer.flush();
  EXPECT_EQ(events_of(writer.path()).at(1).at(2), std::to_string(~uint64_t{0}));
}

TEST(event_writer, holds_records_back_and_writes_them_whole) {
  const ScratchFolder folder;
  EventWriter writer(folder.path());
  EXPECT_THAT(ScratchFolder::read(writer.path()), IsEmpty());
  writer.flush();
  const size_t before = ScratchFolder::read(writer.path()).size();
  EXPECT_GT(before, 0u);
  writer.text("t", 1, std::string(200'000, 'x'));  // more than is held back
  EXPECT_GT(ScratchFolder::read(writer.path()).size(), 200'000u);
  EXPECT_THAT(events_of(writer.path()), SizeIs(2));
  writer.flush();
  EXPECT_THAT(events_of(writer.path()), SizeIs(2));  // nothing twice
}

TEST(event_writer, writes_what_is_left_when_it_ends) {
  const ScratchFolder folder;
  std::filesystem::path path;
  {
    EventWriter writer(folder.path());
    path = writer.path();
    writer.scalar("x", 1, 1);
  }
  EXPECT_THAT(events_of(path), SizeIs(2));
}

TEST(event_writer, gives_every_writer_a_file_of_its_own) {
  const ScratchFolder folder;
  const EventWriter first(folder.path());
  const EventWriter second(folder.path());
  const EventWriter third(folder.path());
  EXPECT_THAT(folder.names(), SizeIs(3));
}

}  // namespace
}  // namespace verbatim
