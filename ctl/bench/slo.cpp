#include "ctl/bench/slo.h"

#include "ctl/bench/number_text.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {

Result<Slo> Slo::parse(std::string_view ttft, std::string_view itl) {
  Slo slo;
  slo.ttft_ns = {500 * kMillisecond_ns, 5 * kSecond_ns, 600 * kSecond_ns};
  PerClass<bool> named{};
  for (const std::string_view piece : split(ttft, ',')) {
    if (ttft.empty()) break;
    const size_t equals = piece.find('=');
    if (equals == std::string_view::npos)
      return fail(Code::kUsage, "--ttft: \"{}\" is no CLASS=DURATION", piece);
    TRY_ASSIGN(const ServiceClass service_class, class_named(piece.substr(0, equals)));
    const size_t i = index_of(service_class);
    if (named[i]) return fail(Code::kUsage, "--ttft: {} comes twice", class_name(service_class));
    named[i] = true;
    TRY_ASSIGN(slo.ttft_ns[i], duration_ns("--ttft", piece.substr(equals + 1)));
  }
  TRY_ASSIGN(slo.itl_ns, duration_ns("--itl", itl));
  return slo;
}

bool Slo::is_met_by(const Outcome& outcome) const {
  if (outcome.end != End::kFull) return false;
  const uint64_t limit_ns = ttft_ns[index_of(outcome.planned.service_class)];
  const bool is_batch = outcome.planned.service_class == ServiceClass::kBatch;
  return bench::ttft_ns(outcome.last) <= limit_ns && (is_batch || tpot_ns(outcome.last) <= itl_ns);
}

}  // namespace deepserve::ctl::bench
