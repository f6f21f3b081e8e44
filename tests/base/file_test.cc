#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/scratch_folder.h"

namespace verbatim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ScratchFolder;
using ::testing::SizeIs;
using ::testing::ThrowsMessage;

std::string zeros_and_all_bytes() {
  std::string bytes(3, '\0');
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

TEST(mapped_file, shows_the_bytes_of_the_file) {
  const ScratchFolder folder;
  const auto path = folder.write("a", zeros_and_all_bytes());
  for (const auto access : {MappedFile::Access::kRandom, MappedFile::Access::kSequential}) {
    const MappedFile file(path, access);
    EXPECT_EQ(file.text(), zeros_and_all_bytes());
    EXPECT_EQ(file.bytes().size(), 259u);
    EXPECT_EQ(file.path(), path);
  }
}

TEST(mapped_file, maps_an_empty_file_to_nothing) {
  const ScratchFolder folder;
  const MappedFile file(folder.write("empty", ""));
  EXPECT_TRUE(file.bytes().empty());
  EXPECT_EQ(file.text(), "");
}

TEST(mapped_file, keeps_its_bytes_when_it_moves) {
  const ScratchFolder folder;
  MappedFile first(folder.write("a", "first"));
  const std::byte* address = first.bytes().data();
  MappedFile second(std::move(first));
  EXPECT_EQ(second.bytes().data(), address);
  MappedFile third(folder.write("b", "third"));
  third = std::move(second);
  EXPECT_EQ(third.text(), "first");
  EXPECT_EQ(third.bytes().data(), address);
}

TEST(mapped_file, refuses_missing_files_folders_and_pipes) {
  const ScratchFolder folder;
  EXPECT_THAT([&] { MappedFile file(folder / "absent"); },
              ThrowsMessage<InputError>(HasSubstr("absent: expected a file")));
  EXPECT_THAT([&] { MappedFile file(folder.write("a", "x") / "below"); },
              ThrowsMessage<InputError>(HasSubstr("below")));
  EXPECT_THAT([&] { MappedFile file(folder.path()); }, ThrowsMessage<InputError>(HasSubstr("got a folder")));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT([&] { MappedFile file(folder / "pipe"); }, ThrowsMessage<InputError>(HasSubstr("got a pipe")));
}

TEST(read_file, returns_every_byte) {
  const ScratchFolder folder;
  EXPECT_EQ(read_file(folder.write("a", zeros_and_all_bytes())), zeros_and_all_bytes());
  EXPECT_EQ(read_file(folder.write("b", "")), "");
}

TEST(read_file, refuses_what_is_longer_than_allowed) {
  const ScratchFolder folder;
  const auto path = folder.write("a", "12345678");
  EXPECT_EQ(read_file(path, 8), "12345678");
  EXPECT_THAT([&] { (void)read_file(path, 7); }, ThrowsMessage<InputError>(HasSubstr("at most 7 bytes")));
  EXPECT_THROW((void)read_file(folder / "absent"), InputError);
  EXPECT_THROW((void)read_file(folder.path()), InputError);
}

TEST(read_file, reads_pipes_and_files_that_announce_no_size) {
  const ScratchFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const std::string content(300'000, 'x');
  std::thread writer([&] { folder.write("pipe", content); });
  EXPECT_EQ(read_file(folder / "pipe"), content);
  writer.join();
  EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("Name:"));
  EXPECT_THROW((void)read_file("/proc/self/status", 10), InputError);
}

TEST(atomic_file, appears_under_its_name_only_when_committed) {
  const ScratchFolder folder;
  AtomicFile file(folder / "a");
  file.write("first ");
  file.write("second");
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  EXPECT_THAT(folder.names(), SizeIs(1));
  file.commit();
  EXPECT_THAT(folder.names(), ElementsAre("a"));
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "first second");
  EXPECT_EQ(file.bytes_written(), 12u);
}

