#include "ipc/base/errors.h"

#include <array>

namespace deepserve {
namespace {

constexpr std::array kRows = {
#define X(enumerator, name, http, exit, retryable, level) \
  ErrorRow{name, http, exit, retryable, LogLevel::level},
    DEEPSERVE_ERROR_TABLE(X)
#undef X
};
static_assert(kRows.size() == static_cast<size_t>(Code::kCount));

}  // namespace

const ErrorRow& error_row(Code code) {
  const auto index = static_cast<size_t>(code);
  return kRows[index < kRows.size() ? index : static_cast<size_t>(Code::kInternal)];
}

Code code_from_name(std::string_view name) {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<Code>(i);
  }
  return Code::kInternal;
}

}  // namespace deepserve
