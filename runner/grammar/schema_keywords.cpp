#include "runner/grammar/schema_keywords.h"

#include <algorithm>
#include <cmath>

namespace deepserve::runner {
namespace {

constexpr size_t kPlaceBytesMax = 200;  // of a message; keys are the client's and may be long

struct KeywordRow {
  std::string_view name;
  TypeSet types;  // whose values it is about; 0: of any
};

constexpr KeywordRow kHonoured[] = {
    {"type", 0},
    {"enum", 0},
    {"const", 0},
    {"nullable", 0},
    {"$ref", 0},
    {"anyOf", 0},
    {"oneOf", 0},
    {"allOf", 0},
    {"properties", kObjectType},
    {"required", kObjectType},
    {"additionalProperties", kObjectType},
    {"items", kArrayType},
    {"prefixItems", kArrayType},
    {"minItems", kArrayType},
    {"maxItems", kArrayType},
    {"minLength", kStringType},
    {"maxLength", kStringType},
    {"pattern", kStringType},
    {"format", kStringType},
    {"minimum", kNumberType},
    {"maximum", kNumberType},
    {"exclusiveMinimum", kNumberType},
    {"exclusiveMaximum", kNumberType},
};

constexpr std::string_view kAnnotations[] = {
    "title",   "description", "default",         "examples",         "example",      "$schema",
    "$id",     "$comment",    "deprecated",      "readOnly",         "writeOnly",    "$defs",
    "$anchor", "definitions", "contentEncoding", "contentMediaType", "contentSchema"};

const KeywordRow* find_honoured(std::string_view keyword) {
  const auto row = std::ranges::find(kHonoured, keyword, &KeywordRow::name);
  return row == std::end(kHonoured) ? nullptr : row;
}

// A keyword that is not honoured, but says nothing with this value.
bool says_nothing(std::string_view keyword, const json::value& value) {
  if (keyword == "uniqueItems") return value.is_bool() && !value.get_bool();
  if (keyword == "minProperties") return value.is_int64() && value.get_int64() == 0;
  return false;
}

struct TypeRow {
  std::string_view name;
  TypeSet types;
};
constexpr TypeRow kTypes[] = {{"null", kNullType},    {"boolean", kBooleanType}, {"object", kObjectType},
                              {"array", kArrayType},  {"string", kStringType},   {"integer", kIntegerType},
                              {"number", kNumberType}};

}  // namespace

SchemaPlace SchemaPlace::in(std::string_view key) const {
  SchemaPlace place = *this;
  if (pointer_.ends_with("...")) return place;
  place.pointer_ += '/';
  for (const char byte : key) {
    if (byte == '~') {
      place.pointer_ += "~0";
    } else if (byte == '/') {
      place.pointer_ += "~1";
    } else {
      place.pointer_ += static_cast<unsigned char>(byte) < 0x20 ? '?' : byte;
    }
    if (place.pointer_.size() <= kPlaceBytesMax) continue;
    place.pointer_ += "...";
    break;
  }
  return place;
}

bool is_annotation(std::string_view keyword) {
  return keyword.starts_with("x-") || std::ranges::find(kAnnotations, keyword) != std::end(kAnnotations);
}

bool has_assertions(const json::object& schema) {
  return std::ranges::any_of(schema, [](const auto& entry) {
    return !is_annotation(entry.key()) && !says_nothing(entry.key(), entry.value());
  });
}

Result<void> check_keywords(const json::object& schema, const SchemaPlace& place) {
  for (const auto& entry : schema) {
    const std::string_view keyword = entry.key();
    if (keyword == "$id" && place.text() != "#")
      return unsupported_at(place, "$id", "references would mean other places below it");
    if (is_annotation(keyword) || find_honoured(keyword) || says_nothing(keyword, entry.value())) continue;
    std::string shown(keyword.substr(0, 64));
    std::ranges::replace_if(
        shown, [](char byte) { return static_cast<unsigned char>(byte) < 0x20; }, '?');
    return unsupported_at(place, shown);
  }
  return {};
}

Result<TypeSet> declared_types(const json::object& schema, const SchemaPlace& place) {
  const json::value* type = schema.if_contains("type");
  if (type == nullptr) return TypeSet{kAllTypes};
  json::array names;
  if (type->is_array()) {
    names = type->get_array();
  } else {
    names.push_back(*type);
  }
  TypeSet types = 0;
  for (const json::value& name : names) {
    const TypeRow* row = std::end(kTypes);
    if (name.is_string())
      row = std::ranges::find(kTypes, std::string_view(name.get_string()), &TypeRow::name);
    if (row == std::end(kTypes)) return invalid_at(place.in("type"), "that is no type");
    types |= row->types;
  }
  if (types == 0) return invalid_at(place.in("type"), "no type at all");
  if (const json::value* nullable = schema.if_contains("nullable")) {
    if (!nullable->is_bool()) return invalid_at(place.in("nullable"), "it must be true or false");
    if (nullable->get_bool()) types |= kNullType;
  }
  return types;
}

TypeSet types_by_keywords(const json::object& schema) {
  TypeSet types = 0;
  for (const auto& entry : schema) {
    if (const KeywordRow* row = find_honoured(entry.key())) types |= row->types;
  }
  return types;
}

TypeSet type_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return kNullType;
    case json::kind::bool_:
      return kBooleanType;
    case json::kind::object:
      return kObjectType;
    case json::kind::array:
      return kArrayType;
    case json::kind::string:
      return kStringType;
    case json::kind::int64:
    case json::kind::uint64:
      return kIntegerType;
    case json::kind::double_:
      return value.get_double() == std::floor(value.get_double()) ? kIntegerType : kFractionType;
  }
  return 0;
}

}  // namespace deepserve::runner
