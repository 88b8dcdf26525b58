// JSON as Python's json module reads and writes it: what `tojson` prints is what a model was trained on, so
// every separator, escape and digit counts.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/value.h"

namespace deepserve::runner::jinja {

// One JSON value (RFC 8259). Its texts are the user's. Integers of any size and the order of keys are kept.
// kInvalidRequest with the offset for what is no JSON, or nested deeper than kDepthMax.
Result<Value> parse_json(std::string_view text);

// json.dumps' arguments, with the defaults that transformers gives to `tojson`.
struct JsonStyle {
  bool ascii_only = false;    // ensure_ascii
  std::optional<int> indent;  // none: all on one line
  std::optional<std::string> item_separator;
  std::optional<std::string> key_separator;
  bool sort_keys = false;
};

// kInvalidRequest for what json.dumps refuses: undefined values, namespaces, macros; and for more text than
// `budget` has.
Result<std::string> dump_json(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace deepserve::runner::jinja
