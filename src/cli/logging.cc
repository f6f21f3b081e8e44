#include "cli/logging.h"

#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>

#include "base/error.h"
#include "cli/terminal.h"

namespace verbatim {
namespace {

class ErrorSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  ErrorSink(std::string command, bool has_colors) : command_(std::move(command)), has_colors_(has_colors) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string_view words(message.payload.data(), message.payload.size());
    switch (message.level) {
      case spdlog::level::info:
        return write_error_line(words);
      case spdlog::level::warn:
        return write(colored("warning", "\033[33m"), words);
      case spdlog::level::err:
      case spdlog::level::critical:
        return write(colored("error", "\033[31m"), words);
      default:
        return write(colored("debug", "\033[2m"), words);
    }
  }
  void flush_() override {}

 private:
  [[nodiscard]] std::string colored(std::string_view word, std::string_view color) const {
    return has_colors_ ? fmt::format("{}{}\033[0m", color, word) : std::string(word);
  }
  void write(const std::string& level, std::string_view words) const {
    write_error_line(fmt::format("{}: {}: {}", command_, level, words));
  }

  std::string command_;
  bool has_colors_;
};

spdlog::sink_ptr file_sink(const std::string& path, std::string_view named_by) {
  try {
    auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    file->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    return file;
  } catch (const spdlog::spdlog_ex& error) {
    throw_input("{}: {}", named_by, error.what());
  }
}

}  // namespace

void set_up_logging(const std::string& command, const CommonOptions& options) {
  const bool has_colors = options.log_colors == "always" || (options.log_colors == "auto" && wants_colors());
  auto logger = std::make_shared<spdlog::logger>(
      "verbatim", std::make_shared<ErrorSink>(command.empty() ? "verbatim" : "verbatim " + command, has_colors));
  if (!options.log_file.empty()) logger->sinks().push_back(file_sink(options.log_file, "--log-file"));
  logger->set_level(options.verbosity >= 2   ? spdlog::level::trace
                    : options.verbosity == 1 ? spdlog::level::debug
                                             : spdlog::level::info);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void add_log_file(const std::string& path) { spdlog::default_logger()->sinks().push_back(file_sink(path, "log")); }

}  // namespace verbatim
