#include "runner/model/chat/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "runner/model/chat/jinja/attributes.h"

namespace deepserve::runner::jinja {
namespace {

constexpr size_t kRepeatedBytesMax = size_t{1} << 20;

std::string_view sign_of(Operator operation) {
  switch (operation) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    default:
      return "<";
  }
}

tl::unexpected<Error> mismatch(Operator operation, const Value& left, const Value& right) {
  return fail(Code::kInvalidRequest, "{} {} {}", left.type_name(), sign_of(operation), right.type_name());
}

bool is_small(const Value& value) {
  return value.if_integer() != nullptr || value.if_boolean() != nullptr;
}

int64_t as_integer(const Value& value) {
  return value.if_integer() != nullptr ? *value.if_integer() : int64_t{*value.if_boolean()};
}

Result<Value> combine_integers(Operator operation, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  switch (operation) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(left, right, &result);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(left, right, &result);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(left, right, &result);
      break;
    default:
      if (right == 0) return fail(Code::kInvalidRequest, "a division by zero");
      if (operation == Operator::kDivide)
        return Value(static_cast<double>(left) / static_cast<double>(right));
      if (right == -1) {
        overflow = operation == Operator::kFloorDivide && __builtin_sub_overflow(int64_t{0}, left, &result);
        break;
      }
      const int64_t rest = left % right;
      const bool rounds_down = rest != 0 && (rest < 0) != (right < 0);
      result = operation == Operator::kModulo ? rest + (rounds_down ? right : 0)
                                              : left / right - (rounds_down ? 1 : 0);
  }
  if (overflow) return fail(Code::kInvalidRequest, "an integer beyond 64 bits");
  return Value(result);
}

Result<Value> combine_floats(Operator operation, double left, double right) {
  switch (operation) {
    case Operator::kAdd:
      return Value(left + right);
    case Operator::kSubtract:
      return Value(left - right);
    case Operator::kMultiply:
      return Value(left * right);
    default:
      break;
  }
  if (right == 0) return fail(Code::kInvalidRequest, "a division by zero");
  if (operation == Operator::kDivide) return Value(left / right);
  if (operation == Operator::kFloorDivide) return Value(std::floor(left / right));
  const double rest = std::fmod(left, right);
  return Value(rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest);
}

Result<Value> repeat(const MarkedText& text, int64_t count, Budget& budget) {
  if (text.empty() || count <= 0) return Value(MarkedText());
  if (static_cast<uint64_t>(count) > kRepeatedBytesMax / text.size())
    return fail(Code::kInvalidRequest, "a text repeated {} times is too long", count);
  TRY(budget.take_bytes(static_cast<uint64_t>(count) * text.memory_bytes()));
  MarkedText made;
  for (; count > 0; --count) made.append(text);
  return Value(std::move(made));
}

template <typename T>
bool ordered(Operator operation, const T& left, const T& right) {
  switch (operation) {
    case Operator::kLess:
      return left < right;
    case Operator::kLessOrEqual:
      return left <= right;
    case Operator::kGreater:
      return left > right;
    default:
      return left >= right;
  }
}

}  // namespace

Result<void> charge_comparison(const Value& left, const Value& right, Budget& budget) {
  const Extent a = left.extent(), b = right.extent();
  if (left.if_text() != nullptr && right.if_text() != nullptr) {
    TRY(budget.take_search(b.bytes, a.bytes));
    TRY(budget.take_bytes(a.bytes + b.bytes));
  } else {  // `left` with itself, or with as many as there are in `right`
    TRY(budget.take_bytes(std::min(b.bytes, a.bytes * b.values)));
  }
  return budget.take_steps(1 + std::max(a.values, b.values) / 8);
}

Result<Value> combine(Operator operation, const Value& left, const Value& right, Budget& budget) {
  if (operation == Operator::kConcatenate) {
    TRY_ASSIGN(MarkedText text, to_text(left, budget));
    TRY_ASSIGN(const MarkedText more, to_text(right, budget));
    text.append(more);
    return Value(std::move(text));
  }
  if (is_small(left) && is_small(right))
    return combine_integers(operation, as_integer(left), as_integer(right));
  if (left.is_number() && right.is_number())
    return combine_floats(operation, left.as_double(), right.as_double());
  if (operation == Operator::kAdd && left.if_text() != nullptr && right.if_text() != nullptr) {
    TRY(budget.take_bytes(left.if_text()->memory_bytes() + right.if_text()->memory_bytes()));
    MarkedText text = *left.if_text();
    text.append(*right.if_text());
    return Value(std::move(text));
  }
  if (operation == Operator::kAdd && left.if_list() != nullptr && right.if_list() != nullptr) {
    std::vector<Value> items = left.if_list()->items();
    const auto& more = right.if_list()->items();
    items.insert(items.end(), more.begin(), more.end());
    return list_value(std::move(items), budget);
  }
  if (operation == Operator::kMultiply && left.if_text() != nullptr && is_small(right))
    return repeat(*left.if_text(), as_integer(right), budget);
  return mismatch(operation, left, right);
}

Result<bool> compare(Operator operation, const Value& left, const Value& right) {
  if (operation == Operator::kEqual || operation == Operator::kNotEqual)
    return equal(left, right) == (operation == Operator::kEqual);
  if (operation == Operator::kIn || operation == Operator::kNotIn) {
    TRY_ASSIGN(const bool inside, contains(right, left));
    return inside == (operation == Operator::kIn);
  }
  if (is_small(left) && is_small(right)) return ordered(operation, as_integer(left), as_integer(right));
  if (left.is_number() && right.is_number()) return ordered(operation, left.as_double(), right.as_double());
  if (left.if_text() != nullptr && right.if_text() != nullptr)
    return ordered(operation, left.if_text()->bytes(), right.if_text()->bytes());
  return mismatch(operation, left, right);
}

Result<Value> with_sign(Operator operation, const Value& value) {
  if (!value.is_number()) return fail(Code::kInvalidRequest, "the sign of a {}", value.type_name());
  if (operation == Operator::kAdd) return value;
  if (is_small(value)) return combine_integers(Operator::kSubtract, 0, as_integer(value));
  return Value(-value.as_double());
}

}  // namespace deepserve::runner::jinja
