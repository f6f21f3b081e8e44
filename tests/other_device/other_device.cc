#include "other_device/other_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "nn/torch.h"

namespace verbatim::testing {
namespace {

// A device that LibTorch knows but brings no operators for. (PrivateUse1, the type for new devices, does not do:
// LibTorch 1.13 cannot move modules there.)
constexpr at::DeviceType kType = at::DeviceType::XPU;

// Two areas of the same size: tensors point into the closed one, which has no access rights; what they hold lies at the
// same distance from the start of the open one.
class Memory final : public c10::Allocator {
 public:
  static Memory& instance() {
    static auto* memory = new Memory;  // lives as long as the last tensor
    return *memory;
  }

  at::DataPtr allocate_bytes(size_t bytes) const {
    const at::Device device(kType, 0);
    if (bytes == 0) return {nullptr, device};
    const size_t size = std::bit_ceil(std::max<size_t>(bytes, 64));
    const std::lock_guard lock(mutex_);
    std::vector<size_t>& unused = unused_[size];
    if (unused.empty()) {
      TORCH_CHECK(used_ + size <= kSize, "the other device has no memory left");
      unused.push_back(used_);
      used_ += size;
    }
    char* pointer = closed_ + unused.back();
    unused.pop_back();
    sizes_[pointer] = size;
    return {pointer, pointer, &give_back, device};
  }

  void* open(const void* closed) const {
    return closed == nullptr ? nullptr : open_ + (static_cast<const char*>(closed) - closed_);
  }

  // Overrides of whatever this LibTorch declares: version 1 wants the first alone, version 2 the others.
  at::DataPtr allocate(size_t bytes) const { return allocate_bytes(bytes); }
  at::DataPtr allocate(size_t bytes) { return allocate_bytes(bytes); }
  void copy_data(void* to, const void* from, size_t count) const { std::memcpy(open(to), open(from), count); }

 private:
  static constexpr size_t kSize = size_t{8} << 30;

  static char* reserve(int rights) {
    void* area = mmap(nullptr, kSize, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TORCH_CHECK(area != MAP_FAILED, "cannot reserve addresses for the other device");
    return static_cast<char*>(area);
  }

  static void give_back(void* pointer) {
    Memory& memory = instance();
    const std::lock_guard lock(memory.mutex_);
    const auto found = memory.sizes_.find(pointer);
    memory.unused_[found->second].push_back(static_cast<char*>(pointer) - memory.closed_);
    memory.sizes_.erase(found);
  }

  char* closed_ = reserve(PROT_NONE);
  char* open_ = reserve(PROT_READ | PROT_WRITE);
  mutable std::mutex mutex_;
  mutable size_t used_ = 0;
  mutable std::map<size_t, std::vector<size_t>> unused_;  // by size: distances from the start
  mutable std::map<void*, size_t> sizes_;
};

struct Guard final : public c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return kType; }
  at::Device exchangeDevice(at::Device) const override { return getDevice(); }
  at::Device getDevice() const override { return {kType, 0}; }
  void setDevice(at::Device) const override {}
  void uncheckedSetDevice(at::Device) const noexcept override {}
  c10::Stream getStream(at::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, getDevice()); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, getDevice());
  }
  at::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(XPU, Guard)

bool is_ours(const at::Tensor& x) { return x.defined() && x.device().type() == kType; }

// A CPU tensor over the same values.
at::Tensor opened(const at::Tensor& x) {
  if (!is_ours(x)) return x;
  const at::TensorOptions options = at::TensorOptions(at::kCPU).dtype(x.scalar_type());
  if (x.numel() == 0) return at::empty_strided(x.sizes(), x.strides(), options);
  return at::from_blob(Memory::instance().open(x.data_ptr()), x.sizes(), x.strides(), options);
}

at::Tensor empty(at::IntArrayRef size, c10::optional<at::ScalarType> type, c10::optional<at::Layout>,
                 c10::optional<at::Device>, c10::optional<bool>, c10::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &Memory::instance(), c10::DispatchKeySet(c10::DispatchKey::XPU),
                                   type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef strides, c10::optional<at::ScalarType> type,
                         c10::optional<at::Layout>, c10::optional<at::Device>, c10::optional<bool>) {
  return at::detail::empty_strided_generic(size, strides, &Memory::instance(),
                                           c10::DispatchKeySet(c10::DispatchKey::XPU), type.value_or(at::kFloat));
}

