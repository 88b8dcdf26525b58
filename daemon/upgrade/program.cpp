#include "daemon/upgrade/program.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace deepserve::daemon {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

}  // namespace

Result<Program> open_program(const std::string& path) {
  Program program;
  if (path.empty() || path[0] != '/') return fail(Code::kConflict, "'{}' is no absolute path", path);
  program.path = path;
  program.file = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!program.file) return fail(Code::kConflict, "'{}' cannot be opened: {}", path, std::strerror(errno));
  struct stat facts {};
  if (::fstat(program.file.get(), &facts) != 0) return fail_errno("fstat");
  if (!S_ISREG(facts.st_mode)) return fail(Code::kConflict, "'{}' is no regular file", path);
  if (facts.st_uid != 0 && facts.st_uid != ::geteuid()) {
    return fail(Code::kConflict, "'{}' is owned by uid {}: it has to be root's or our own", path,
                facts.st_uid);
  }
  if ((facts.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail(Code::kConflict, "'{}' can be written by others than its owner (mode {:o})", path,
                facts.st_mode & 07777);
  }
  if ((facts.st_mode & (S_ISUID | S_ISGID)) != 0) {
    return fail(Code::kConflict, "'{}' runs under another's rights (mode {:o})", path, facts.st_mode & 07777);
  }
  if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) {
    return fail(Code::kConflict, "'{}' is not executable", path);
  }
  return program;
}

Result<Program> open_own_program() {
  Program program;
  program.file = Fd(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
  if (!program.file) return fail_errno("opening our own program");
  std::error_code error;
  program.path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (program.path.ends_with(kDeleted)) program.path.resize(program.path.size() - kDeleted.size());
  return program;
}

}  // namespace deepserve::daemon
