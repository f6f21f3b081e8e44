#include "base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/error.h"

namespace verbatim {
namespace {

// " (process 1234)", or nothing while the holder has not written its number yet.
std::string holder(int descriptor) {
  char digits[16];
  const ssize_t size = ::pread(descriptor, digits, sizeof digits, 0);
  std::string number;
  for (ssize_t i = 0; i < size && digits[i] >= '0' && digits[i] <= '9'; ++i) number.push_back(digits[i]);
  return number.empty() ? "" : fmt::format(" (process {})", number);
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / ".lock";
  // Not shortened before the lock is there: the number inside may be the holder's.
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw_system(errno, "create", path.string());
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    const std::string who = holder(descriptor_);
    ::close(std::exchange(descriptor_, -1));
    throw_input(
        "{}: expected a folder that nobody writes, got one that another process is writing now{}; wait for it, "
        "stop it, or choose another folder",
        folder.string(), who);
  }
  // Other errors mean a file system without locks. The number is for the message only, so that a full disk is no
  // reason to stop here.
  const std::string number = fmt::format("{}\n", ::getpid());
  const bool written = ::ftruncate(descriptor_, 0) == 0 && ::pwrite(descriptor_, number.data(), number.size(), 0) > 0;
  (void)written;
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace verbatim
