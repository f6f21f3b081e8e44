#pragma once

#include <filesystem>
#include <string_view>

namespace verbatim {

// A folder that appears under its final name complete or not at all. Files are written below path(), a hidden folder
// beside the final one (".NAME.preparing"), which publish() renames. Without publish() everything is removed; what a
// killed process left is removed by the next one, told from a living one by a lock.
class StagingFolder {
 public:
  // A file of this name may stay in the final folder when the process is killed right after renaming.
  static constexpr std::string_view kLockName = ".lock";

  // Throws InputError when another process holds it, or when something else lies under the hidden name.
  explicit StagingFolder(const std::filesystem::path& final_path);
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;
  ~StagingFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return staging_; }
  // Flushes names to disk and renames. A folder under the final name is replaced in one step.
  void publish();

 private:
  std::filesystem::path final_;
  std::filesystem::path staging_;
  int lock_ = -1;
};

}  // namespace verbatim
