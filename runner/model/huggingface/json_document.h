// JSON out of a model's directory: parsed under limits, and fields read with errors that name them.
//
// The text is hostile: depth, bytes and the memory that the parsed value takes are bounded before anything is
// built. Of a key that is there twice the last one counts, as in Python's json, unless the limits refuse it.
// Errors are kBadModelFile and name the file, and the offset or the field.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::runner {

struct JsonLimits {
  uint64_t text_bytes_max = 1u << 20;
  uint64_t memory_bytes_max = 64u << 20;  // of the parsed value and of the parser, together
  uint32_t depth_max = 32;                // of arrays and objects in each other
  bool refuse_repeated_keys = false;      // where to take the last one would hide a lie; costs a second pass
};

// `text` must be one JSON value in UTF-8 (RFC 8259), `file` is what errors call it. The value owns its
// memory, which is given back as a whole: parse, read, let go; do not keep parts of it.
Result<boost::json::value> parse_json(std::string_view text, std::string_view file, const JsonLimits& limits);

// The fields of one object. Borrows the object. A field that is null counts as one that is not there, as
// Hugging Face's configurations mean it.
class JsonFields {
 public:
  // `where`: the file, and inside it the path of the object: "DIR/config.json: rope_scaling".
  JsonFields(const boost::json::object& object, std::string where);

  // kBadModelFile when `value` is no object.
  static Result<JsonFields> of(const boost::json::value& value, std::string where);

  const std::string& where() const { return where_; }
  const boost::json::value* find(std::string_view key) const;  // nullptr: not there, or null
  bool has(std::string_view key) const { return find(key) != nullptr; }
  bool is_written(std::string_view key) const;  // there, be it null

  // None when the field is not there; kBadModelFile when it has another type.
  Result<std::optional<uint64_t>> find_unsigned(std::string_view key) const;
  Result<std::optional<double>> find_number(std::string_view key) const;  // finite
  Result<std::optional<bool>> find_bool(std::string_view key) const;
  Result<std::optional<std::string>> find_string(std::string_view key) const;
  Result<std::optional<JsonFields>> find_object(std::string_view key) const;

  // kBadModelFile: "WHERE: KEY: TEXT".
  tl::unexpected<Error> bad(std::string_view key, std::string_view text) const;

 private:
  const boost::json::object* object_;
  std::string where_;
};

// What `value` is, for messages: "a string", "an array", "the number -3".
std::string describe_json(const boost::json::value& value);

}  // namespace deepserve::runner
