#include "daemon/process/runtime_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace deepserve::daemon {

Result<void> make_private_dir(const std::string& path) {
  const std::filesystem::path directory(path);
  std::error_code error;
  if (std::filesystem::is_directory(directory, error)) return {};
  if (directory.has_parent_path()) std::filesystem::create_directories(directory.parent_path(), error);
  if (::mkdir(path.c_str(), 0700) != 0)
    return fail_errno(fmt::format("cannot make the directory '{}'", path));
  return {};
}

std::string rendezvous_dir(const std::string& runtime_dir) {
  return runtime_dir + "/runners";
}

std::string mps_dir(const std::string& runtime_dir) {
  return runtime_dir + "/mps";
}

Result<RuntimeDir> RuntimeDir::claim(const std::string& path) {
  TRY(make_private_dir(path));
  const std::string lock_path = path + "/dsd.lock";
  Fd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return fail_errno(fmt::format("cannot open '{}'", lock_path));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(fmt::format("cannot lock '{}'", lock_path));
    char text[32] = {};
    const ssize_t size = ::pread(lock.get(), text, sizeof text - 1, 0);
    const std::string pid(text, size > 0 ? static_cast<size_t>(size) : 0);
    return fail(Code::kConflict, "another dsd (pid {}) runs in '{}'", pid.substr(0, pid.find('\n')), path);
  }
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(lock.get(), 0) != 0 || ::pwrite(lock.get(), pid.data(), pid.size(), 0) < 0) {
    return fail_errno(fmt::format("cannot write '{}'", lock_path));
  }
  return RuntimeDir(std::move(lock));
}

Result<RuntimeDir> RuntimeDir::take_over(const std::string& path, int lock) {
  const std::string lock_path = path + "/dsd.lock";
  struct stat there {
  }, here{};
  if (::stat(lock_path.c_str(), &there) != 0) return fail_errno(fmt::format("cannot find '{}'", lock_path));
  const bool same = ::fstat(lock, &here) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
  if (!same || ::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::kIo, "descriptor {} is not the lock of '{}'", lock, path);
  }
  return RuntimeDir(Fd(lock));
}

}  // namespace deepserve::daemon
