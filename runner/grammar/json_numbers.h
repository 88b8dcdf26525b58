// Numbers within bounds, as expressions over their digits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runner/grammar/expressions.h"

namespace deepserve::runner {

// A decimal number as it is written, without needless zeros: 15 digits at most, so that no two of them are
// the same double and what is true of the digits is true of the doubles that they are read as.
struct Decimal {
  bool negative = false;
  std::string integer = "0";
  std::string fraction;

  static constexpr size_t kDigitsMax = 15;
  // None when it has more digits than that.
  static std::optional<Decimal> from(int64_t value);
  static std::optional<Decimal> from(double value);

  bool is_zero() const { return integer == "0" && fraction.empty(); }
};

// Below zero, zero or above, as a is below, equal to or above b.
int compare(const Decimal& a, const Decimal& b);

struct NumberBound {
  Decimal value;
  bool excluded = false;
};

struct NumberRange {
  std::optional<NumberBound> lower;
  std::optional<NumberBound> upper;

  // The tighter of what is there and `bound`.
  void raise_lower(const NumberBound& bound);
  void cut_upper(const NumberBound& bound);
};

// JSON integers within the range, without fraction and exponent. None when there is none.
std::optional<ExpressionId> integers_within(const NumberRange& range, Expressions& expressions);
// JSON numbers within the range, without exponent, of at most 15 digits. None when there is none or the
// bounds take more digits together.
std::optional<ExpressionId> numbers_within(const NumberRange& range, Expressions& expressions);

}  // namespace deepserve::runner
