#include "runner/grammar/json_schema.h"

#include <charconv>
#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/grammar/json_formats.h"
#include "runner/grammar/json_numbers.h"
#include "runner/grammar/json_text.h"
#include "runner/grammar/limits.h"
#include "runner/grammar/pattern.h"
#include "runner/grammar/schema_merge.h"

namespace deepserve::runner {
namespace {

constexpr size_t kPropertiesMax = 1000;  // of one object
constexpr size_t kBranchesMax = 256;     // of one anyOf; oneOf compares each with each
constexpr size_t kSchemasMax = 20'000;   // compiled in all, those that merging makes included
constexpr size_t kMergedBytesMax = size_t{8} << 20;
constexpr uint32_t kReferencesMax = 32;                 // one behind the other, before anything is said
constexpr double kExactDoubleMax = 9007199254740992.0;  // 2^53

// A URI's fragment without its percent signs (RFC 3986, 2.1); none: one of them stands for no byte.
std::optional<std::string> percent_decoded(std::string_view fragment) {
  std::string text;
  for (size_t i = 0; i < fragment.size(); ++i) {
    if (fragment[i] != '%') {
      text += fragment[i];
      continue;
    }
    if (fragment.size() - i < 3) return std::nullopt;
    uint8_t byte = 0;
    const char* end = fragment.data() + i + 3;
    if (std::from_chars(fragment.data() + i + 1, end, byte, 16).ptr != end) return std::nullopt;
    text += static_cast<char>(byte);
    i += 2;
  }
  return text;
}

class SchemaCompiler {
 public:
  SchemaCompiler(const json::value& document, size_t bytes, Expressions& expressions)
      : document_(document),
        merges_left_(kMergedBytesMax / (bytes + 1) + 8),
        out_(expressions),
        text_(out_) {}

  Result<SchemaRoot> compile() {
    TRY_ASSIGN(const RuleId root, rule_of("#", document_));
    while (!pending_.empty()) {
      const Pending next = pending_.front();
      pending_.pop_front();
      TRY_ASSIGN(const ExpressionId expression, compile(*next.schema, next.place, 0));
      out_.define(next.rule, expression);
    }
    return SchemaRoot{root, text_.has_free_keys()};
  }

 private:
  struct Pending {
    RuleId rule;
    const json::value* schema;
    SchemaPlace place;
  };

  // The rule of what a reference points at; compiled later, so that it may refer to itself.
  Result<RuleId> rule_of(const std::string& pointer, const json::value& schema) {
    const auto found = rules_.find(pointer);
    if (found != rules_.end()) return found->second;
    if (rules_.size() >= kGrammarRulesMax)
      return fail(Code::kNotSupported, "the schema refers to more than {} places", kGrammarRulesMax);
    const RuleId rule = out_.new_rule(pointer.substr(0, 200));
    rules_.emplace(pointer, rule);
    pending_.push_back({rule, &schema, SchemaPlace(pointer)});
    return rule;
  }

  Result<ExpressionId> compile(const json::value& schema, const SchemaPlace& place, uint32_t depth) {
    if (++schemas_ > kSchemasMax || out_.size() > kExpressionsMax)
      return fail(Code::kNotSupported, "the schema is too large: at {}", place.text());
    if (depth > kGrammarDepthMax)
      return fail(Code::kNotSupported, "the schema at {} is nested too deeply", place.text());
    if (schema.is_bool()) {
      if (schema.get_bool()) return text_.any_value();
      return invalid_at(place, "false: no value can satisfy it");
    }
    if (!schema.is_object()) return invalid_at(place, "a schema must be an object, true or false");
    const json::object& object = schema.get_object();
    TRY(check_keywords(object, place));
    if (!has_assertions(object)) return text_.any_value();
    if (const json::value* reference = object.if_contains("$ref")) {
      json::object rest = object;
      rest.erase("$ref");
      if (!has_assertions(rest)) return compile_reference(*reference, place);
    }
    if (!object.contains("$ref") && !object.contains("allOf")) return compile_plain(object, place, depth);
    TRY_ASSIGN(const json::object flat, flatten(object, place, 0));
    return compile_plain(flat, place, depth + 1);
  }

  struct Target {
    std::string pointer;  // decoded
    const json::value* schema;
  };

