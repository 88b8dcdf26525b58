#include "ipc/base/result.h"

#include <cerrno>
#include <system_error>

namespace deepserve {

tl::unexpected<Error> fail_errno(std::string_view what) {
  const int number = errno;
  return fail(Code::kIo, "{}: {}", what, std::generic_category().message(number));
}

}  // namespace deepserve
