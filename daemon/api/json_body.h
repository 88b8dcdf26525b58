// A request's body as JSON, under limits: what a client sends must not hold the loop, which serves everybody.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstddef>

#include "daemon/api/field_error.h"
#include "daemon/http/message.h"

namespace deepserve::daemon {

// Of one body, chosen so that the worst of 8 MiB takes some tens of milliseconds. A prompt of token ids is a
// value each; everything else costs more.
struct JsonLimits {
  size_t depth_max = 64;
  size_t values_max = 400'000;      // of whatever kind
  size_t containers_max = 100'000;  // objects and lists among them
  size_t strings_max = 200'000;     // strings among them
  size_t keys_max = 100'000;        // of all objects
  size_t object_keys_max = 8'192;   // of one
};

// kUnsupportedMedia for another Content-Type than application/json (none at all passes), kInvalidRequest,
// with the byte, for what is not UTF-8, not JSON (NaN, Infinity and comments are not), beyond the limits, or
// no object; and for a key that an object has twice, by its name.
Parsed<boost::json::object> parse_json_body(const HttpRequest& request, const JsonLimits& limits = {});

}  // namespace deepserve::daemon
