#include "cli/tensor_library.h"

#include <dlfcn.h>

#include <cstdlib>

#include "base/error.h"

namespace verbatim {

int run_tensor_command(std::string_view name, const std::vector<std::string>& arguments) {
  // Threads that wait for each other must not spin: on a busy machine that costs most of the speed. Read by OpenMP when
  // LibTorch is loaded; what the user has set stays.
  setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
  // Read by LibTorch 2 when it is loaded: see nn/tensor_memory.h.
  setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);
  // The program's RUNPATH finds it beside the program or in the library folder of the same installation.
  void* library = dlopen("libverbatim_tensor.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw_input("cannot open libverbatim_tensor.so ({}); it belongs beside the program or in ../lib", dlerror());
  }
  const auto run =
      reinterpret_cast<decltype(&verbatim_run_tensor_command)>(dlsym(library, "verbatim_run_tensor_command"));
  if (run == nullptr) {
    throw_input("libverbatim_tensor.so is of another version ({}); install both from the same build", dlerror());
  }
  std::vector<const char*> pointers;
  pointers.reserve(arguments.size());
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  return run(std::string(name).c_str(), static_cast<int>(pointers.size()), pointers.data());
}

}  // namespace verbatim
