#include "daemon/process/ticket_key.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <memory>
#include <string_view>

#include "ipc/base/check.h"
#include "ipc/base/fd.h"

namespace deepserve::daemon {
namespace {

Result<SecretKey> read_key(const Fd& file, const std::string& path) {
  const auto refuse = [&path](const char* why) {
    return fail(Code::kInvalidConfig, "the ticket key '{}' {}; remove it to have a new one made", path, why);
  };
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) return fail_errno(fmt::format("cannot look at '{}'", path));
  if (!S_ISREG(facts.st_mode)) return refuse("is no file");
  if (facts.st_uid != ::geteuid() && facts.st_uid != 0) return refuse("is somebody else's");
  if ((facts.st_mode & 077) != 0) return refuse("is open to others (chmod 600)");
  SecretKey key;
  if (facts.st_size != static_cast<off_t>(key.size())) return refuse("is not 32 bytes");
  if (::pread(file.get(), key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
    return fail_errno(fmt::format("cannot read '{}'", path));
  }
  if (key == SecretKey{}) return refuse("is all zeros");
  return key;
}

// Under a name of its own first: nobody ever sees half a key, and of two that make one, one wins.
Result<void> make_key(const std::string& path) {
  const std::string fresh = fmt::format("{}.{}", path, ::getpid());
  ::unlink(fresh.c_str());
  const Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  const SecretKey key = random_key();
  const bool written =
      file && ::write(file.get(), key.data(), key.size()) == static_cast<ssize_t>(key.size()) &&
      ::fsync(file.get()) == 0 && (::link(fresh.c_str(), path.c_str()) == 0 || errno == EEXIST);
  if (!written) {
    auto failure = fail_errno(fmt::format("cannot make the ticket key '{}'", path));
    ::unlink(fresh.c_str());
    return failure;
  }
  ::unlink(fresh.c_str());
  return {};
}

}  // namespace

SecretKey random_key() {
  SecretKey key;
  CHECK(::getrandom(key.data(), key.size(), 0) == static_cast<ssize_t>(key.size()));
  return key;
}

Result<SecretKey> load_or_make_key(const std::string& path) {
  const auto open = [&path] {
    return Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  };
  Fd file = open();
  if (!file && errno == ENOENT) {
    TRY(make_key(path));
    file = open();
  }
  if (!file) return fail_errno(fmt::format("cannot open the ticket key '{}'", path));
  return read_key(file, path);
}

uint64_t host_boot() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen("/proc/sys/kernel/random/boot_id", "re"), &std::fclose);
  char text[64] = {};
  if (!file || std::fgets(text, sizeof text, file.get()) == nullptr) return 0;
  return std::hash<std::string_view>()(text);
}

}  // namespace deepserve::daemon
