#include "runner/grammar/json_formats.h"

#include <vector>

namespace deepserve::runner {
namespace {

class Formats {
 public:
  explicit Formats(Expressions& expressions) : out_(expressions) {}

  ExpressionId date() {
    const ExpressionId day_28 = any_of(
        {all({text("0"), range('1', '9')}), all({text("1"), digit()}), all({text("2"), range('0', '8')})});
    const ExpressionId long_months =
        any_of({text("01"), text("03"), text("05"), text("07"), text("08"), text("10"), text("12")});
    const ExpressionId short_months = any_of({text("04"), text("06"), text("09"), text("11")});
    const ExpressionId months = any_of({long_months, short_months, text("02")});
    const ExpressionId month_day =
        any_of({all({months, text("-"), day_28}),
                all({any_of({long_months, short_months}), text("-"), any_of({text("29"), text("30")})}),
                all({long_months, text("-31")})});
    const ExpressionId two = digits(2);
    const ExpressionId not_00 = any_of({all({text("0"), range('1', '9')}), all({range('1', '9'), digit()})});
    const ExpressionId year = any_of({all({not_00, two}), all({text("00"), not_00})});
    const ExpressionId even = any_of({text("0"), text("2"), text("4"), text("6"), text("8")});
    const ExpressionId odd = any_of({text("1"), text("3"), text("5"), text("7"), text("9")});
    const ExpressionId of_even = any_of({text("4"), text("8")});
    const ExpressionId of_odd = any_of({text("2"), text("6")});
    const ExpressionId by_4 =
        any_of({all({even, of_even}), all({odd, of_odd}),
                all({any_of({text("2"), text("4"), text("6"), text("8")}), text("0")})});
    const ExpressionId leap_year = any_of({all({two, by_4}), all({by_4, text("00")})});
    return any_of({all({year, text("-"), month_day}), all({leap_year, text("-02-29")})});
  }

  ExpressionId time() {
    const ExpressionId hour = any_of({all({range('0', '1'), digit()}), all({text("2"), range('0', '3')})});
    const ExpressionId sixty = all({range('0', '5'), digit()});
    const ExpressionId fraction = all({text("."), out_.repeat(digit(), 1, 6)});
    const ExpressionId offset = all({any_of({text("+"), text("-")}), hour, text(":"), sixty});
    return all(
        {hour, text(":"), sixty, text(":"), sixty, out_.optional(fraction), any_of({text("Z"), offset})});
  }

  ExpressionId date_time() { return all({date(), text("T"), time()}); }

  ExpressionId uuid() {
    const ExpressionId hex = any_of({digit(), range('a', 'f'), range('A', 'F')});
    const ExpressionId four = out_.repeat(hex, 4, 4);
    return all({out_.repeat(hex, 8, 8), text("-"), four, text("-"), four, text("-"), four, text("-"),
                out_.repeat(hex, 12, 12)});
  }

  ExpressionId ipv4() {
    const ExpressionId octet =
        any_of({digit(), all({range('1', '9'), digit()}), all({text("1"), digits(2)}),
                all({text("2"), range('0', '4'), digit()}), all({text("25"), range('0', '5')})});
    return all({octet, out_.repeat(all({text("."), octet}), 3, 3)});
  }

  // Labels of up to 30 characters, 8 at most: within the 253 that RFC 1123 allows in all.
  ExpressionId hostname() {
    const ExpressionId word = any_of({range('a', 'z'), range('A', 'Z'), digit()});
    const ExpressionId inner = out_.repeat(any_of({word, text("-")}), 0, 28);
    const ExpressionId label = all({word, out_.optional(all({inner, word}))});
    return all({label, out_.repeat(all({text("."), label}), 0, 7)});
  }

  // RFC 5321's dot-string without the signs that a JSON string would have to escape.
  ExpressionId email() {
    std::vector<ExpressionId> parts = {range('a', 'z'), range('A', 'Z'), digit()};
    for (const char sign : std::string_view("!#$%&'*+-/=?^_`{|}~")) parts.push_back(text({&sign, 1}));
    const ExpressionId atom = out_.repeat(out_.choice(parts), 1, 15);
    return all({atom, out_.repeat(all({text("."), atom}), 0, 3), text("@"), hostname()});
  }

 private:
  ExpressionId text(std::string_view bytes) { return out_.literal(bytes); }
  ExpressionId range(char first, char last) {
    return out_.byte_range(static_cast<uint8_t>(first), static_cast<uint8_t>(last));
  }
  ExpressionId digit() { return range('0', '9'); }
  ExpressionId digits(uint32_t count) { return out_.repeat(digit(), count, count); }
  ExpressionId all(std::initializer_list<ExpressionId> parts) { return out_.sequence(parts); }
  ExpressionId any_of(std::initializer_list<ExpressionId> parts) { return out_.choice(parts); }

  Expressions& out_;
};

}  // namespace

std::optional<ExpressionId> format_expression(std::string_view name, Expressions& expressions) {
  Formats formats(expressions);
  if (name == "date") return formats.date();
  if (name == "time") return formats.time();
  if (name == "date-time") return formats.date_time();
  if (name == "uuid") return formats.uuid();
  if (name == "ipv4") return formats.ipv4();
  if (name == "email") return formats.email();
  if (name == "hostname") return formats.hostname();
  return std::nullopt;
}

}  // namespace deepserve::runner
