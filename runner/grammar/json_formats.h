// The values of `format` that a grammar can promise.
#pragma once

#include <optional>
#include <string_view>

#include "runner/grammar/expressions.h"

namespace deepserve::runner {

// What stands between the quotes: date (RFC 3339, days that the calendar has), time (with zone), date-time,
// uuid, ipv4, email (dotted words at a host name), hostname. None for any other name.
std::optional<ExpressionId> format_expression(std::string_view name, Expressions& expressions);

}  // namespace deepserve::runner
