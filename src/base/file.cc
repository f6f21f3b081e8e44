#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "base/error.h"

namespace verbatim {
namespace {

constexpr size_t kWriteBuffer = size_t{1} << 18;

// Closes a descriptor at the end of its scope. Errors of close() matter only for files written, which are synced first.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  [[nodiscard]] int get() const { return value_; }

 private:
  int value_;
};

int open_for_reading(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (descriptor >= 0) return descriptor;
  const int code = errno;
  if (code == ENOENT || code == ENOTDIR)
    throw_input("{}: expected a file, got nothing there; check the path", path.string());
  throw_system(code, "open", path.string());
}

void write_all(int descriptor, const char* data, size_t size, const std::filesystem::path& path) {
  while (size > 0) {
    const ssize_t written = ::write(descriptor, data, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_system(errno, "write", path.string());
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path();
  return folder.empty() ? std::filesystem::path(".") : folder;
}

// Temporary names are ".NAME.PROCESS-COUNT.tmp": hidden, so that patterns like *.safetensors do not see them.
std::string temporary_prefix(const std::filesystem::path& path) {
  // Names have 255 bytes at most, so a long one is shortened.
  return fmt::format(".{}.", path.filename().string().substr(0, 128));
}

bool remove_from_end(std::string_view& text, std::string_view expected) {
  if (!text.ends_with(expected)) return false;
  text.remove_suffix(expected.size());
  return true;
}

bool remove_digits_from_end(std::string_view& text) {
  const size_t kept = text.find_last_not_of("0123456789") + 1;  // 0 when all are digits
  const bool any = kept < text.size();
  text = text.substr(0, kept);
  return any;
}

// ".NAME." of a temporary name; empty for other names.
std::string_view prefix_of_temporary(std::string_view name) {
  const bool is_ours = remove_from_end(name, ".tmp") && remove_digits_from_end(name) && remove_from_end(name, "-") &&
                       remove_digits_from_end(name) && name.size() > 2 && name.starts_with('.') && name.ends_with('.');
  return is_ours ? name : std::string_view();
}

bool is_named(int descriptor, const std::filesystem::path& path) {
  struct stat held {};
  struct stat named {};
  return ::fstat(descriptor, &held) == 0 && ::lstat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

// Removes a temporary file unless somebody holds its lock. The process number in its name would not do: numbers are
// used again, and mean nothing to another container or machine that shares the folder.
void remove_if_unfinished(const std::filesystem::path& path) {
  // O_NONBLOCK: not to wait when it is a pipe.
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  // No lock: it is being written, or this file system has no locks and nothing can be told.
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return;
  if (is_named(file.get(), path)) ::unlink(path.c_str());
}

// Leftovers of files with this prefix, of all files when it is empty. Whatever cannot be read or removed stays: it is
// in nobody's way.
void remove_unfinished(const std::filesystem::path& folder, std::string_view prefix) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::string_view found = prefix_of_temporary(name);
    if (!found.empty() && (prefix.empty() || found == prefix)) remove_if_unfinished(entry->path());
  }
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path, Access access) : path_(path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer before it could be refused.
  const Descriptor file(open_for_reading(path, O_NONBLOCK));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_system(errno, "examine", path.string());
  if (!S_ISREG(status.st_mode)) {
    throw_input("{}: expected a regular file, got {}; only regular files can be mapped into memory", path.string(),
                S_ISDIR(status.st_mode) ? "a folder" : "a pipe, socket or device");
  }
  if (status.st_size == 0) return;
  const auto size = static_cast<size_t>(status.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) throw_system(errno, "map into memory", path.string());
  // Only advice: a refusal changes the speed, nothing else.
  (void)::madvise(data, size, access == Access::kSequential ? MADV_SEQUENTIAL : MADV_RANDOM);
  data_ = static_cast<const std::byte*>(data);
  size_ = size;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::exchange(other.path_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  const Descriptor file(open_for_reading(path, 0));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_system(errno, "examine", path.string());
  if (S_ISDIR(status.st_mode)) throw_input("{}: expected a file, got a folder; name a file in it", path.string());
  const auto refuse_length = [&] {
    throw_input("{}: expected at most {} bytes, got more; this is not the kind of file that is wanted here",
                path.string(), max_bytes);
  };
  const auto announced = static_cast<uint64_t>(std::max<off_t>(status.st_size, 0));
  if (announced > max_bytes) refuse_length();

  // The announced size is only a first guess: pipes and files of /proc announce 0, and a file may grow meanwhile.
  std::string content;
  content.resize(static_cast<size_t>(announced) + 1);
  size_t size = 0;
  while (true) {
    if (size == content.size()) content.resize(std::max<size_t>(2 * size, size_t{1} << 16));
    const ssize_t received = ::read(file.get(), content.data() + size, content.size() - size);
    if (received < 0) {
      if (errno == EINTR) continue;
      throw_system(errno, "read", path.string());
    }
    if (received == 0) break;
    size += static_cast<size_t>(received);
    if (size > max_bytes) refuse_length();
  }
  content.resize(size);
  return content;
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  if (path_.filename().empty()) throw_input("'{}': expected the name of a file, got a folder", path_.string());
  static std::atomic<uint64_t> counter{0};
  const std::string prefix = temporary_prefix(path_);
  remove_unfinished(folder_of(path_), prefix);
  while (true) {
    temporary_ = folder_of(path_) / fmt::format("{}{}-{}.tmp", prefix, ::getpid(), counter++);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0) {
      // The lock says that somebody is writing it. Before it was there, the file may have been taken for a leftover.
      while (::flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) continue;
      if (is_named(descriptor_, temporary_)) break;
      ::close(std::exchange(descriptor_, -1));
      continue;
    }
    if (errno == EEXIST) continue;  // of a process with the same number, which another machine may have
    const int code = errno;
    if (code == ENOENT || code == ENOTDIR) {
      throw_input("{}: expected an existing folder {}, got none; create it first", path_.string(),
                  folder_of(path_).string());
    }
    throw_system(code, "create", temporary_.string());
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  VERBATIM_ASSERT(descriptor_ >= 0, "{} was written to after commit()", path_.string());
  if (buffer_.size() + bytes.size() > kWriteBuffer) flush_buffer();
  if (bytes.size() > kWriteBuffer) {
    write_all(descriptor_, bytes.data(), bytes.size(), temporary_);
  } else {
    buffer_.append(bytes);
  }
  written_ += bytes.size();
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::truncate(uint64_t bytes) {
  VERBATIM_ASSERT(descriptor_ >= 0 && bytes <= written_, "{}: {} of {} bytes", path_.string(), bytes, written_);
  const uint64_t flushed = written_ - buffer_.size();
  if (bytes >= flushed) {
    buffer_.resize(static_cast<size_t>(bytes - flushed));
  } else {
    buffer_.clear();
    const auto size = static_cast<off_t>(bytes);
    if (::ftruncate(descriptor_, size) != 0) throw_system(errno, "shorten", temporary_.string());
    if (::lseek(descriptor_, size, SEEK_SET) != size) throw_system(errno, "seek in", temporary_.string());
  }
  written_ = bytes;
}

void AtomicFile::flush_buffer() {
  write_all(descriptor_, buffer_.data(), buffer_.size(), temporary_);
  buffer_.clear();
}

void AtomicFile::commit() {
  VERBATIM_ASSERT(descriptor_ >= 0, "{} was committed twice", path_.string());
  flush_buffer();
  if (::fsync(descriptor_) != 0) throw_system(errno, "flush to disk", temporary_.string());
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    throw_system(errno, "rename a temporary file to", path_.string());
  }
  temporary_.clear();
  // Closed last: it is locked up to here. All bytes are on the disk, so that closing has nothing more to report.
  ::close(std::exchange(descriptor_, -1));
  sync_folder(folder_of(path_));
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void remove_unfinished_files(const std::filesystem::path& folder) { remove_unfinished(folder, ""); }

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor descriptor(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0) throw_system(errno, "open", folder.string());
  // Some network file systems cannot sync folders and say so by EINVAL; there is nothing more to do on them.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL) throw_system(errno, "flush to disk", folder.string());
}

}  // namespace verbatim
