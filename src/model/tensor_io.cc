#include "model/tensor_io.h"

#include "base/error.h"
#include "nn/torch.h"

namespace verbatim {

namespace {

std::string_view dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "F32";
    case at::kDouble:
      return "F64";
    case at::kHalf:
      return "F16";
    case at::kBFloat16:
      return "BF16";
    case at::kLong:
      return "I64";
    case at::kInt:
      return "I32";
    case at::kByte:
      return "U8";
    case at::kBool:
      return "BOOL";
    default:
      break;
  }
  throw InternalError(fmt::format("tensor type {} has no name in safetensors", c10::toString(type)));
}

at::ScalarType dtype_of(std::string_view name, const std::string& tensor) {
  static const std::map<std::string_view, at::ScalarType> types = {
      {"F32", at::kFloat}, {"F64", at::kDouble}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
      {"I32", at::kInt},   {"I16", at::kShort},  {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};
  const auto found = types.find(name);
  if (found == types.end()) {
    throw_input("tensor \"{}\" has type {}; expected F32, F16, BF16, F64 or an integer type", tensor, name);
  }
  return found->second;
}

}  // namespace

void TensorBundle::add(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
  owned_.push_back(plain);
  views_[name] = {.dtype = std::string(dtype_name(plain.scalar_type())),
                  .shape = plain.sizes().vec(),
                  .bytes = {static_cast<const std::byte*>(plain.data_ptr()), plain.nbytes()}};
}

at::Tensor tensor_from_view(const TensorView& view, const std::string& name) {
  const at::ScalarType type = dtype_of(view.dtype, name);
  // The file's data may lie at any address: copy the bytes before they are read as numbers.
  const at::Tensor raw = at::empty(view.shape, type);
  VERBATIM_ASSERT(raw.nbytes() == view.bytes.size(), "{}", name);
  if (!view.bytes.empty()) std::memcpy(raw.data_ptr(), view.bytes.data(), view.bytes.size());
  return raw.is_floating_point() ? raw.to(at::kFloat) : raw.to(at::kLong);
}

std::vector<std::string> load_parameters(torch::nn::Module& module, const SafetensorsReader& reader,
                                         const std::string& file,
                                         const std::function<std::string(const std::string&)>& file_name,
                                         const std::set<std::string>& may_be_missing) {
  torch::NoGradGuard no_grad;
  std::set<std::string> used;
  std::vector<std::string> missing;
  for (auto& parameter : module.named_parameters()) {
    const std::string name = file_name(parameter.key());
    if (!reader.contains(name)) {
      if (may_be_missing.contains(parameter.key())) {
        missing.push_back(parameter.key());
        continue;
      }
      throw_input("{}: tensor \"{}\" is missing; the file does not belong to these settings", file, name);
    }
    const at::Tensor value = tensor_from_view(reader.tensor(name), name);
    if (value.sizes() != parameter.value().sizes()) {
      throw_input("{}: tensor \"{}\" has shape [{}], the settings ask for [{}]", file, name,
                  fmt::join(value.sizes(), ", "), fmt::join(parameter.value().sizes(), ", "));
    }
    parameter.value().copy_(value);
    used.insert(name);
  }
  for (const auto& entry : reader.tensors()) {
    if (!used.contains(entry.first)) {
      throw_input("{}: tensor \"{}\" has no place in the model of these settings", file, entry.first);
    }
  }
  return missing;
}

}  // namespace verbatim
