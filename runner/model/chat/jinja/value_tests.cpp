#include "runner/model/chat/jinja/value_tests.h"

#include <algorithm>

#include "runner/model/chat/jinja/attributes.h"
#include "runner/model/chat/jinja/operators.h"

namespace deepserve::runner::jinja {
namespace {

using Test = bool (*)(const Value& value);

bool is_integer(const Value& value) {
  return value.if_integer() != nullptr || value.if_big_integer() != nullptr;
}

bool is_sequence(const Value& value) {
  return value.if_text() != nullptr || value.if_list() != nullptr || value.if_dict() != nullptr;
}

struct TestRow {
  std::string_view name;
  Test test;
};
constexpr TestRow kTests[] = {
    {"defined", [](const Value& value) { return !value.is_undefined(); }},
    {"undefined", [](const Value& value) { return value.is_undefined(); }},
    {"none", [](const Value& value) { return value.is_none(); }},
    {"string", [](const Value& value) { return value.if_text() != nullptr; }},
    {"mapping", [](const Value& value) { return value.if_dict() != nullptr; }},
    {"sequence", [](const Value& value) { return is_sequence(value) || value.is_undefined(); }},
    {"iterable", [](const Value& value) { return is_sequence(value) || value.is_undefined(); }},
    {"number", [](const Value& value) { return value.is_number(); }},
    {"integer", is_integer},
    {"float", [](const Value& value) { return value.if_float() != nullptr; }},
    {"boolean", [](const Value& value) { return value.if_boolean() != nullptr; }},
    {"true", [](const Value& value) { return value.if_boolean() != nullptr && *value.if_boolean(); }},
    {"false", [](const Value& value) { return value.if_boolean() != nullptr && !*value.if_boolean(); }},
    {"callable",
     [](const Value& value) { return value.if_function() != nullptr || value.if_macro() != nullptr; }},
};

constexpr std::string_view kTestsWithArgument[] = {"eq", "equalto", "ne", "in", "divisibleby", "odd", "even"};

Result<bool> divides(const Value& value, int64_t divisor, int64_t rest) {
  const int64_t* number = value.if_integer();
  if (number == nullptr || divisor == 0)
    return fail(Code::kInvalidRequest, "whether a {} is divisible", value.type_name());
  if (divisor == -1) return true;
  return (*number % divisor != 0 ? 1 : 0) == rest;
}

}  // namespace

bool is_value_test(std::string_view name) {
  return std::any_of(std::begin(kTests), std::end(kTests),
                     [&](const TestRow& row) { return row.name == name; }) ||
         std::find(std::begin(kTestsWithArgument), std::end(kTestsWithArgument), name) !=
             std::end(kTestsWithArgument);
}

Result<bool> run_value_test(const Value& value, std::string_view name, const Arguments& arguments,
                            Budget& budget) {
  for (const TestRow& row : kTests) {
    if (row.name == name) return row.test(value);
  }
  if (name == "odd" || name == "even") return divides(value, 2, name == "odd" ? 1 : 0);
  if (arguments.positional.size() != 1) return fail(Code::kInvalidRequest, "\"is {}\" of one value", name);
  const Value& other = arguments.positional[0];
  TRY(charge_comparison(value, other, budget));
  if (name == "in") return contains(other, value);
  if (name == "divisibleby") {
    if (other.if_integer() == nullptr) return fail(Code::kInvalidRequest, "\"is divisibleby\" a number");
    return divides(value, *other.if_integer(), 0);
  }
  return equal(value, other) == (name != "ne");
}

}  // namespace deepserve::runner::jinja
