// Reads the fields of a JSON object by name, with ranges, and refuses the ones that nobody asked for.
//
//   Fields fields(object, "");
//   fields.read_number("temperature", 0, 2, generation.temperature);
//   fields.finish();
//   if (fields.failed()) return tl::unexpected(fields.failure());
//
// The first thing that is wrong sticks: the reads after it leave their targets alone. A field that is null
// counts as not there.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/api/field_error.h"
#include "daemon/api/json_body.h"

namespace deepserve::daemon {

// An integer, if `value` is one and in range.
std::optional<int64_t> integer_in(const boost::json::value& value, int64_t min, int64_t max);

class Fields {
 public:
  // Both borrowed. `path` leads to the object: "stream_options." or "messages[0]."; empty for the body
  // itself.
  Fields(const boost::json::object& object, std::string path) : object_(object), path_(std::move(path)) {}

  bool has(std::string_view name) const { return find(name) != nullptr; }
  // The field, now known; null when it is not there or something is wrong already.
  const boost::json::value* take(std::string_view name);

  void read_bool(std::string_view name, bool& value);
  void read_string(std::string_view name, std::string& value);
  void read_number(std::string_view name, double min, double max, float& value);
  template <typename Integer>
  void read_integer(std::string_view name, int64_t min, int64_t max, Integer& value) {
    if (const auto read = take_integer(name, min, max)) value = static_cast<Integer>(*read);
  }
  // A field whose value has no effect here.
  void ignore(std::string_view name) { take(name); }
  // Known, and refused by name unless it is absent, null, false or empty.
  void refuse_unsupported(std::string_view name);
  // The same where even an empty object asks for something.
  void refuse_any(std::string_view name);
  // Refuses every field that was not asked for.
  void finish();

  void fail_at(std::string_view name, std::string message, Code code = Code::kInvalidRequest);
  bool failed() const { return failure_.has_value(); }
  const FieldError& failure() const { return *failure_; }
  std::string full_name(std::string_view name) const { return path_ + std::string(name); }
  // Takes over what went wrong in an object within this one.
  void adopt(const Fields& inner) {
    if (!failure_ && inner.failure_) failure_ = inner.failure_;
  }

 private:
  const boost::json::value* find(std::string_view name) const;
  std::optional<int64_t> take_integer(std::string_view name, int64_t min, int64_t max);

  const boost::json::object& object_;
  const std::string path_;
  std::vector<std::string_view> known_;
  std::optional<FieldError> failure_;
};

}  // namespace deepserve::daemon
