#include "runner/grammar/schema_merge.h"

#include <algorithm>
#include <optional>

namespace deepserve::runner {
namespace {

json::array list_of_types(const json::value& type) {
  return type.is_array() ? type.get_array() : json::array{type};
}

bool contains(const json::array& list, const json::value& value) {
  return std::ranges::find(list, value) != list.end();
}

json::array types_in_both(const json::value& a, const json::value& b) {
  const json::array first = list_of_types(a), second = list_of_types(b);
  json::array both;
  for (const json::value& type : first) {
    if (contains(second, type) || (type == "integer" && contains(second, "number"))) both.push_back(type);
    if (type == "number" && contains(second, "integer") && !contains(second, "number"))
      both.push_back("integer");
  }
  return both;
}

json::value all_of(const json::value& a, const json::value& b) {
  if (a == b) return a;
  return json::object{{"allOf", json::array{a, b}}};
}

std::optional<double> number(const json::value& value) {
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  if (value.is_double()) return value.get_double();
  return std::nullopt;
}

// What only one of the two says about the properties or items of the other.
Result<void> check_independent(const json::object& a, const json::object& b, const SchemaPlace& place) {
  if (const json::value* additional = a.if_contains("additionalProperties")) {
    const bool says_nothing = additional->is_bool() && additional->get_bool();
    const json::value* others = b.if_contains("properties");
    const json::value* own = a.if_contains("properties");
    if (!says_nothing && others != nullptr && others->is_object()) {
      for (const auto& property : others->get_object()) {
        if (own != nullptr && own->is_object() && own->get_object().contains(property.key())) continue;
        return unsupported_at(place, "additionalProperties",
                              "beside properties of another part of the schema");
      }
    }
  }
  if (a.contains("prefixItems") && b.contains("items"))
    return unsupported_at(place, "prefixItems", "beside items of another part of the schema");
  return {};
}

Result<json::value> merge_properties(const json::value& a, const json::value& b, const SchemaPlace& place) {
  if (!a.is_object() || !b.is_object()) return invalid_at(place, "properties must be an object");
  json::object both = a.get_object();
  for (const auto& property : b.get_object()) {
    json::value& merged = both[property.key()];
    merged = a.get_object().contains(property.key()) ? all_of(merged, property.value()) : property.value();
  }
  return json::value(std::move(both));
}

Result<json::value> merge_lists(std::string_view keyword, const json::value& a, const json::value& b,
                                const SchemaPlace& place) {
  if (!a.is_array() || !b.is_array()) return invalid_at(place, fmt::format("{} must be a list", keyword));
  json::array merged;
  for (const json::value& value : a.get_array()) {
    if (keyword == "required" || contains(b.get_array(), value)) merged.push_back(value);
  }
  if (keyword == "enum") return json::value(std::move(merged));
  for (const json::value& value : b.get_array()) {
    if (!contains(merged, value)) merged.push_back(value);
  }
  return json::value(std::move(merged));
}

// Both have the keyword, and not the same.
Result<json::value> merge_values(std::string_view keyword, const json::value& a, const json::value& b,
                                 const SchemaPlace& place) {
  if (keyword == "type") {
    json::array types = types_in_both(a, b);
    if (types.empty()) return invalid_at(place, "parts of it allow no common type");
    return json::value(std::move(types));
  }
  if (keyword == "properties") return merge_properties(a, b, place);
  if (keyword == "required" || keyword == "enum") return merge_lists(keyword, a, b, place);
  if (keyword == "items") return all_of(a, b);
  const bool lower = keyword == "minimum" || keyword == "exclusiveMinimum" || keyword == "minLength" ||
                     keyword == "minItems";
  const bool upper = keyword == "maximum" || keyword == "exclusiveMaximum" || keyword == "maxLength" ||
                     keyword == "maxItems";
  if (lower || upper) {
    const auto first = number(a), second = number(b);
    if (first && second) return (*first < *second) == lower ? b : a;
  }
  if (keyword == "const") return invalid_at(place, "parts of it demand different constants");
  if (keyword == "nullable") return json::value(false);
  return unsupported_at(place, keyword, "differs between two parts of the schema");
}

// The values of const or enum, if it has one.
std::optional<json::array> constants(const json::object& schema) {
  if (const json::value* value = schema.if_contains("const")) return json::array{*value};
  const json::value* list = schema.if_contains("enum");
  if (list != nullptr && list->is_array()) return list->get_array();
  return std::nullopt;
}

bool numbers_equal(const json::value& a, const json::value& b) {
  const auto first = number(a), second = number(b);
  return first && second && *first == *second;
}

bool constants_differ(const json::object& a, const json::object& b) {
  const auto first = constants(a), second = constants(b);
  if (!first || !second) return false;
  for (const json::value& value : *first) {
    // 1 and 1.0 are one value; what lies deeper is taken to be the same when it may be.
    if (value.is_structured()) return false;
    for (const json::value& other : *second) {
      if (value == other || numbers_equal(value, other)) return false;
    }
  }
  return true;
}

TypeSet possible_types(const json::object& schema) {
  TypeSet types = declared_types(schema, SchemaPlace()).value_or(TypeSet{kAllTypes});
  if (const auto values = constants(schema)) {
    TypeSet of_values = 0;
    for (const json::value& value : *values) of_values |= type_of(value);
    const json::value* nullable = schema.if_contains("nullable");
    if (nullable != nullptr && *nullable == true) of_values |= kNullType;
    types &= of_values;
  }
  return types;
}

const json::object* property_of(const json::object& schema, std::string_view name) {
  const json::value* properties = schema.if_contains("properties");
  if (properties == nullptr || !properties->is_object()) return nullptr;
  const json::value* property = properties->get_object().if_contains(name);
  return property != nullptr ? property->if_object() : nullptr;
}

bool forbids(const json::object& schema, std::string_view name) {
  const json::value* additional = schema.if_contains("additionalProperties");
  if (additional == nullptr || *additional != false) return false;
  const json::value* properties = schema.if_contains("properties");
  return properties == nullptr || (properties->is_object() && !properties->get_object().contains(name));
}

// `a` requires a property by which `b` can be told from it.
bool tells_apart(const json::object& a, const json::object& b) {
  const json::value* required = a.if_contains("required");
  if (required == nullptr || !required->is_array()) return false;
  const json::value* also = b.if_contains("required");
  for (const json::value& entry : required->get_array()) {
    if (!entry.is_string()) continue;
    const std::string_view name = entry.get_string();
    if (forbids(b, name)) return true;
    const json::object* first = property_of(a, name);
    const json::object* second = property_of(b, name);
    const bool both_require = also != nullptr && also->is_array() && contains(also->get_array(), entry);
    if (both_require && first != nullptr && second != nullptr && constants_differ(*first, *second))
      return true;
  }
  return false;
}

}  // namespace

Result<json::object> merge_schemas(const json::object& a, const json::object& b, const SchemaPlace& place) {
  TRY(check_independent(a, b, place));
  TRY(check_independent(b, a, place));
  json::object merged = a;
  for (const auto& entry : b) {
    if (is_annotation(entry.key())) continue;
    const json::value* own = a.if_contains(entry.key());
    if (own == nullptr) {
      // null that only one of them allows is not valid by both
      if (entry.key() == "nullable" || (entry.key() == "type" && a.contains("nullable"))) {
        return unsupported_at(place, "nullable", "beside other parts of the schema");
      }
      merged[entry.key()] = entry.value();
      continue;
    }
    if (*own == entry.value()) continue;
    TRY_ASSIGN(merged[entry.key()], merge_values(entry.key(), *own, entry.value(), place));
  }
  return merged;
}

bool exclude_each_other(const json::object& a, const json::object& b) {
  if (constants_differ(a, b)) {
    const json::value* first = a.if_contains("nullable");
    const json::value* second = b.if_contains("nullable");
    if (first == nullptr && second == nullptr) return true;
  }
  const TypeSet common = possible_types(a) & possible_types(b);
  if (common == 0) return true;
  return common == kObjectType && (tells_apart(a, b) || tells_apart(b, a));
}

}  // namespace deepserve::runner
