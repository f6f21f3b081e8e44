#include "formats/pickle_tensor.h"

#include <array>
#include <cstring>

#include "base/error.h"
#include "formats/safetensors.h"
#include "formats/safetensors_layout.h"

namespace verbatim {
namespace {

struct NamedType {
  std::string_view name;
  std::string_view dtype;
};

constexpr std::array<NamedType, 12> kStorages = {{
    {"torch.FloatStorage", "F32"},
    {"torch.DoubleStorage", "F64"},
    {"torch.HalfStorage", "F16"},
    {"torch.BFloat16Storage", "BF16"},
    {"torch.LongStorage", "I64"},
    {"torch.IntStorage", "I32"},
    {"torch.ShortStorage", "I16"},
    {"torch.CharStorage", "I8"},
    {"torch.ByteStorage", "U8"},
    {"torch.BoolStorage", "BOOL"},
    {"torch.UntypedStorage", "U8"},
    {"torch.storage.UntypedStorage", "U8"},
}};

constexpr std::array<NamedType, 15> kTypes = {{
    {"torch.float32", "F32"},
    {"torch.float64", "F64"},
    {"torch.float16", "F16"},
    {"torch.bfloat16", "BF16"},
    {"torch.int64", "I64"},
    {"torch.int32", "I32"},
    {"torch.int16", "I16"},
    {"torch.int8", "I8"},
    {"torch.uint8", "U8"},
    {"torch.bool", "BOOL"},
    {"torch.uint16", "U16"},
    {"torch.uint32", "U32"},
    {"torch.uint64", "U64"},
    {"torch.float8_e4m3fn", "F8_E4M3"},
    {"torch.float8_e5m2", "F8_E5M2"},
}};

template <size_t N>
std::string_view find_dtype(const std::array<NamedType, N>& table, std::string_view name) {
  for (const NamedType& entry : table) {
    if (entry.name == name) return entry.dtype;
  }
  return {};
}

}  // namespace

namespace pickle {

std::string_view dtype_of_storage(std::string_view name) { return find_dtype(kStorages, name); }
std::string_view dtype_of_name(std::string_view name) { return find_dtype(kTypes, name); }

void check_view(const PickleTensor& tensor, std::string_view where) {
  if (tensor.shape.size() != tensor.strides.size()) {
    throw_input("{}: expected a stride for each of the {} sizes of a tensor, got {} strides", where,
                tensor.shape.size(), tensor.strides.size());
  }
  const size_t element_bytes = dtype_bytes(tensor.dtype);
  if (tensor.storage.size() % element_bytes != 0) {
    throw_input("{}: expected a storage of whole {} elements, got {} bytes", where, tensor.dtype,
                tensor.storage.size());
  }
  const auto stored = static_cast<int64_t>(tensor.storage.size() / element_bytes);
  bool is_empty = false;
  int64_t last = tensor.offset;
  bool overflows = false;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    const int64_t size = tensor.shape[i];
    const int64_t stride = tensor.strides[i];
    if (size < 0) throw_input("{}: expected sizes of 0 or more in the shape of a tensor, got {}", where, size);
    if (stride < 0) throw_input("{}: expected strides of 0 or more for a tensor, got {}", where, stride);
    is_empty = is_empty || size == 0;
    int64_t step = 0;
    if (size > 1) {
      overflows =
          overflows || __builtin_mul_overflow(size - 1, stride, &step) || __builtin_add_overflow(last, step, &last);
    }
  }
  if (!safetensors::tensor_bytes(tensor.shape, element_bytes)) {
    throw_input("{}: expected a shape of at most 2^63 bytes, got more", where);
  }
  if (tensor.offset < 0 || tensor.offset > stored) {
    throw_input("{}: expected a tensor that begins within the {} elements of its storage, got offset {}", where, stored,
                tensor.offset);
  }
  if (!is_empty && (overflows || last >= stored)) {
    throw_input("{}: expected a tensor within the {} elements of its storage, got a last element {}", where, stored,
                overflows ? "beyond 2^63" : "at place " + std::to_string(last));
  }
}

}  // namespace pickle

int64_t PickleTensor::element_count() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

bool PickleTensor::is_contiguous() const {
  if (element_count() == 0) return true;
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;  // its stride is never used
    if (strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::span<const std::byte> PickleTensor::contiguous_bytes() const {
  VERBATIM_ASSERT(is_contiguous());
  const size_t element_bytes = dtype_bytes(dtype);
  return storage.subspan(static_cast<size_t>(offset) * element_bytes,
                         static_cast<size_t>(element_count()) * element_bytes);
}

void PickleTensor::copy_to(std::span<std::byte> out) const {
  const size_t element_bytes = dtype_bytes(dtype);
  const int64_t count = element_count();
  VERBATIM_ASSERT(out.size() == static_cast<size_t>(count) * element_bytes, "{} bytes", out.size());
  std::vector<int64_t> index(shape.size(), 0);
  int64_t place = offset;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + static_cast<size_t>(i) * element_bytes,
                storage.data() + static_cast<size_t>(place) * element_bytes, element_bytes);
    // The next index, the last dimension fastest.
    for (size_t d = shape.size(); d-- > 0;) {
      place += strides[d];
      if (++index[d] < shape[d]) break;
      place -= shape[d] * strides[d];
      index[d] = 0;
    }
  }
}

}  // namespace verbatim
