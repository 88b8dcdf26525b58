// The keywords of JSON Schema: what each is to us, and where one stands in a document.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::runner {

namespace json = boost::json;

// A JSON pointer (RFC 6901) behind "#", for messages.
class SchemaPlace {
 public:
  explicit SchemaPlace(std::string_view pointer = "#") : pointer_(pointer.substr(0, 200)) {}
  SchemaPlace in(std::string_view key) const;
  SchemaPlace in(size_t index) const { return in(std::to_string(index)); }
  const std::string& text() const { return pointer_; }

 private:
  std::string pointer_;
};

inline tl::unexpected<Error> unsupported_at(const SchemaPlace& place, std::string_view keyword,
                                            std::string_view why = "") {
  return fail(Code::kNotSupported, "schema keyword '{}' at {} is not supported{}{}", keyword, place.text(),
              why.empty() ? "" : ": ", why);
}

inline tl::unexpected<Error> invalid_at(const SchemaPlace& place, std::string_view why) {
  return fail(Code::kInvalidRequest, "schema at {}: {}", place.text(), why);
}

// Says nothing about which values are valid.
bool is_annotation(std::string_view keyword);
// False when the schema says nothing but annotations.
bool has_assertions(const json::object& schema);
// Fails for the first keyword that is neither honoured nor an annotation.
Result<void> check_keywords(const json::object& schema, const SchemaPlace& place);

// JSON types as bits; an integer is a number, too.
using TypeSet = uint8_t;
enum : TypeSet {
  kNullType = 1,
  kBooleanType = 2,
  kObjectType = 4,
  kArrayType = 8,
  kStringType = 16,
  kIntegerType = 32,
  kFractionType = 64,  // numbers that are no integers
  kNumberType = kIntegerType | kFractionType,
  kAllTypes = 127,
};

// Of `type` and `nullable`; kAllTypes where it is not said.
Result<TypeSet> declared_types(const json::object& schema, const SchemaPlace& place);
// The types whose keywords the schema has; 0 when it has none.
TypeSet types_by_keywords(const json::object& schema);
TypeSet type_of(const json::value& value);

}  // namespace deepserve::runner
