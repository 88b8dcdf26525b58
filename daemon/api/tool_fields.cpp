#include <fmt/format.h>

#include <algorithm>

#include "daemon/api/chat_fields.h"
#include "daemon/api/json_fields.h"
#include "daemon/api/json_slice.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

constexpr size_t kToolsMax = 128;
constexpr size_t kNameBytesMax = 64;

bool is_tool_name(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), is_allowed);
}

void read_name(Fields& fields) {
  std::string name;
  if (!fields.has("name")) fields.fail_at("name", "is missing");
  fields.read_string("name", name);
  if (!is_tool_name(name)) fields.fail_at("name", "must be 1 to 64 letters, digits, underscores and hyphens");
}

void read_type(Fields& fields) {
  std::string type;
  if (!fields.has("type")) fields.fail_at("type", "is missing");
  fields.read_string("type", type);
  if (type != "function")
    fields.fail_at("type", fmt::format("must be function: '{}' is not supported", type.substr(0, 64)),
                   Code::kNotSupported);
}

// The object `function` of a tool or of a call.
template <typename Read>
void read_function(Fields& fields, Read read) {
  const auto* value = fields.take("function");
  const auto* object = value == nullptr ? nullptr : value->if_object();
  if (object == nullptr) return fields.fail_at("function", "must be an object");
  Fields function(*object, fields.full_name("function."));
  read_name(function);
  read(function);
  function.finish();
  fields.adopt(function);
}

void read_definition(Fields& function) {
  std::string description;
  function.read_string("description", description);
  const auto* parameters = function.take("parameters");
  if (parameters != nullptr && !parameters->is_object())
    function.fail_at("parameters", "must be an object: a JSON schema");
  bool strict = false;
  function.read_bool("strict", strict);
  if (strict) function.fail_at("strict", "true is not supported", Code::kNotSupported);
}

void read_call(Fields& function) {
  std::string arguments;
  if (!function.has("arguments")) function.fail_at("arguments", "is missing");
  function.read_string("arguments", arguments);
}

// The list `name` of objects, each read by `read`; true when it holds any.
template <typename Read>
bool read_list(Fields& fields, std::string_view name, Read read) {
  const auto* value = fields.take(name);
  if (value == nullptr) return false;
  const auto* list = value->if_array();
  if (list == nullptr) {
    fields.fail_at(name, "must be a list");
    return false;
  }
  if (list->size() > kToolsMax) fields.fail_at(name, fmt::format("has more than {} entries", kToolsMax));
  for (size_t i = 0; i < list->size() && !fields.failed(); ++i) {
    const std::string place = fmt::format("{}[{}]", name, i);
    const auto* object = (*list)[i].if_object();
    if (object == nullptr) {
      fields.fail_at(place, "must be an object");
      break;
    }
    Fields one(*object, fields.full_name(place + "."));
    read(one);
    one.finish();
    fields.adopt(one);
  }
  return !list->empty() && !fields.failed();
}

// False when the model is not to know of any tool.
bool read_choice(Fields& fields, bool has_tools) {
  const auto* choice = fields.take("tool_choice");
  if (choice == nullptr) return true;
  const auto* word = choice->if_string();
  if (word != nullptr && *word == "none") return false;
  if (word == nullptr || *word != "auto") {
    fields.fail_at("tool_choice", "other than \"auto\" and \"none\" is not supported", Code::kNotSupported);
  } else if (!has_tools) {
    fields.fail_at("tool_choice", "is only allowed with tools");
  }
  return true;
}

}  // namespace

void read_tools(Fields& fields, std::string_view body, ipc::Prompt& prompt) {
  const bool has_tools = read_list(fields, "tools", [](Fields& tool) {
    read_type(tool);
    read_function(tool, read_definition);
  });
  const bool may_call = read_choice(fields, has_tools);
  bool parallel = true;
  fields.read_bool("parallel_tool_calls", parallel);
  if (!parallel) fields.fail_at("parallel_tool_calls", "false is not supported", Code::kNotSupported);
  if (!has_tools || !may_call || fields.failed()) return;
  prompt.tools = member_slice(body, "tools").value_or("");
  if (prompt.tools.empty()) fields.fail_at("tools", "must be written without escapes in its name");
}

void read_tool_calls(Fields& fields, std::string_view json, ipc::ChatMessage& message) {
  const bool has_calls = read_list(fields, "tool_calls", [](Fields& call) {
    std::string id;
    call.read_string("id", id);
    if (id.empty()) call.fail_at("id", "is missing");
    read_type(call);
    read_function(call, read_call);
    call.ignore("index");  // of a call that was put together from a stream
  });
  if (!has_calls) return;
  message.tool_calls = member_slice(json, "tool_calls").value_or("");
  if (message.tool_calls.empty()) fields.fail_at("tool_calls", "must be written without escapes in its name");
}

}  // namespace deepserve::daemon
