#include "ctl/toml_text.h"

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "ctl/json_rows.h"

namespace deepserve::ctl {
namespace {

namespace json = boost::json;

bool is_table_array(const json::value& value) {
  const json::array* array = value.if_array();
  return array != nullptr && !array->empty() &&
         std::all_of(array->begin(), array->end(), [](const json::value& item) { return item.is_object(); });
}

std::string key_text(json::string_view key) {
  const auto is_bare = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  const std::string text(key.data(), key.size());
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_bare)) return text;
  return json::serialize(json::string(key));
}

// A value on one line. JSON's strings are TOML's basic strings.
std::string inline_text(const json::value& value) {
  if (value.is_string()) return visible_line(json::serialize(value));
  if (const json::array* array = value.if_array()) {
    std::string items;
    for (const json::value& item : *array) items += (items.empty() ? "" : ", ") + inline_text(item);
    return "[" + items + "]";
  }
  if (const json::object* object = value.if_object()) {
    std::string items;
    for (const auto& entry : *object) {
      items += (items.empty() ? "" : ", ") + key_text(entry.key()) + " = " + inline_text(entry.value());
    }
    return "{" + items + "}";
  }
  if (value.is_double()) {
    const std::string number = fmt::format("{}", value.get_double());
    return number.find_first_of(".en") == std::string::npos ? number + ".0" : number;
  }
  return json::serialize(value);
}

void append_table(std::string& out, const json::object& table, const std::string& path) {
  for (const auto& entry : table) {
    if (entry.value().is_object() || is_table_array(entry.value()) || entry.value().is_null()) continue;
    out += key_text(entry.key()) + " = " + inline_text(entry.value()) + "\n";
  }
  for (const auto& entry : table) {
    const std::string inner_path = (path.empty() ? "" : path + ".") + key_text(entry.key());
    if (const json::object* inner = entry.value().if_object()) {
      out += fmt::format("\n[{}]\n", inner_path);
      append_table(out, *inner, inner_path);
    } else if (is_table_array(entry.value())) {
      for (const json::value& item : entry.value().get_array()) {
        out += fmt::format("\n[[{}]]\n", inner_path);
        append_table(out, item.get_object(), inner_path);
      }
    }
  }
}

}  // namespace

std::string toml_text(const json::value& config) {
  std::string out;
  if (const json::object* object = config.if_object()) append_table(out, *object, "");
  return out;
}

}  // namespace deepserve::ctl