TEST(atomic_file, leaves_nothing_behind_without_commit) {
  const ScratchFolder folder;
  {
    AtomicFile file(folder / "a");
    file.write(std::string(1'000'000, 'x'));
  }
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(atomic_file, leaves_the_old_file_alone_without_commit) {
  const ScratchFolder folder;
  folder.write("a", "old");
  { AtomicFile(folder / "a").write("new"); }
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

TEST(atomic_file, replaces_the_old_file) {
  const ScratchFolder folder;
  folder.write("a", "a longer old content");
  write_file_atomically(folder / "a", "new");
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "new");
}

TEST(atomic_file, keeps_the_order_of_small_and_large_writes) {
  const ScratchFolder folder;
  std::string expected;
  AtomicFile file(folder / "a");
  for (int i = 0; i < 40; ++i) {
    const std::string piece(i % 5 == 0 ? 300'000 : 70'000 + i, static_cast<char>('a' + i % 26));
    expected += piece;
    file.write(std::as_bytes(std::span(piece)));
  }
  file.commit();
  EXPECT_EQ(file.bytes_written(), expected.size());
  EXPECT_TRUE(ScratchFolder::read(folder / "a") == expected);
}

TEST(atomic_file, takes_back_bytes_in_memory_and_on_disk) {
  const ScratchFolder folder;
  AtomicFile file(folder / "a");
  file.write("0123456789");
  file.truncate(5);  // still in memory
  file.write("abc");
  file.write(std::string(1'000'000, 'x'));
  file.truncate(7);  // on disk by now
  EXPECT_EQ(file.bytes_written(), 7u);
  file.write("end");
  file.truncate(10);  // nothing to do
  file.commit();
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "01234abend");
  EXPECT_THROW(file.truncate(0), InternalError);
}

TEST(atomic_file, can_be_open_twice_for_one_name_and_the_last_commit_wins) {
  const ScratchFolder folder;
  AtomicFile first(folder / "a");
  AtomicFile second(folder / "a");
  first.write("first");
  second.write("second");
  second.commit();
  first.commit();
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "first");
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

// Lets a process die while it writes `path`.
void leave_unfinished(const std::filesystem::path& path) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto* file = new AtomicFile(path);
    file->write("half");
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
}

TEST(atomic_file, removes_what_a_killed_process_left_of_the_same_file) {
  const ScratchFolder folder;
  leave_unfinished(folder / "a");
  leave_unfinished(folder / "a.b");
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  ASSERT_THAT(folder.names(), SizeIs(2));
  for (const std::string& name : folder.names()) EXPECT_THAT(name, ::testing::StartsWith(".a."));
  write_file_atomically(folder / "a", "whole");
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "whole");
  EXPECT_THAT(folder.names(), ElementsAre(::testing::StartsWith(".a.b."), "a"));
  write_file_atomically(folder / "a.b", "whole");
  EXPECT_THAT(folder.names(), ElementsAre("a", "a.b"));
}

