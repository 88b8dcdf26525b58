#include "ctl/standard_input.h"

#include <unistd.h>

#include <array>
#include <cerrno>

namespace deepserve::ctl {

Result<std::string> read_standard_input() {
  constexpr size_t kInput_bytes_max = size_t{64} << 20;
  std::string text;
  std::array<char, 64 * 1024> buffer;
  for (;;) {
    const ssize_t size = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (size == 0) return text;
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail_errno("reading stdin");
    text.append(buffer.data(), static_cast<size_t>(size));
    if (text.size() > kInput_bytes_max) return fail(Code::kPayloadTooLarge, "stdin holds more than 64 MiB");
  }
}

}  // namespace deepserve::ctl
