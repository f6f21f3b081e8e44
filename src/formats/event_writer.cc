#include "formats/event_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>

#include "base/error.h"
#include "base/hash.h"
#include "formats/valid_utf8.h"

// The file is a sequence of records (TFRecord): length as u64, masked CRC-32C of these eight bytes, data, masked
// CRC-32C of the data. The data is a protocol buffer of type Event. Its few fields are written by hand: a dependency on
// protobuf would be larger than the rest of this folder. Field numbers are those of TensorBoard's event.proto,
// summary.proto and tensor.proto.

namespace verbatim {
namespace {

constexpr size_t kFlushBytes = size_t{1} << 16;

static_assert(std::endian::native == std::endian::little, "fixed-width fields are written as they lie in memory");

template <class T>
void append_fixed(std::string& to, T value) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  to.append(bytes.data(), bytes.size());
}

void append_varint(std::string& to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
  to.push_back(static_cast<char>(value));
}

enum class Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_key(std::string& to, uint32_t field, Wire wire) {
  append_varint(to, field << 3 | static_cast<uint32_t>(wire));
}

void append_number(std::string& to, uint32_t field, int64_t value) {
  append_key(to, field, Wire::kVarint);
  append_varint(to, static_cast<uint64_t>(value));
}

// A string, or a message that is already serialised.
void append_bytes(std::string& to, uint32_t field, std::string_view bytes) {
  append_key(to, field, Wire::kBytes);
  append_varint(to, bytes.size());
  to.append(bytes);
}

uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string event_start() {
  std::string event;
  append_key(event, 1, Wire::kFixed64);  // Event.wall_time
  append_fixed(event, now_seconds());
  return event;
}

std::string summary_event(int64_t step, std::string_view summary_value) {
  std::string summary;
  append_bytes(summary, 1, summary_value);  // Summary.value
  std::string event = event_start();
  append_number(event, 2, step);    // Event.step
  append_bytes(event, 5, summary);  // Event.summary
  return event;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const std::string name = fmt::format("events.out.tfevents.{:010}.{}", std::time(nullptr), host_name());
  // Two writers within a second differ in the number at the end.
  for (int number = 0; descriptor_ < 0; ++number) {
    path_ = folder / (number == 0 ? name : fmt::format("{}.{}", name, number));
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) throw_system(errno, "create", path_.string());
  }
  std::string event = event_start();
  append_bytes(event, 3, "brain.Event:2");  // Event.file_version
  record(event);
}

EventWriter::~EventWriter() {
  try {
    flush();
  } catch (...) {
    // A destructor cannot report; whoever must know calls flush() before.
  }
  ::close(descriptor_);
}

void EventWriter::scalar(std::string_view tag, int64_t step, double value) {
  std::string summary_value;
  append_bytes(summary_value, 1, with_valid_utf8(tag));  // Value.tag
  append_key(summary_value, 2, Wire::kFixed32);          // Value.simple_value
  append_fixed(summary_value, static_cast<float>(value));
  record(summary_event(step, summary_value));
}

void EventWriter::text(std::string_view tag, int64_t step, std::string_view value) {
  constexpr int64_t kTypeString = 7;   // DataType.DT_STRING
  constexpr int64_t kClassTensor = 2;  // DataClass.DATA_CLASS_TENSOR
  std::string dimension;
  append_number(dimension, 1, 1);  // Dim.size
  std::string shape;
  append_bytes(shape, 2, dimension);  // TensorShapeProto.dim
  std::string tensor;
  append_number(tensor, 1, kTypeString);            // TensorProto.dtype
  append_bytes(tensor, 2, shape);                   // TensorProto.tensor_shape
  append_bytes(tensor, 8, with_valid_utf8(value));  // TensorProto.string_val
  std::string plugin;
  append_bytes(plugin, 1, "text");  // PluginData.plugin_name
  std::string metadata;
  append_bytes(metadata, 1, plugin);         // SummaryMetadata.plugin_data
  append_number(metadata, 4, kClassTensor);  // SummaryMetadata.data_class
  std::string summary_value;
  append_bytes(summary_value, 1, with_valid_utf8(tag));  // Value.tag
  append_bytes(summary_value, 8, tensor);                // Value.tensor
  append_bytes(summary_value, 9, metadata);              // Value.metadata
  record(summary_event(step, summary_value));
}

void EventWriter::record(std::string_view event) {
  std::string length;
  append_fixed(length, static_cast<uint64_t>(event.size()));
  buffer_ += length;
  append_fixed(buffer_, masked_crc(length));
  buffer_ += event;
  append_fixed(buffer_, masked_crc(event));
  if (buffer_.size() >= kFlushBytes) flush();
}

void EventWriter::flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t written = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0) {
      if (errno == EINTR) continue;
      const int code = errno;
      // What was written must not be written again by a later attempt.
      buffer_.erase(0, done);
      throw_system(code, "write", path_.string());
    }
    done += static_cast<size_t>(written);
  }
  buffer_.clear();
}

}  // namespace verbatim