TEST(atomic_file, leaves_alone_what_another_process_is_writing_and_names_of_others) {
  const ScratchFolder folder;
  // The names that this process is about to try count as leftovers too, whatever process made them.
  const std::string own = fmt::format(".a.{}-", ::getpid());
  for (int i = 0; i < 1000; ++i) folder.write(own + std::to_string(i) + ".tmp", "left by a process of the same number");
  const std::vector<std::string> foreign = {".a.1-2.tmp.bak", ".a.1.tmp", ".a.x-2.tmp", ".a.1-.tmp", "a.1-2.tmp"};
  for (const std::string& name : foreign) folder.write(name, "the user's");
  int to_child[2], to_parent[2];
  ASSERT_EQ(::pipe(to_child), 0);
  ASSERT_EQ(::pipe(to_parent), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    AtomicFile file(folder / "a");
    file.write("from the child");
    char byte = 0;
    (void)!::write(to_parent[1], "x", 1);
    (void)!::read(to_child[0], &byte, 1);
    file.commit();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(to_parent[0], &byte, 1), 1);
  EXPECT_THAT(folder.names(), SizeIs(foreign.size() + 1));
  write_file_atomically(folder / "a", "from the parent");
  remove_unfinished_files(folder.path());
  EXPECT_THAT(folder.names(), SizeIs(foreign.size() + 2));
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "from the parent");
  ASSERT_EQ(::write(to_child[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "from the child");
  for (const int end : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) ::close(end);
}

TEST(atomic_file, many_writers_of_one_file_do_not_take_each_other_for_leftovers) {
  const ScratchFolder folder;
  std::vector<pid_t> children;
  for (int c = 0; c < 8; ++c) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        for (int i = 0; i < 50; ++i) write_file_atomically(folder / "a", std::string(1000, static_cast<char>('a' + c)));
      } catch (const std::exception&) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_THAT(folder.names(), ElementsAre("a"));
  const std::string content = ScratchFolder::read(folder / "a");
  EXPECT_EQ(content, std::string(1000, content.at(0)));
}

TEST(remove_unfinished_files, removes_those_of_all_files_in_a_folder) {
  const ScratchFolder folder;
  leave_unfinished(folder / "a");
  leave_unfinished(folder / std::string(255, 'n'));
  folder.write("b", "whole");
  ASSERT_THAT(folder.names(), SizeIs(3));
  remove_unfinished_files(folder.path());
  EXPECT_THAT(folder.names(), ElementsAre("b"));
  EXPECT_NO_THROW(remove_unfinished_files(folder / "absent"));
}

TEST(atomic_file, takes_the_longest_names_a_folder_can_hold) {
  const ScratchFolder folder;
  const std::string name(255, 'n');
  write_file_atomically(folder / name, "x");
  EXPECT_THAT(folder.names(), ElementsAre(name));
}

TEST(atomic_file, respects_the_permissions_the_user_asked_for) {
  const ScratchFolder folder;
  const mode_t before = ::umask(0027);
  write_file_atomically(folder / "a", "x");
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat((folder / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST(atomic_file, refuses_a_missing_folder_and_a_name_that_is_one) {
  const ScratchFolder folder;
  EXPECT_THAT([&] { AtomicFile file(folder / "absent" / "a"); },
              ThrowsMessage<InputError>(HasSubstr("create it first")));
  EXPECT_THROW(AtomicFile(folder / "absent/"), InputError);
  std::filesystem::create_directory(folder / "sub");
  EXPECT_THROW(write_file_atomically(folder / "sub", "x"), std::system_error);
  EXPECT_THAT(folder.names(), ElementsAre("sub"));
}

TEST(atomic_file, refuses_to_write_after_commit) {
  const ScratchFolder folder;
  AtomicFile file(folder / "a");
  file.commit();
  EXPECT_THROW(file.write("x"), InternalError);
  EXPECT_THROW(file.commit(), InternalError);
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "");
}

TEST(atomic_file, reports_that_the_system_takes_no_more_bytes) {
  const ScratchFolder folder;
  folder.write("a", "old");
  // A limit on file sizes stands for a full disk; in a child, because it cannot be lifted again.
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file_atomically(folder / "a", std::string(2000, 'x'));
      ::_exit(1);
    } catch (const std::system_error& error) {
      ::_exit(error.code().value() == EFBIG ? 0 : 2);
    }
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(ScratchFolder::read(folder / "a"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

TEST(sync_folder, accepts_folders_only) {
  const ScratchFolder folder;
  EXPECT_NO_THROW(sync_folder(folder.path()));
  EXPECT_THROW(sync_folder(folder / "absent"), std::system_error);
  EXPECT_THROW(sync_folder(folder.write("a", "")), std::system_error);
}

}  // namespace
}  // namespace verbatim
