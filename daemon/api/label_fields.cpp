#include <fmt/format.h>

#include <algorithm>

#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

// OpenAI's limits; lengths in characters.
constexpr size_t kPairsMax = 16;
constexpr size_t kKeyLengthMax = 64;
constexpr size_t kValueLengthMax = 512;

size_t length_of(std::string_view utf8) {
  return static_cast<size_t>(std::count_if(
      utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

void read_metadata(Fields& fields) {
  const auto* metadata = fields.take("metadata");
  if (metadata == nullptr) return;
  const auto* pairs = metadata->if_object();
  if (pairs == nullptr || pairs->size() > kPairsMax) {
    return fields.fail_at("metadata", "must be an object of at most 16 pairs");
  }
  for (const auto& [key, value] : *pairs) {
    if (length_of(key) > kKeyLengthMax) {
      return fields.fail_at("metadata", "has a key of more than 64 characters");
    }
    const auto* text = value.if_string();
    if (text == nullptr || length_of(*text) > kValueLengthMax) {
      return fields.fail_at("metadata",
                            fmt::format("has a value that is no string of at most 512 characters, of '{}'",
                                        std::string_view(key)));
    }
  }
}

// Nothing is stored here for later.
void read_store(Fields& fields) {
  bool store = false;
  fields.read_bool("store", store);
  if (store) fields.fail_at("store", "is not supported", Code::kNotSupported);
}

}  // namespace

void read_labels(Fields& fields) {
  for (const std::string_view name : {"user", "safety_identifier", "prompt_cache_key"}) {
    std::string text;
    fields.read_string(name, text);
  }
  read_metadata(fields);
  read_store(fields);
}

}  // namespace deepserve::daemon