  Result<Target> target_of(const json::value& reference, const SchemaPlace& place) {
    if (!reference.is_string()) return invalid_at(place.in("$ref"), "it must be a string");
    const std::string_view fragment = reference.get_string();
    auto pointer = percent_decoded(fragment);
    if (!pointer) return invalid_at(place.in("$ref"), "it has a % without two hexadecimal digits");
    if (!fragment.starts_with('#') || (*pointer != "#" && !pointer->starts_with("#/")))
      return unsupported_at(place, "$ref", "it must begin with #/, within this schema");
    boost::system::error_code error;
    const json::value* target = document_.find_pointer(pointer->substr(1), error);
    if (target == nullptr) return invalid_at(place.in("$ref"), "there is nothing at the place that it names");
    return Target{*std::move(pointer), target};
  }

  Result<ExpressionId> compile_reference(const json::value& reference, const SchemaPlace& place) {
    TRY_ASSIGN(const Target target, target_of(reference, place));
    TRY_ASSIGN(const RuleId rule, rule_of(target.pointer, *target.schema));
    return out_.reference(rule);
  }

  // Without $ref and allOf, which are merged in.
  Result<json::object> flatten(const json::object& schema, const SchemaPlace& place, uint32_t references) {
    if (references > kReferencesMax)
      return invalid_at(place, "its references go in circles, or allOf is nested too deeply");
    TRY(check_keywords(schema, place));
    json::object flat = schema;
    flat.erase("$ref");
    flat.erase("allOf");
    if (const json::value* reference = schema.if_contains("$ref")) {
      TRY_ASSIGN(const Target target, target_of(*reference, place));
      TRY_ASSIGN(flat, merge_flat(flat, *target.schema, place.in("$ref"), references));
    }
    if (const json::value* parts = schema.if_contains("allOf")) {
      if (!parts->is_array()) return invalid_at(place.in("allOf"), "it must be a list");
      for (size_t i = 0; i < parts->get_array().size(); ++i) {
        TRY_ASSIGN(flat, merge_flat(flat, parts->get_array()[i], place.in("allOf").in(i), references));
      }
    }
    return flat;
  }

  Result<json::object> merge_flat(const json::object& flat, const json::value& part, const SchemaPlace& place,
                                  uint32_t references) {
    if (merges_left_ == 0)
      return fail(Code::kNotSupported, "the schema's parts take too long to merge: at {}", place.text());
    --merges_left_;
    if (part.is_bool() && part.get_bool()) return flat;
    if (!part.is_object()) return invalid_at(place, "nothing can satisfy it, or it is no schema");
    TRY_ASSIGN(const json::object other, flatten(part.get_object(), place, references + 1));
    return merge_schemas(flat, other, place);
  }

  // Without $ref and allOf.
  Result<ExpressionId> compile_plain(const json::object& schema, const SchemaPlace& place, uint32_t depth) {
    const bool any_of = schema.contains("anyOf"), one_of = schema.contains("oneOf");
    if (any_of && one_of) return unsupported_at(place, "oneOf", "beside anyOf");
    if (any_of || one_of) return compile_branches(schema, any_of ? "anyOf" : "oneOf", place, depth);
    if (schema.contains("const") || schema.contains("enum")) return compile_constants(schema, place);
    TRY_ASSIGN(TypeSet types, declared_types(schema, place));
    if (!schema.contains("type")) {
      const TypeSet meant = types_by_keywords(schema);
      if (meant == 0) return text_.any_value();
      types = meant;
      const json::value* nullable = schema.if_contains("nullable");
      if (nullable != nullptr && *nullable == true) types |= kNullType;
    }
    std::vector<ExpressionId> parts;
    if (types & kObjectType) {
      TRY_ASSIGN(parts.emplace_back(), compile_object(schema, place, depth));
    }
    if (types & kArrayType) {
      TRY_ASSIGN(parts.emplace_back(), compile_array(schema, place, depth));
    }
    if (types & kStringType) {
      TRY_ASSIGN(parts.emplace_back(), compile_string(schema, place));
    }
    if (types & kNumberType) {
      TRY_ASSIGN(parts.emplace_back(), compile_number(schema, (types & kFractionType) != 0, place));
    }
    if (types & kBooleanType) parts.push_back(text_.boolean());
    if (types & kNullType) parts.push_back(text_.null());
    return out_.choice(parts);
  }

