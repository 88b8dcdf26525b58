#include "daemon/api/json_fields.h"

#include <fmt/format.h>

#include <algorithm>

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

std::string_view kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "a list";
    case json::kind::object:
      return "an object";
  }
  return "something else";
}

bool is_empty(const json::value& value) {
  if (const auto* boolean = value.if_bool()) return !*boolean;
  if (const auto* list = value.if_array()) return list->empty();
  if (const auto* object = value.if_object()) return object->empty();
  if (const auto* text = value.if_string()) return text->empty();
  return false;
}

}  // namespace

std::optional<int64_t> integer_in(const json::value& value, int64_t min, int64_t max) {
  if (const auto* number = value.if_int64()) {
    if (*number >= min && *number <= max) return *number;
  }
  if (const auto* number = value.if_uint64()) {
    if (max >= 0 && *number <= static_cast<uint64_t>(max)) return static_cast<int64_t>(*number);
  }
  return std::nullopt;
}

const json::value* Fields::find(std::string_view name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->value().is_null() ? nullptr : &found->value();
}

const json::value* Fields::take(std::string_view name) {
  known_.push_back(name);
  return failure_ ? nullptr : find(name);
}

void Fields::read_bool(std::string_view name, bool& value) {
  const auto* field = take(name);
  if (field == nullptr) return;
  if (!field->is_bool())
    return fail_at(name, fmt::format("must be true or false, not {}", kind_name(*field)));
  value = field->as_bool();
}

void Fields::read_string(std::string_view name, std::string& value) {
  const auto* field = take(name);
  if (field == nullptr) return;
  if (!field->is_string()) return fail_at(name, fmt::format("must be a string, not {}", kind_name(*field)));
  value = field->as_string();
}

void Fields::read_number(std::string_view name, double min, double max, float& value) {
  const auto* field = take(name);
  if (field == nullptr) return;
  if (!field->is_number()) return fail_at(name, fmt::format("must be a number, not {}", kind_name(*field)));
  const auto number = field->to_number<double>();
  if (!(number >= min && number <= max)) {
    return fail_at(name, fmt::format("must be from {} to {}, not {}", min, max, number));
  }
  value = static_cast<float>(number);
}

std::optional<int64_t> Fields::take_integer(std::string_view name, int64_t min, int64_t max) {
  const auto* field = take(name);
  if (field == nullptr) return std::nullopt;
  auto number = integer_in(*field, min, max);
  if (!number) {
    const std::string given = field->is_double()   ? fmt::format("{}", field->get_double())
                              : field->is_number() ? json::serialize(*field)
                                                   : std::string(kind_name(*field));
    fail_at(name, fmt::format("must be an integer from {} to {}, not {}", min, max, given));
  }
  return number;
}

void Fields::refuse_unsupported(std::string_view name) {
  const auto* field = take(name);
  if (field != nullptr && !is_empty(*field)) fail_at(name, "is not supported", Code::kNotSupported);
}

void Fields::refuse_any(std::string_view name) {
  if (take(name) != nullptr) fail_at(name, "is not supported", Code::kNotSupported);
}

void Fields::finish() {
  for (const auto& [name, value] : object_) {
    if (failure_) return;
    if (value.is_null()) continue;
    const std::string_view key(name);
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      fail_at(key, "is not a field that is known here");
  }
}

void Fields::fail_at(std::string_view name, std::string message, Code code) {
  if (failure_) return;
  const std::string param = full_name(name.substr(0, 100));
  failure_.emplace();
  failure_->error.code = code;
  failure_->error.message = fmt::format("'{}' {}", param, message);
  failure_->param = param;
}

}  // namespace deepserve::daemon
