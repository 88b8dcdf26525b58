#include "runner/model/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "ipc/base/fd.h"

namespace deepserve::runner {

Result<std::string> read_text_file(const std::filesystem::path& path, uint64_t bytes_max) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO would block otherwise
  if (!file && errno == ENOENT) return fail(Code::kModelNotFound, "{}: there is no such file", path.string());
  if (!file) return fail_errno(fmt::format("{}: open", path.string()));
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return fail_errno(fmt::format("{}: fstat", path.string()));
  if (!S_ISREG(status.st_mode)) return fail(Code::kBadModelFile, "{}: not a regular file", path.string());
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > bytes_max) {
    return fail(Code::kBadModelFile, "{}: {} bytes, at most {} are allowed", path.string(), size, bytes_max);
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = read(file.get(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(fmt::format("{}: read", path.string()));
    if (count == 0) break;  // it was cut short just now: what is there speaks for itself
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

Result<std::optional<std::string>> read_text_file_if_there(const std::filesystem::path& path,
                                                           uint64_t bytes_max) {
  auto text = read_text_file(path, bytes_max);
  if (text) return std::optional(std::move(*text));
  if (text.error().code == Code::kModelNotFound) return std::nullopt;
  return tl::unexpected<Error>(std::move(text.error()));
}

}  // namespace deepserve::runner