  Result<ExpressionId> compile_branches(const json::object& schema, std::string_view keyword,
                                        const SchemaPlace& place, uint32_t depth) {
    const json::value& list = schema.at(keyword);
    const SchemaPlace inside = place.in(keyword);
    if (!list.is_array() || list.get_array().empty())
      return invalid_at(inside, "it must be a list of schemas");
    if (list.get_array().size() > kBranchesMax)
      return unsupported_at(place, keyword, fmt::format("more than {} branches", kBranchesMax));
    json::object rest = schema;
    rest.erase(keyword);
    const bool merged = has_assertions(rest);
    std::vector<ExpressionId> parts;
    std::vector<json::object> alternatives;
    for (size_t i = 0; i < list.get_array().size(); ++i) {
      const json::value& branch = list.get_array()[i];
      if (merged || keyword == "oneOf") {
        TRY_ASSIGN(json::object flat, merge_flat(rest, branch, inside.in(i), 0));
        if (keyword == "oneOf") alternatives.push_back(flat);
        if (merged) {
          TRY_ASSIGN(parts.emplace_back(), compile(json::value(std::move(flat)), inside.in(i), depth + 1));
          continue;
        }
      }
      TRY_ASSIGN(parts.emplace_back(), compile(branch, inside.in(i), depth + 1));
    }
    for (size_t i = 0; i < alternatives.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (exclude_each_other(alternatives[i], alternatives[j])) continue;
        return unsupported_at(place, "oneOf",
                              fmt::format("branches {} and {} do not exclude each other by type or by a "
                                          "constant; anyOf would do",
                                          j, i));
      }
    }
    return out_.choice(parts);
  }

  Result<ExpressionId> compile_constants(const json::object& schema, const SchemaPlace& place) {
    for (const auto& entry : schema) {
      const std::string_view keyword = entry.key();
      if (is_annotation(keyword) || keyword == "const" || keyword == "enum" || keyword == "type" ||
          keyword == "nullable" || keyword == "uniqueItems" || keyword == "minProperties") {
        continue;
      }
      return unsupported_at(place, keyword, "beside const or enum");
    }
    TRY_ASSIGN(const TypeSet types, declared_types(schema, place));
    const json::value* constant = schema.if_contains("const");
    const json::value* list = schema.if_contains("enum");
    if (list != nullptr && !list->is_array()) return invalid_at(place.in("enum"), "it must be a list");
    json::array values;
    if (constant != nullptr) {
      const bool listed =
          list == nullptr || std::ranges::find(list->get_array(), *constant) != list->get_array().end();
      if (listed) values.push_back(*constant);
    } else {
      values = list->get_array();
    }
    const json::value* nullable = schema.if_contains("nullable");
    if (nullable != nullptr && *nullable == true) values.push_back(nullptr);
    std::vector<ExpressionId> parts;
    for (const json::value& value : values) {
      if ((type_of(value) & types) == 0) continue;
      std::string spelling;
      TRY(spell(value, place, spelling));
      parts.push_back(out_.literal(spelling));
    }
    if (parts.empty()) return invalid_at(place, "no value of const or enum can satisfy it");
    return out_.choice(parts);
  }

  static Result<void> spell(const json::value& value, const SchemaPlace& place, std::string& out) {
    if (const auto* object = value.if_object()) {
      const char* separator = "{";
      for (const auto& entry : *object) {
        out += separator + json_spelling(entry.key()) + ": ";
        TRY(spell(entry.value(), place, out));
        separator = ", ";
      }
      out += object->empty() ? "{}" : "}";
    } else if (const auto* array = value.if_array()) {
      const char* separator = "[";
      for (const json::value& item : *array) {
        out += separator;
        TRY(spell(item, place, out));
        separator = ", ";
      }
      out += array->empty() ? "[]" : "]";
    } else if (const auto* string = value.if_string()) {
      out += json_spelling(*string);
    } else if (const auto* number = value.if_double()) {
      if (!(std::abs(*number) < kExactDoubleMax))
        return fail(Code::kNotSupported, "schema at {}: a constant beyond 2^53 in size is not supported",
                    place.text());
      out += fmt::format("{}", *number);
    } else if (value.is_bool()) {
      out += value.get_bool() ? "true" : "false";
    } else if (value.is_null()) {
      out += "null";
    } else {
      out += value.is_int64() ? std::to_string(value.get_int64()) : std::to_string(value.get_uint64());
    }
    return {};
  }

