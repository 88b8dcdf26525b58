// Parts of JSON as their writer spelt them: digits, escapes and the order of keys kept. Pure.
//
// For JSON that a parser has found right already: these look for the parts only.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace deepserve::daemon {

// The value of the member `key` of the object `json`; none when it has no such member. A key that is spelt
// with escapes is not found.
std::optional<std::string_view> member_slice(std::string_view json, std::string_view key);
// The items of the list `json`.
std::vector<std::string_view> item_slices(std::string_view json);

}  // namespace deepserve::daemon
