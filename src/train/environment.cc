#include "train/environment.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/machine.h"
#include "base/text_format.h"
#include "nn/torch.h"

namespace verbatim {

std::string environment_json(const ProgramInfo& program, const std::filesystem::path& data) {
  const nlohmann::ordered_json object = {{"version", program.version},
                                         {"commit", program.commit},
                                         {"libtorch", TORCH_VERSION},
                                         {"compiler", program.compiler},
                                         {"cpu", cpu_name()},
                                         {"cpus", cpu_count()},
                                         {"threads", at::get_num_threads()},
                                         {"memory_bytes", total_memory_bytes()},
                                         {"cuda", torch::cuda::is_available()},
                                         {"host", host_name()},
                                         {"command", program.command_line},
                                         {"data", data.string()},
                                         {"started_at", format_time_utc(std::time(nullptr))}};
  return object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace verbatim
