#pragma once

#include <filesystem>

namespace verbatim {

// An existing folder that one process writes at a time: an exclusive lock on FOLDER/.lock, a file that holds the number
// of the process. The kernel takes the lock back when the process ends, however it ends; the file stays and means
// nothing by itself. Readers need no lock. On file systems without locks everybody gets one.
class FolderLock {
 public:
  // Throws InputError naming the process that has the folder, std::system_error when the lock file cannot be written.
  explicit FolderLock(const std::filesystem::path& folder);
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

 private:
  int descriptor_ = -1;
};

}  // namespace verbatim
