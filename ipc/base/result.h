// Expected failure as a value: Result<T> holds a T or an Error whose code is in the closed table (errors.h).
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "ipc/base/errors.h"

namespace deepserve {

struct Error {
  Code code = Code::kInternal;
  std::string message;   // one sentence that names the thing at fault; no prompt text ever
  int device_error = 0;  // kDeviceFault: the number that the device's own library gave (CUDA's), 0: none
};

template <typename T>
using Result = tl::expected<T, Error>;

template <typename... Args>
[[nodiscard]] tl::unexpected<Error> fail(Code code, fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(text, std::forward<Args>(args)...)});
}

// kIo with the name of what was tried and errno's text.
[[nodiscard]] tl::unexpected<Error> fail_errno(std::string_view what);

}  // namespace deepserve

#define DEEPSERVE_CONCAT2(a, b) a##b
#define DEEPSERVE_CONCAT(a, b) DEEPSERVE_CONCAT2(a, b)

// TRY(expression): returns the error to the caller; TRY_ASSIGN(auto x, expression): or binds the value.
#define TRY(expression)                                                             \
  do {                                                                              \
    auto&& try_result = (expression);                                               \
    if (!try_result) return tl::unexpected<::deepserve::Error>(try_result.error()); \
  } while (false)
#define TRY_ASSIGN(declaration, expression) \
  TRY_ASSIGN_AS(DEEPSERVE_CONCAT(try_value_, __LINE__), declaration, expression)
#define TRY_ASSIGN_AS(name, declaration, expression)                  \
  auto name = (expression);                                           \
  if (!name) return tl::unexpected<::deepserve::Error>(name.error()); \
  declaration = std::move(*name)
