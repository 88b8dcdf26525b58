#include "daemon/api/response_format.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;
using ipc::ConstraintKind;

constexpr size_t kChoicesMax = 1024;
constexpr size_t kNameLengthMax = 64;

// Collects the one constraint there may be.
class ConstraintReader {
 public:
  ConstraintReader(Fields& fields, ipc::Constraint& constraint, std::string& param)
      : fields_(fields), constraint_(constraint), param_(param) {}

  void read_response_format();
  void read_structured_outputs();
  void read_schema(Fields& fields, std::string_view name);
  void read_grammar(Fields& fields, std::string_view name);
  void read_choice(Fields& fields, std::string_view name);

 private:
  void read_json_schema(const json::value& value);
  void set(Fields& fields, std::string_view name, ConstraintKind kind, std::string text);

  Fields& fields_;
  ipc::Constraint& constraint_;
  std::string& param_;
};

void ConstraintReader::set(Fields& fields, std::string_view name, ConstraintKind kind, std::string text) {
  if (fields.failed()) return;
  if (!param_.empty()) return fields.fail_at(name, fmt::format("and {} exclude each other", param_));
  if (text.size() > kConstraintBytesMax) {
    return fields.fail_at(name, fmt::format("is longer than {} bytes: {}", kConstraintBytesMax, text.size()));
  }
  param_ = fields.full_name(name);
  constraint_ = {kind, std::move(text)};
}

// {"name", "schema", "description", "strict"}
void ConstraintReader::read_json_schema(const json::value& value) {
  const auto* object = value.if_object();
  if (object == nullptr) return fields_.fail_at("response_format.json_schema", "must be an object");
  Fields inner(*object, "response_format.json_schema.");
  std::string name, description;
  bool strict = false;
  inner.read_string("name", name);
  inner.read_string("description", description);
  inner.read_bool("strict", strict);
  const auto is_name_character = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (name.empty() || name.size() > kNameLengthMax ||
      !std::all_of(name.begin(), name.end(), is_name_character)) {
    inner.fail_at("name", "must be 1 to 64 letters, digits, underscores or dashes");
  }
  if (!inner.has("schema")) inner.fail_at("schema", "is missing");
  const auto* schema = inner.take("schema");
  if (schema != nullptr && !schema->is_object()) inner.fail_at("schema", "must be an object");
  if (schema != nullptr) set(inner, "schema", ConstraintKind::kJsonSchema, json::serialize(*schema));
  inner.finish();
  fields_.adopt(inner);
}

void ConstraintReader::read_response_format() {
  const auto* format = fields_.take("response_format");
  if (format == nullptr) return;
  const auto* object = format->if_object();
  if (object == nullptr) return fields_.fail_at("response_format", "must be an object with a type");
  Fields inner(*object, "response_format.");
  std::string type;
  inner.read_string("type", type);
  const auto* schema = inner.take("json_schema");
  inner.finish();
  if (type != "text" && type != "json_object" && type != "json_schema") {
    inner.fail_at("type", "must be text, json_object or json_schema");
  }
  if (schema != nullptr && type != "json_schema") {
    inner.fail_at("json_schema", "is only allowed with the type json_schema");
  }
  if (schema == nullptr && type == "json_schema") inner.fail_at("json_schema", "is missing");
  fields_.adopt(inner);
  if (fields_.failed()) return;
  if (type == "json_object") set(fields_, "response_format", ConstraintKind::kJsonObject, "");
  if (schema != nullptr) read_json_schema(*schema);
}

void ConstraintReader::read_schema(Fields& fields, std::string_view name) {
  const auto* value = fields.take(name);
  if (value == nullptr) return;
  if (const auto* text = value->if_string()) {
    set(fields, name, ConstraintKind::kJsonSchema, std::string(*text));
  } else if (value->is_object()) {
    set(fields, name, ConstraintKind::kJsonSchema, json::serialize(*value));
  } else {
    fields.fail_at(name, "must be a schema, as an object or as JSON in a string");
  }
}

void ConstraintReader::read_grammar(Fields& fields, std::string_view name) {
  if (!fields.has(name)) return fields.ignore(name);
  std::string text;
  fields.read_string(name, text);
  if (text.empty()) fields.fail_at(name, "must not be empty");
  set(fields, name, ConstraintKind::kGrammar, std::move(text));
}

// As a literal of GBNF.
void append_literal(std::string& grammar, std::string_view text) {
  grammar += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      grammar += '\\';
      grammar += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      grammar += fmt::format("\\x{:02x}", byte);
    } else {
      grammar += c;
    }
  }
  grammar += '"';
}

void ConstraintReader::read_choice(Fields& fields, std::string_view name) {
  const auto* value = fields.take(name);
  if (value == nullptr) return;
  const auto* list = value->if_array();
  if (list == nullptr || list->empty() || list->size() > kChoicesMax) {
    return fields.fail_at(name, "must be a list of 1 to 1024 strings");
  }
  std::string grammar = "root ::= ";
  for (const auto& item : *list) {
    const auto* text = item.if_string();
    if (text == nullptr || text->empty())
      return fields.fail_at(name, "must be a list of strings, none empty");
    if (&item != &list->front()) grammar += " | ";
    append_literal(grammar, *text);
  }
  set(fields, name, ConstraintKind::kGrammar, std::move(grammar));
}

void ConstraintReader::read_structured_outputs() {
  const auto* value = fields_.take("structured_outputs");
  if (value == nullptr) return;
  const auto* object = value->if_object();
  if (object == nullptr) return fields_.fail_at("structured_outputs", "must be an object");
  Fields inner(*object, "structured_outputs.");
  for (const std::string_view name :
       {"regex", "structural_tag", "whitespace_pattern", "disable_any_whitespace", "disable_fallback",
        "disable_additional_properties"}) {
    inner.refuse_unsupported(name);
  }
  read_schema(inner, "json");
  read_grammar(inner, "grammar");
  read_choice(inner, "choice");
  bool any_object = false;
  inner.read_bool("json_object", any_object);
  if (any_object) set(inner, "json_object", ConstraintKind::kJsonObject, "");
  inner.finish();
  fields_.adopt(inner);
}

}  // namespace

void read_constraint(Fields& fields, ipc::Constraint& constraint, std::string& param) {
  ConstraintReader reader(fields, constraint, param);
  reader.read_response_format();
  reader.read_grammar(fields, "grammar");
  reader.read_structured_outputs();
  reader.read_schema(fields, "guided_json");
  reader.read_grammar(fields, "guided_grammar");
  reader.read_choice(fields, "guided_choice");
  for (const std::string_view name :
       {"guided_regex", "guided_decoding_backend", "guided_whitespace_pattern"}) {
    fields.refuse_unsupported(name);
  }
}

}  // namespace deepserve::daemon
