#include "ctl/bench/lengths.h"

#include <algorithm>
#include <cmath>

#include "ctl/bench/number_text.h"

namespace deepserve::ctl::bench {
namespace {

constexpr double kDefault_max_per_mean = 8;

Result<uint32_t> tokens(std::string_view what, std::string_view text) {
  TRY_ASSIGN(const uint64_t count, integer_between(what, text, 1, Lengths::kTokens_max));
  return static_cast<uint32_t>(count);
}

}  // namespace

Result<Lengths> Lengths::parse(std::string_view what, std::string_view text) {
  std::vector<std::string_view> words = split(text, ':');
  if (words.size() == 1) words.insert(words.begin(), "fixed");
  Lengths lengths;
  if (words[0] == "fixed" && words.size() == 2) {
    TRY_ASSIGN(lengths.least_, tokens(what, words[1]));
    lengths.most_ = lengths.least_;
  } else if (words[0] == "uniform" && words.size() == 3) {
    lengths.shape_ = Shape::kUniform;
    TRY_ASSIGN(lengths.least_, tokens(what, words[1]));
    TRY_ASSIGN(lengths.most_, tokens(what, words[2]));
    if (lengths.least_ > lengths.most_)
      return fail(Code::kUsage, "{}: \"{}\" ends before it starts", what, text);
  } else if (words[0] == "lognormal" && (words.size() == 3 || words.size() == 4)) {
    lengths.shape_ = Shape::kLognormal;
    TRY_ASSIGN(const double mean, positive_number(what, words[1]));
    TRY_ASSIGN(const double cv, positive_number(what, words[2]));
    if (mean > kTokens_max) return fail(Code::kUsage, "{}: a mean above {}", what, kTokens_max);
    lengths.most_ = static_cast<uint32_t>(std::clamp<double>(mean * kDefault_max_per_mean, 1, kTokens_max));
    if (words.size() == 4) {
      TRY_ASSIGN(lengths.most_, tokens(what, words[3]));
    }
    const double variance = std::log1p(cv * cv);
    lengths.log_deviation_ = std::sqrt(variance);
    lengths.log_mean_ = std::log(mean) - variance / 2;
  } else {
    return fail(Code::kUsage, "{}: \"{}\" is none of N, fixed:N, uniform:A:B, lognormal:MEAN:CV[:MAX]", what,
                text);
  }
  return lengths;
}

uint32_t Lengths::draw(std::mt19937_64& generator) const {
  switch (shape_) {
    case Shape::kFixed:
      break;
    case Shape::kUniform:
      return std::uniform_int_distribution<uint32_t>(least_, most_)(generator);
    case Shape::kLognormal: {
      const double length = std::lognormal_distribution<double>(log_mean_, log_deviation_)(generator);
      return static_cast<uint32_t>(std::clamp<double>(std::round(length), 1, most_));
    }
  }
  return least_;
}

double Lengths::mean() const {
  if (shape_ == Shape::kLognormal) return std::exp(log_mean_ + log_deviation_ * log_deviation_ / 2);
  return (static_cast<double>(least_) + static_cast<double>(most_)) / 2;
}

}  // namespace deepserve::ctl::bench
