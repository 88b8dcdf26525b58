#include "ctl/bench/class_mix.h"

#include <cmath>

#include "ctl/bench/number_text.h"
#include "ipc/base/check.h"

namespace deepserve::ctl::bench {
namespace {

constexpr PerClass<std::string_view> kNames = {"vip", "normal", "batch"};

}  // namespace

std::string_view class_name(ServiceClass service_class) {
  return kNames.at(index_of(service_class));
}

Result<ServiceClass> class_named(std::string_view name) {
  for (size_t i = 0; i < kClass_count; ++i) {
    if (kNames[i] == name) return static_cast<ServiceClass>(i);
  }
  return fail(Code::kUsage, "there is no class \"{}\": vip, normal or batch", name);
}

Result<ClassMix> ClassMix::parse(std::string_view shares, std::string_view fixed) {
  constexpr double kSum_tolerance = 0.001;
  ClassMix mix;
  double sum = 0;
  for (const std::string_view piece : split(shares, ',')) {
    const size_t equals = piece.find('=');
    if (equals == std::string_view::npos) return fail(Code::kUsage, "--mix: \"{}\" is no CLASS=SHARE", piece);
    TRY_ASSIGN(const ServiceClass service_class, class_named(piece.substr(0, equals)));
    TRY_ASSIGN(const double share, positive_number("--mix", piece.substr(equals + 1)));
    double& known = mix.shares_[index_of(service_class)];
    if (known != 0) return fail(Code::kUsage, "--mix: {} comes twice", class_name(service_class));
    known = share;
    sum += share;
  }
  if (std::abs(sum - 1) > kSum_tolerance)
    return fail(Code::kUsage, "--mix: the shares of \"{}\" sum to {:.4g}, not to 1", shares, sum);
  for (double& share : mix.shares_) share /= sum;
  if (fixed.empty()) return mix;
  TRY_ASSIGN(const ServiceClass kept, class_named(fixed));
  const double share = mix.share(kept);
  if (share == 0) return fail(Code::kUsage, "--fixed: {} has no share in \"{}\"", fixed, shares);
  if (share == 1) return fail(Code::kUsage, "--fixed: {} is alone: nothing is left to scale", fixed);
  mix.fixed_ = kept;
  return mix;
}

Result<PerClass<double>> ClassMix::rates_per_s(double capacity_per_s, double load) const {
  const double total = capacity_per_s * load;
  PerClass<double> rates{};
  constexpr double kRounding = 1e-9;  // a load of 0.3 is the fixed class alone where its share is 0.3
  const double kept = fixed_ ? share(*fixed_) : 0;
  if (kept > load * (1 + kRounding)) {
    return fail(Code::kUsage, "at a load of {} the fixed class {} alone asks for {} of the capacity", load,
                class_name(*fixed_), kept);
  }
  const double rest = total - kept * capacity_per_s;
  const double scales = rest > kRounding * total ? rest : 0;
  for (size_t i = 0; i < kClass_count; ++i) {
    const bool is_fixed = fixed_ && index_of(*fixed_) == i;
    rates[i] = is_fixed ? kept * capacity_per_s : shares_[i] / (1 - kept) * scales;
  }
  return rates;
}

ServiceClass ClassMix::class_at(double point) const {
  CHECK(point >= 0 && point < 1);
  size_t last = 0;
  for (size_t i = 0; i < kClass_count; ++i) {
    if (shares_[i] == 0) continue;
    last = i;
    if (point < shares_[i]) break;
    point -= shares_[i];
  }
  return static_cast<ServiceClass>(last);
}

}  // namespace deepserve::ctl::bench
