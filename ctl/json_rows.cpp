#include "ctl/json_rows.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "ctl/units.h"

namespace deepserve::ctl {
namespace {

namespace json = boost::json;

// Larger than any count; a double beyond it has no integer to show.
constexpr double kCount_max = 1e18;

std::string formatted(const json::value& row, std::string_view name, std::string (*format)(uint64_t)) {
  const auto number = number_of(row, name);
  if (!number || *number < 0 || *number > kCount_max) return std::string(kNothing);
  return format(static_cast<uint64_t>(*number));
}

}  // namespace

Result<json::value> parse_json(std::string_view text) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return fail(Code::kInternal, "the daemon's answer is not JSON: {}", error.message());
  return value;
}

const json::value& field(const json::value& row, std::string_view name) {
  static const json::value null;
  const json::object* object = row.if_object();
  const json::value* value =
      object == nullptr ? nullptr : object->if_contains(json::string_view(name.data(), name.size()));
  return value == nullptr ? null : *value;
}

std::string text_of(const json::value& value) {
  std::string text;
  if (const json::string* string = value.if_string()) {
    text.assign(string->data(), string->size());
  } else if (const json::array* array = value.if_array()) {
    for (const json::value& item : *array) text += (text.empty() ? "" : ", ") + text_of(item);
  } else if (value.is_double()) {
    text = fmt::format("{}", value.get_double());
  } else if (!value.is_null()) {
    text = json::serialize(value);
  }
  return text.empty() ? std::string(kNothing) : text;
}

std::string text_of(const json::value& row, std::string_view name) {
  return text_of(field(row, name));
}

std::optional<double> number_of(const json::value& row, std::string_view name) {
  const json::value& value = field(row, name);
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  if (value.is_double()) return value.get_double();
  return std::nullopt;
}

std::string bytes_of(const json::value& row, std::string_view name) {
  return formatted(row, name, human_bytes);
}

std::string count_of(const json::value& row, std::string_view name) {
  return formatted(row, name, human_count);
}

std::string duration_of(const json::value& row, std::string_view name) {
  const auto number = number_of(row, name);
  return number ? human_duration(*number) : std::string(kNothing);
}

Cell state_cell(const json::value& row) {
  const std::string state = text_of(row, "state");
  const auto is_one_of = [&](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), state) != names.end();
  };
  if (is_one_of({"ready", "live", "streaming"})) return {state, Style::kGreen};
  if (is_one_of({"failed", "hung", "backoff"})) return {state, Style::kRed};
  return {state, Style::kYellow};
}

std::string describe(const json::value& row, const Terminal& terminal) {
  const json::object* object = row.if_object();
  if (object == nullptr) return text_of(row) + "\n";
  size_t width = 0;
  for (const auto& entry : *object) width = std::max(width, entry.key().size());
  std::string out;
  for (const auto& entry : *object) {
    const std::string key = visible_line(std::string_view(entry.key().data(), entry.key().size()));
    const std::string padding(width > key.size() ? width - key.size() : 0, ' ');
    out += styled(terminal, Style::kDim, key) + padding + "  " + visible_line(text_of(entry.value())) + "\n";
  }
  return out;
}

}  // namespace deepserve::ctl
