#include "runner/grammar/json_numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace deepserve::runner {
namespace {

// Digits before the point of a number with a fraction, where nothing bounds them.
constexpr size_t kIntegerDigits = 9;

uint64_t number_of(const std::string& digits) {
  uint64_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

// A bound of the digits that follow: those read so far are the same as its own.
struct DigitBound {
  std::string digits;  // beyond its end it goes on with zeros
  bool excluded = false;
};

class DigitRanges {
 public:
  explicit DigitRanges(Expressions& expressions) : out_(expressions) {}

  // Integers first to last without leading zeros.
  ExpressionId integers(uint64_t first, uint64_t last) {
    if (first > last) return out_.nothing();
    std::vector<ExpressionId> parts;
    const std::string low = std::to_string(first), high = std::to_string(last);
    for (size_t digits = low.size(); digits <= high.size(); ++digits) {
      std::string from = low;
      if (digits > low.size()) from.assign(digits, '0').front() = '1';
      std::string to = digits == high.size() ? high : std::string(digits, '9');
      lower_ = DigitBound{std::move(from), false};
      upper_ = DigitBound{std::move(to), false};
      parts.push_back(rest(0, true, true, digits, digits));
    }
    return out_.choice(parts);
  }

  // What follows the digits before the point: nothing, or a point and 1 to `digits_max` digits.
  ExpressionId fraction(std::optional<DigitBound> lower, std::optional<DigitBound> upper, size_t digits_max) {
    lower_ = lower.value_or(DigitBound{});
    upper_ = upper.value_or(DigitBound{});
    std::vector<ExpressionId> parts;
    if (may_end(0, lower.has_value(), upper.has_value())) parts.push_back(out_.empty());
    if (digits_max > 0) {
      parts.push_back(
          out_.sequence({out_.literal("."), rest(0, lower.has_value(), upper.has_value(), 1, digits_max)}));
    }
    return out_.choice(parts);
  }

 private:
  bool may_end(size_t read, bool at_lower, bool at_upper) const {
    if (at_lower && (read < lower_.digits.size() || lower_.excluded)) return false;
    return !at_upper || read < upper_.digits.size() || !upper_.excluded;
  }
  ExpressionId digit(int first, int last) {
    return out_.byte_range(static_cast<uint8_t>('0' + first), static_cast<uint8_t>('0' + last));
  }

  // The digits from number `read` on, at_least to at_most in all; `at_lower`: those so far are the bound's.
  ExpressionId rest(size_t read, bool at_lower, bool at_upper, size_t at_least, size_t at_most) {
    if (!at_lower && !at_upper) {
      const size_t needed = at_least > read ? at_least - read : 0;
      return out_.repeat(digit(0, 9), static_cast<uint32_t>(needed), static_cast<uint32_t>(at_most - read));
    }
    std::vector<ExpressionId> parts;
    if (read >= at_least && may_end(read, at_lower, at_upper)) parts.push_back(out_.empty());
    if (read == at_most) return out_.choice(parts);
    const int low = at_lower ? digit_at(lower_, read) : 0;
    const int high = at_upper ? digit_at(upper_, read) : 9;
    const auto then = [&](int first, int last, bool still_lower, bool still_upper) {
      if (first > last) return;
      parts.push_back(
          out_.sequence({digit(first, last), rest(read + 1, still_lower, still_upper, at_least, at_most)}));
    };
    if (low == high) {
      then(low, low, at_lower, at_upper);
    } else if (low < high) {
      if (at_lower) then(low, low, true, false);
      then(at_lower ? low + 1 : low, at_upper ? high - 1 : high, false, false);
      if (at_upper) then(high, high, false, true);
    }
    return out_.choice(parts);
  }
  static int digit_at(const DigitBound& bound, size_t index) {
    return index < bound.digits.size() ? bound.digits[index] - '0' : 0;
  }

  Expressions& out_;
  DigitBound lower_, upper_;
};

struct Magnitudes {
  NumberBound lower;  // its sign does not count
  std::optional<NumberBound> upper;
};

// The range cut at zero: what is below it, mirrored, and what is not. None: empty.
std::optional<Magnitudes> negative_part(const NumberRange& range) {
  if (range.lower && (!range.lower->value.negative || range.lower->value.is_zero())) return std::nullopt;
  Magnitudes part{{Decimal{}, true}, range.lower};
  if (range.upper && range.upper->value.negative) part.lower = *range.upper;
  return part;
}

std::optional<Magnitudes> positive_part(const NumberRange& range) {
  if (range.upper && range.upper->value.negative && !range.upper->value.is_zero()) return std::nullopt;
  Magnitudes part{{Decimal{}, false}, range.upper};
  if (range.lower && !range.lower->value.negative) part.lower = *range.lower;
  return part;
}

std::optional<ExpressionId> integers_of(const Magnitudes& part, Expressions& out) {
  uint64_t first = number_of(part.lower.value.integer);
  if (!part.lower.value.fraction.empty() || part.lower.excluded) ++first;
  uint64_t last = number_of(std::string(Decimal::kDigitsMax, '9'));
  if (part.upper) {
    last = number_of(part.upper->value.integer);
    if (part.upper->value.fraction.empty() && part.upper->excluded) {
      if (last == 0) return std::nullopt;
      --last;
    }
  }
  if (first > last) return std::nullopt;
  return DigitRanges(out).integers(first, last);
}

DigitBound fraction_of(const NumberBound& bound) {
  return {bound.value.fraction, bound.excluded};
}

std::optional<ExpressionId> numbers_of(const Magnitudes& part, Expressions& out) {
  const size_t fraction_digits =
      std::max(part.lower.value.fraction.size(), part.upper ? part.upper->value.fraction.size() : size_t{0});
  size_t integer_digits = part.lower.value.integer.size();
  if (part.upper) {
    integer_digits = std::max(integer_digits, part.upper->value.integer.size());
  } else if (fraction_digits < Decimal::kDigitsMax) {
    integer_digits =
        std::max(integer_digits, std::min(kIntegerDigits, Decimal::kDigitsMax - fraction_digits));
  }
  if (integer_digits + fraction_digits > Decimal::kDigitsMax) return std::nullopt;
  const size_t digits_max = Decimal::kDigitsMax - integer_digits;
  DigitRanges ranges(out);
  const uint64_t first = number_of(part.lower.value.integer);
  const ExpressionId low = out.literal(part.lower.value.integer);
  const DigitBound lower = fraction_of(part.lower);
  if (!part.upper) {
    const uint64_t last = number_of(std::string(integer_digits, '9'));
    return out.choice(
        {out.sequence({low, ranges.fraction(lower, {}, digits_max)}),
         out.sequence({ranges.integers(first + 1, last), ranges.fraction({}, {}, digits_max)})});
  }
  const uint64_t last = number_of(part.upper->value.integer);
  const DigitBound upper = fraction_of(*part.upper);
  if (first > last) return std::nullopt;
  if (first == last) return out.sequence({low, ranges.fraction(lower, upper, digits_max)});
  const ExpressionId between = last - first > 1 ? ranges.integers(first + 1, last - 1) : out.nothing();
  return out.choice(
      {out.sequence({low, ranges.fraction(lower, {}, digits_max)}),
       out.sequence({between, ranges.fraction({}, {}, digits_max)}),
       out.sequence({out.literal(part.upper->value.integer), ranges.fraction({}, upper, digits_max)})});
}

template <typename Of>
std::optional<ExpressionId> both_parts(const NumberRange& range, Expressions& out, Of of) {
  std::vector<ExpressionId> parts;
  if (const auto positive = positive_part(range)) {
    const auto magnitudes = of(*positive, out);
    if (magnitudes) parts.push_back(*magnitudes);
  }
  if (const auto negative = negative_part(range)) {
    const auto magnitudes = of(*negative, out);
    if (magnitudes) parts.push_back(out.sequence({out.literal("-"), *magnitudes}));
  }
  if (parts.empty()) return std::nullopt;
  return out.choice(parts);
}

std::optional<Decimal> from_text(std::string_view text) {
  Decimal decimal;
  decimal.negative = text.starts_with('-');
  if (decimal.negative) text.remove_prefix(1);
  if (text.find_first_not_of("0123456789.") != text.npos) return std::nullopt;
  const size_t point = std::min(text.find('.'), text.size());
  decimal.integer = text.substr(0, point);
  if (point < text.size()) decimal.fraction = text.substr(point + 1);
  while (decimal.fraction.ends_with('0')) decimal.fraction.pop_back();
  if (decimal.is_zero()) decimal.negative = false;
  if (decimal.integer.size() + decimal.fraction.size() > Decimal::kDigitsMax) return std::nullopt;
  return decimal;
}

}  // namespace

std::optional<Decimal> Decimal::from(int64_t value) {
  return from_text(std::to_string(value));
}

std::optional<Decimal> Decimal::from(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed);
  if (end.ec != std::errc()) return std::nullopt;
  return from_text({text, end.ptr});
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.is_zero() && b.is_zero()) return 0;
  const bool a_negative = a.negative && !a.is_zero(), b_negative = b.negative && !b.is_zero();
  if (a_negative != b_negative) return a_negative ? -1 : 1;
  int order = 0;
  if (a.integer.size() != b.integer.size()) {
    order = a.integer.size() < b.integer.size() ? -1 : 1;
  } else if (a.integer != b.integer) {
    order = a.integer < b.integer ? -1 : 1;
  } else if (a.fraction != b.fraction) {
    order = a.fraction < b.fraction ? -1 : 1;
  }
  return a_negative ? -order : order;
}

void NumberRange::raise_lower(const NumberBound& bound) {
  const int order = lower ? compare(bound.value, lower->value) : 1;
  if (order > 0 || (order == 0 && bound.excluded)) lower = bound;
}

void NumberRange::cut_upper(const NumberBound& bound) {
  const int order = upper ? compare(bound.value, upper->value) : -1;
  if (order < 0 || (order == 0 && bound.excluded)) upper = bound;
}

std::optional<ExpressionId> integers_within(const NumberRange& range, Expressions& expressions) {
  return both_parts(range, expressions, integers_of);
}

std::optional<ExpressionId> numbers_within(const NumberRange& range, Expressions& expressions) {
  return both_parts(range, expressions, numbers_of);
}

}  // namespace deepserve::runner
