#include "corpus/staging_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace verbatim {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kLockName = StagingFolder::kLockName;

fs::path absolute_name(const fs::path& path) {
  fs::path name = fs::weakly_canonical(fs::absolute(path));
  if (!name.has_filename()) name = name.parent_path();  // "out/"
  if (!name.has_filename()) throw_input("{}: expected the name of a folder to create", path.string());
  return name;
}

bool same_file(int descriptor, const fs::path& path) {
  struct stat held {};
  struct stat named {};
  return ::fstat(descriptor, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

// The lock goes last: as long as anything is there, it tells the next process that all of it may go.
void remove_staging(const fs::path& folder) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename() != kLockName) fs::remove_all(entry.path(), ignored);
  }
  fs::remove_all(folder, ignored);
}

}  // namespace

StagingFolder::StagingFolder(const fs::path& final_path) : final_(absolute_name(final_path)) {
  fs::create_directories(final_.parent_path());
  staging_ = final_.parent_path() / ("." + final_.filename().string() + ".preparing");
  const fs::path lock_path = staging_ / kLockName;
  while (true) {
    if (::mkdir(staging_.c_str(), 0777) != 0 && errno != EEXIST) throw_system(errno, "create", staging_.string());
    if (!fs::exists(lock_path) && !fs::is_empty(staging_)) {
      throw_input("{} is in the way and was not written by this program; remove it", staging_.string());
    }
    lock_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_ < 0 && errno == ENOENT) continue;  // another process has just finished with the folder
    if (lock_ < 0) throw_system(errno, "create", lock_path.string());
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      ::close(std::exchange(lock_, -1));
      throw_input("{}: another process is writing this folder now; wait for it or choose another folder",
                  final_.string());
    }
    if (same_file(lock_, lock_path)) break;
    ::close(std::exchange(lock_, -1));
  }
  for (const fs::directory_entry& left_over : fs::directory_iterator(staging_)) {
    if (left_over.path().filename() != kLockName) fs::remove_all(left_over.path());
  }
}

StagingFolder::~StagingFolder() {
  if (lock_ < 0) return;
  remove_staging(staging_);
  ::close(lock_);
}

void StagingFolder::publish() {
  sync_folder(staging_);
  int old_lock = -1;
  if (::rename(staging_.c_str(), final_.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) throw_system(errno, "rename to", final_.string());
    // The old folder comes to lie under the hidden name; its lock file tells the next run, if this one is killed now,
    // that it may go.
    old_lock = ::open((final_ / kLockName).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (old_lock < 0) throw_system(errno, "create", (final_ / kLockName).string());
    ::flock(old_lock, LOCK_EX | LOCK_NB);
    if (::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, final_.c_str(), RENAME_EXCHANGE) != 0) {
      // Some network file systems cannot exchange names; then there is a moment without the folder.
      const fs::path old = staging_.string() + ".old";
      fs::rename(final_, old);
      fs::rename(staging_, final_);
      fs::rename(old, staging_);
    }
  }
  fs::remove(final_ / kLockName);
  sync_folder(final_.parent_path());
  ::close(std::exchange(lock_, -1));
  if (old_lock >= 0) {
    remove_staging(staging_);
    ::close(old_lock);
  }
}

}  // namespace verbatim
