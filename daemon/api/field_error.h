// What is wrong with a request, and which of its fields is at fault.
#pragma once

#include <string>

#include "daemon/http/error_response.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

struct FieldError {
  Error error;
  std::string param;  // empty: the request as a whole

  HttpResponse response() const { return error_response(error, {.param = param}); }
};

template <typename T>
using Parsed = tl::expected<T, FieldError>;

}  // namespace deepserve::daemon
