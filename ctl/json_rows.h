// Reading the daemon's JSON: fields by name, as text for people, with "-" for what is not there.
#pragma once

#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "ctl/table.h"
#include "ipc/base/result.h"

namespace deepserve::ctl {

inline constexpr std::string_view kNothing = "-";

// kInternal: the daemon sent something that is not JSON.
Result<boost::json::value> parse_json(std::string_view text);

// The field of an object; null for a missing field and for what is no object.
const boost::json::value& field(const boost::json::value& row, std::string_view name);

// Strings as they are, numbers and booleans written out, arrays joined by commas; null, "" and [] as "-".
std::string text_of(const boost::json::value& value);
std::string text_of(const boost::json::value& row, std::string_view name);
std::optional<double> number_of(const boost::json::value& row, std::string_view name);

std::string bytes_of(const boost::json::value& row, std::string_view name);
std::string count_of(const boost::json::value& row, std::string_view name);
std::string duration_of(const boost::json::value& row, std::string_view name);

// The cell of a "state" field, coloured: good, on its way, bad.
Cell state_cell(const boost::json::value& row);

// "name  value" lines of every field of an object, aligned.
std::string describe(const boost::json::value& row, const Terminal& terminal);

}  // namespace deepserve::ctl