  Result<ExpressionId> compile_object(const json::object& schema, const SchemaPlace& place, uint32_t depth) {
    json::object properties;
    if (const json::value* named = schema.if_contains("properties")) {
      if (!named->is_object()) return invalid_at(place.in("properties"), "it must be an object");
      properties = named->get_object();
    }
    std::map<std::string, bool, std::less<>> required;
    const json::value* additional = schema.if_contains("additionalProperties");
    const bool closed = additional != nullptr ? *additional == false : !properties.empty();
    if (const json::value* names = schema.if_contains("required")) {
      if (!names->is_array()) return invalid_at(place.in("required"), "it must be a list");
      for (const json::value& name : names->get_array()) {
        if (!name.is_string()) return invalid_at(place.in("required"), "it must be a list of names");
        required[std::string(name.get_string())] = true;
        if (properties.contains(name.get_string())) continue;
        if (additional != nullptr && closed)
          return invalid_at(place.in("required"), "it names a property that additionalProperties forbids");
        properties[name.get_string()] = additional != nullptr ? *additional : json::value(true);
      }
    }
    if (properties.size() > kPropertiesMax)
      return unsupported_at(place, "properties", fmt::format("more than {}", kPropertiesMax));

    // From the last to the first: what may follow when one came before, and when none did.
    ExpressionId after_one = out_.empty(), after_none = out_.empty();
    if (!closed) {
      std::vector<std::string> names;
      for (const auto& property : properties) names.emplace_back(property.key());
      const json::value any(true);
      TRY_ASSIGN(const ExpressionId value, compile(additional != nullptr ? *additional : any,
                                                   place.in("additionalProperties"), depth + 1));
      const ExpressionId member = out_.sequence({text_.free_key(names), text_.colon(), value});
      after_one = out_.repeat(out_.sequence({text_.comma(), member}), 0, kUnlimited);
      after_none = out_.optional(out_.sequence({member, after_one}));
    }
    bool may_be_empty = true;
    for (auto property = properties.end(); property != properties.begin();) {
      --property;
      TRY_ASSIGN(const ExpressionId value,
                 compile(property->value(), place.in("properties").in(property->key()), depth + 1));
      const ExpressionId member = out_.sequence({text_.spelled(property->key()), text_.colon(), value});
      const ExpressionId first = out_.sequence({member, after_one});
      const ExpressionId next = out_.sequence({text_.comma(), member});
      const bool is_required = required.contains(std::string_view(property->key()));
      after_none = is_required ? first : out_.choice({first, after_none});
      after_one = out_.sequence({is_required ? next : out_.optional(next), after_one});
      may_be_empty = may_be_empty && !is_required;
    }
    if (properties.empty() && closed) return text_.bracketed('{', out_.empty(), true, '}');
    return text_.bracketed('{', after_none, may_be_empty, '}');
  }

  Result<uint32_t> count_of(const json::object& schema, std::string_view keyword, uint32_t otherwise,
                            const SchemaPlace& place) {
    const json::value* value = schema.if_contains(keyword);
    if (value == nullptr) return otherwise;
    double count = -1;
    if (value->is_int64()) count = static_cast<double>(value->get_int64());
    if (value->is_uint64()) count = static_cast<double>(value->get_uint64());
    if (value->is_double()) count = value->get_double();
    if (!(count >= 0) || count != std::floor(count))
      return invalid_at(place.in(keyword), "it must be a whole number, 0 or more");
    if (count > kRepetitionMax)
      return unsupported_at(place, keyword, fmt::format("more than {}", kRepetitionMax));
    return static_cast<uint32_t>(count);
  }

  Result<ExpressionId> compile_array(const json::object& schema, const SchemaPlace& place, uint32_t depth) {
    TRY_ASSIGN(const uint32_t at_least, count_of(schema, "minItems", 0, place));
    TRY_ASSIGN(uint32_t at_most, count_of(schema, "maxItems", kUnlimited, place));
    std::vector<ExpressionId> first;
    if (const json::value* prefix = schema.if_contains("prefixItems")) {
      if (!prefix->is_array()) return invalid_at(place.in("prefixItems"), "it must be a list");
      for (size_t i = 0; i < prefix->get_array().size(); ++i) {
        TRY_ASSIGN(first.emplace_back(),
                   compile(prefix->get_array()[i], place.in("prefixItems").in(i), depth + 1));
      }
    }
    const auto named = static_cast<uint32_t>(first.size());
    const json::value* items = schema.if_contains("items");
    if (items != nullptr && items->is_array())
      return unsupported_at(place, "items", "as a list; prefixItems is the word since 2020-12");
    const bool closed = items != nullptr && *items == false;
    if (closed) at_most = std::min(at_most, named);
    if (at_least > at_most) return invalid_at(place, "more items are demanded than are allowed");
    if (at_most == 0) return text_.bracketed('[', out_.empty(), true, ']');
    ExpressionId item = out_.nothing();
    if (!closed && at_most > named) {
      const json::value any(true);
      TRY_ASSIGN(item, compile(items != nullptr ? *items : any, place.in("items"), depth + 1));
    }
    // From the end: the items beyond the named ones, then each of these, which may be the last from
    // at_least on. `rest` begins with a comma, except in front of the first item.
    const uint32_t rest_least = at_least > named ? at_least - named : 0;
    const uint32_t rest_most = at_most == kUnlimited ? kUnlimited : at_most - std::min(at_most, named);
    ExpressionId rest = out_.empty();
    if (named == 0) {
      const uint32_t more = rest_most == kUnlimited ? kUnlimited : rest_most - 1;
      rest = out_.sequence({item, out_.repeat(out_.sequence({text_.comma(), item}),
                                              rest_least > 0 ? rest_least - 1 : 0, more)});
      return text_.bracketed('[', rest, at_least == 0, ']');
    }
    rest = out_.repeat(out_.sequence({text_.comma(), item}), rest_least, rest_most);
    for (uint32_t i = std::min(named, at_most); i-- > 0;) {
      rest = out_.sequence({first[i], rest});
      if (i == 0) break;
      rest = out_.sequence({text_.comma(), rest});
      if (i >= at_least) rest = out_.optional(rest);
    }
    return text_.bracketed('[', rest, at_least == 0, ']');
  }

