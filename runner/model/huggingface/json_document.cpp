#include "runner/model/huggingface/json_document.h"

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parser.hpp>
#include <boost/json/value.hpp>
#include <cmath>
#include <new>

#include "runner/model/huggingface/json_keys.h"

namespace deepserve::runner {
namespace {

namespace json = boost::json;

// Refuses to hand out more than it may: what is left of the limit counts down and never up, because the
// monotonic resource on top of it gives back only as a whole.
class LimitedMemory final : public json::memory_resource {
 public:
  explicit LimitedMemory(uint64_t bytes_max) : bytes_left_(bytes_max) {}

 private:
  void* do_allocate(size_t bytes, size_t alignment) override {
    if (bytes > bytes_left_) throw std::bad_alloc();
    void* memory = ::operator new(bytes, std::align_val_t(alignment));
    bytes_left_ -= bytes;
    return memory;
  }
  void do_deallocate(void* memory, size_t bytes, size_t alignment) override {
    ::operator delete(memory, std::align_val_t(alignment));
    bytes_left_ += bytes;
  }
  bool do_is_equal(const json::memory_resource& other) const noexcept override { return this == &other; }

  uint64_t bytes_left_;
};

// The memory of one value: blocks of the limited one, all given back with the last value that uses them.
class DocumentMemory final : public json::memory_resource {
 public:
  explicit DocumentMemory(json::storage_ptr limited)
      : limited_(std::move(limited)), blocks_(kFirstBlockBytes, limited_) {}

 private:
  static constexpr size_t kFirstBlockBytes = 4096;

  void* do_allocate(size_t bytes, size_t alignment) override { return blocks_.allocate(bytes, alignment); }
  void do_deallocate(void*, size_t, size_t) override {}
  bool do_is_equal(const json::memory_resource& other) const noexcept override { return this == &other; }

  json::storage_ptr limited_;
  json::monotonic_resource blocks_;
};

}  // namespace

Result<json::value> parse_json(std::string_view text, std::string_view file, const JsonLimits& limits) {
  if (text.size() > limits.text_bytes_max) {
    return fail(Code::kBadModelFile, "{}: {} bytes of JSON, at most {} are allowed", file, text.size(),
                limits.text_bytes_max);
  }
  json::parse_options options;
  options.max_depth = limits.depth_max;
  const auto limited = json::make_shared_resource<LimitedMemory>(limits.memory_bytes_max);
  try {
    json::parser parser(limited, options);
    parser.reset(json::make_shared_resource<DocumentMemory>(limited));
    boost::system::error_code error;
    const size_t offset = parser.write_some(text.data(), text.size(), error);
    if (!error && offset < text.size()) error = make_error_code(json::error::extra_data);
    if (!error && limits.refuse_repeated_keys) TRY(refuse_repeated_keys(text, file, limits));
    if (!error) return parser.release();
    return fail(Code::kBadModelFile, "{}: offset {}: {}{}", file, offset, error.message(),
                error == json::error::too_deep ? fmt::format(" (at most {})", limits.depth_max) : "");
  } catch (const std::bad_alloc&) {
    return fail(Code::kBadModelFile, "{}: its JSON takes more than {} bytes of memory", file,
                limits.memory_bytes_max);
  } catch (const std::exception& error) {
    return fail(Code::kBadModelFile, "{}: {}", file, error.what());
  }
}

JsonFields::JsonFields(const json::object& object, std::string where)
    : object_(&object), where_(std::move(where)) {}

Result<JsonFields> JsonFields::of(const json::value& value, std::string where) {
  if (const json::object* object = value.if_object()) return JsonFields(*object, std::move(where));
  return fail(Code::kBadModelFile, "{}: {} where an object belongs", where, describe_json(value));
}

const json::value* JsonFields::find(std::string_view key) const {
  const json::value* value = object_->if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

bool JsonFields::is_written(std::string_view key) const {
  return object_->contains(key);
}

Result<std::optional<uint64_t>> JsonFields::find_unsigned(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const int64_t* number = value->if_int64(); number != nullptr && *number >= 0)
    return static_cast<uint64_t>(*number);
  if (const uint64_t* number = value->if_uint64()) return *number;
  return bad(key, describe_json(*value) + " where a count belongs");
}

Result<std::optional<double>> JsonFields::find_number(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const int64_t* number = value->if_int64()) return static_cast<double>(*number);
  if (const uint64_t* number = value->if_uint64()) return static_cast<double>(*number);
  if (const double* number = value->if_double(); number != nullptr && std::isfinite(*number)) return *number;
  return bad(key, describe_json(*value) + " where a number belongs");
}

Result<std::optional<bool>> JsonFields::find_bool(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const bool* truth = value->if_bool()) return *truth;
  return bad(key, describe_json(*value) + " where true or false belongs");
}

Result<std::optional<std::string>> JsonFields::find_string(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const json::string* text = value->if_string()) return std::string(text->data(), text->size());
  return bad(key, describe_json(*value) + " where a string belongs");
}

Result<std::optional<JsonFields>> JsonFields::find_object(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  TRY_ASSIGN(JsonFields fields, of(*value, fmt::format("{}: {}", where_, key)));
  return fields;
}

tl::unexpected<Error> JsonFields::bad(std::string_view key, std::string_view text) const {
  return fail(Code::kBadModelFile, "{}: {}: {}", where_, key, text);
}

std::string describe_json(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return value.get_bool() ? "true" : "false";
    case json::kind::int64:
      return fmt::format("the number {}", value.get_int64());
    case json::kind::uint64:
      return fmt::format("the number {}", value.get_uint64());
    case json::kind::double_:
      return fmt::format("the number {}", value.get_double());
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "nothing";
}

}  // namespace deepserve::runner