const at::Tensor& resize_in_place(const at::Tensor& self, at::IntArrayRef size, c10::optional<at::MemoryFormat>) {
  at::TensorImpl* impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(size);
  const size_t bytes = static_cast<size_t>(impl->storage_offset() + impl->numel()) * impl->itemsize();
  c10::StorageImpl* storage = self.storage().unsafeGetStorageImpl();
  if (bytes > storage->nbytes()) {
    at::DataPtr larger = Memory::instance().allocate_bytes(bytes);
    if (storage->nbytes() > 0)
      std::memcpy(Memory::instance().open(larger.get()), opened(self).data_ptr(), storage->nbytes());
    storage->set_data_ptr(std::move(larger));
    storage->set_nbytes(bytes);
  }
  return self;
}

at::Tensor& copy(at::Tensor& to, const at::Tensor& from, bool) {
  opened(to).copy_(opened(from));
  return to;
}

// Every other operator: on the CPU, on the same memory.
class OnCpu {
 public:
  OnCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) : op_(op), stack_(*stack) {
    name_ = op.schema().operator_name().name;
    // As in CUDA: indices may come from the CPU.
    takes_any_index_ = name_ == "aten::index" || name_ == "aten::index_put_" || name_ == "aten::_index_put_impl_";
  }

  void run() {
    const std::vector<c10::Argument>& arguments = op_.schema().arguments();
    const size_t first = stack_.size() - arguments.size();
    for (size_t i = 0; i < arguments.size(); ++i) open_argument(stack_[first + i], arguments[i].name());
    op_.callBoxed(&stack_);
    for (const auto& [ours, cpu] : pairs_) {
      if (ours.sizes() == cpu.sizes()) continue;
      resize_in_place(ours, cpu.sizes(), c10::nullopt);  // a result that was given empty
      opened(ours).copy_(cpu);
    }
    const size_t results = op_.schema().returns().size();
    for (size_t i = stack_.size() - results; i < stack_.size(); ++i) close_result(stack_[i]);
  }

 private:
  at::Tensor open_tensor(const at::Tensor& x, const std::string& argument) {
    if (!x.defined()) return x;
    if (!is_ours(x)) {
      TORCH_CHECK(x.dim() == 0 || takes_any_index_, name_, ": argument ", argument, " is on ", x.device(),
                  ", others are on ", other_device());
      return x;
    }
    for (const auto& [ours, cpu] : pairs_) {
      if (ours.is_same(x)) return cpu;
    }
    at::Tensor cpu = opened(x);
    if (x.unsafeGetTensorImpl()->is_wrapped_number()) cpu.unsafeGetTensorImpl()->set_wrapped_number(true);
    pairs_.emplace_back(x, cpu);
    return cpu;
  }

  void open_argument(c10::IValue& value, const std::string& name) {
    if (value.isTensor()) {
      value = open_tensor(value.toTensor(), name);
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& each : value.toTensorVector()) list.push_back(open_tensor(each, name));
      value = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<c10::optional<at::Tensor>> list;
      for (const c10::optional<at::Tensor>& each : value.toOptionalTensorVector()) {
        list.push_back(each.has_value() ? c10::optional<at::Tensor>(open_tensor(*each, name)) : c10::nullopt);
      }
      value = list;
    } else if (value.isDevice()) {
      value = at::Device(at::kCPU);
    }
  }

  at::Tensor close_tensor(const at::Tensor& cpu) {
    if (!cpu.defined()) return cpu;
    for (const auto& [ours, opened] : pairs_) {
      if (opened.is_same(cpu)) return ours;
      TORCH_CHECK(!opened.is_alias_of(cpu), name_, ": views need an operator of their own on the other device");
    }
    const at::Tensor ours = empty_strided(cpu.sizes(), cpu.strides(), cpu.scalar_type(), {}, {}, {});
    opened(ours).copy_(cpu);
    return ours;
  }

  void close_result(c10::IValue& value) {
    if (value.isTensor()) {
      value = close_tensor(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& each : value.toTensorVector()) list.push_back(close_tensor(each));
      value = list;
    }
  }

  const c10::OperatorHandle& op_;
  torch::jit::Stack& stack_;
  std::string name_;
  bool takes_any_index_ = false;
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;  // ours and the one over the same values
};

void compute_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) { OnCpu(op, stack).run(); }

TORCH_LIBRARY_IMPL(aten, XPU, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("resize_", &resize_in_place);
  library.impl("copy_", &copy);
  // Views: shapes alone, the same for every device.
  library.impl("view", &at::native::view);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("unfold", &at::native::unfold);
}

TORCH_LIBRARY_IMPL(_, XPU, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute_on_cpu>()); }

}  // namespace

at::Device other_device() { return {kType, 0}; }

}  // namespace verbatim::testing