  Result<ExpressionId> compile_string(const json::object& schema, const SchemaPlace& place) {
    const json::value* pattern = schema.if_contains("pattern");
    const json::value* format = schema.if_contains("format");
    TRY_ASSIGN(const uint32_t at_least, count_of(schema, "minLength", 0, place));
    TRY_ASSIGN(const uint32_t at_most, count_of(schema, "maxLength", kUnlimited, place));
    if (at_least > at_most) return invalid_at(place, "minLength is above maxLength");
    const bool counted = at_least > 0 || at_most != kUnlimited;
    if (pattern == nullptr && format == nullptr)
      return counted ? text_.quoted(out_.repeat(text_.string_character(), at_least, at_most))
                     : text_.any_string();
    if (counted) return unsupported_at(place, "minLength, maxLength", "beside pattern or format");
    if (pattern != nullptr && format != nullptr) return unsupported_at(place, "format", "beside pattern");
    if (pattern != nullptr) {
      if (!pattern->is_string()) return invalid_at(place.in("pattern"), "it must be a string");
      const auto parsed = parse_pattern(pattern->get_string(), out_, text_);
      if (parsed) return text_.quoted(*parsed);
      if (parsed.error().code == Code::kInvalidRequest)
        return invalid_at(place.in("pattern"), parsed.error().message);
      return unsupported_at(place, "pattern", parsed.error().message);
    }
    if (!format->is_string()) return invalid_at(place.in("format"), "it must be a string");
    if (const auto known = format_expression(format->get_string(), out_)) return text_.quoted(*known);
    return unsupported_at(place, "format", "only date, time, date-time, uuid, ipv4, email and hostname are");
  }

  Result<ExpressionId> compile_number(const json::object& schema, bool fractions, const SchemaPlace& place) {
    NumberRange range;
    for (const std::string_view keyword : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
      const json::value* value = schema.if_contains(keyword);
      if (value == nullptr) continue;
      std::optional<Decimal> bound;
      if (value->is_int64()) bound = Decimal::from(value->get_int64());
      if (value->is_double()) bound = Decimal::from(value->get_double());
      if (!value->is_number()) return invalid_at(place.in(keyword), "it must be a number");
      if (!bound) return unsupported_at(place, keyword, "with more than 15 digits");
      const bool excluded = keyword.starts_with("exclusive");
      if (keyword.ends_with("inimum")) range.raise_lower({*bound, excluded});
      if (keyword.ends_with("aximum")) range.cut_upper({*bound, excluded});
    }
    if (!range.lower && !range.upper) return fractions ? text_.any_number() : text_.any_integer();
    const auto within = fractions ? numbers_within(range, out_) : integers_within(range, out_);
    if (within) return *within;
    if (range.lower && range.upper && compare(range.lower->value, range.upper->value) < 0 && fractions)
      return unsupported_at(place, "minimum, maximum", "with more than 15 digits together");
    return invalid_at(place, "no number lies between its bounds");
  }

  const json::value& document_;
  size_t merges_left_;
  Expressions& out_;
  JsonText text_;
  std::map<std::string, RuleId> rules_;  // by JSON pointer
  std::deque<Pending> pending_;
  size_t schemas_ = 0;
};

}  // namespace

Result<SchemaRoot> parse_json_schema(std::string_view schema, Expressions& expressions) {
  json::parse_options options;
  options.max_depth = kGrammarDepthMax;
  boost::system::error_code error;
  const json::value document = json::parse(schema, error, {}, options);
  if (error) return fail(Code::kInvalidRequest, "the schema is no JSON: {}", error.message());
  return SchemaCompiler(document, schema.size(), expressions).compile();
}

}  // namespace deepserve::runner
