#include "base/folder_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/scratch_folder.h"

namespace verbatim {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;
using ::testing::ThrowsMessage;

// A process that holds the folder until it is killed.
class Holder {
 public:
  explicit Holder(const std::filesystem::path& folder) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("cannot make a pipe");
    number_ = ::fork();
    if (number_ == 0) {
      const FolderLock lock(folder);
      (void)!::write(ends[1], "x", 1);
      while (true) ::pause();
    }
    char locked = 0;
    (void)!::read(ends[0], &locked, 1);
    ::close(ends[0]);
    ::close(ends[1]);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() { kill_it(); }

  void kill_it() {
    if (number_ <= 0) return;
    ::kill(number_, SIGKILL);
    ::waitpid(number_, nullptr, 0);
    number_ = 0;
  }
  [[nodiscard]] pid_t number() const { return number_; }

 private:
  pid_t number_ = 0;
};

TEST(folder_lock, is_refused_while_another_process_has_it_and_names_that_process) {
  const ScratchFolder folder;
  const Holder holder(folder.path());
  EXPECT_THAT([&] { FolderLock lock(folder.path()); },
              ThrowsMessage<InputError>(HasSubstr(fmt::format("(process {})", holder.number()))));
  EXPECT_THAT([&] { FolderLock lock(folder.path()); }, ThrowsMessage<InputError>(HasSubstr(folder.path().string())));
}

TEST(folder_lock, ends_with_its_process_even_a_killed_one) {
  const ScratchFolder folder;
  Holder holder(folder.path());
  holder.kill_it();
  EXPECT_EQ(folder.names(), std::vector<std::string>{".lock"});
  EXPECT_NO_THROW(FolderLock lock(folder.path()));
}

TEST(folder_lock, is_exclusive_within_a_process_and_ends_with_the_object) {
  const ScratchFolder folder;
  std::optional<FolderLock> first(std::in_place, folder.path());
  EXPECT_THROW(FolderLock(folder.path()), InputError);
  EXPECT_EQ(ScratchFolder::read(folder / ".lock"), fmt::format("{}\n", ::getpid()));
  first.reset();
  EXPECT_NO_THROW(FolderLock lock(folder.path()));
}

TEST(folder_lock, of_one_folder_leaves_others_free) {
  const ScratchFolder one, other;
  const FolderLock first(one.path());
  EXPECT_NO_THROW(FolderLock second(other.path()));
}

TEST(folder_lock, needs_a_folder) {
  const ScratchFolder folder;
  EXPECT_THROW(FolderLock(folder / "absent"), std::system_error);
}

}  // namespace
}  // namespace verbatim
