#include "ctl/bench/bars.h"

#include <algorithm>

#include "ctl/bench/report_text.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

constexpr double kBatchLoad = 2;  // at which batch is to have its part
constexpr double kTtftOfAlone = 1.3;
constexpr uint64_t kRefusalsMin = 100;  // the p99 of fewer is no more than the longest of them

double milliseconds(uint64_t duration_ns) {
  return static_cast<double>(duration_ns) / static_cast<double>(kMillisecond_ns);
}

double part(uint64_t some, uint64_t all) {
  return all == 0 ? 0 : static_cast<double>(some) / static_cast<double>(all);
}

class Judge {
 public:
  Judge(const Settings& settings, const Report& report) : settings_(settings), report_(report) {
    for (const Point& point : report.points) {
      const Tally& tally = point.result.tally;
      const uint64_t vips = tally.of(ServiceClass::kVip).arrived;
      if (vips != 0 && vips == tally.all().arrived) vip_alone_ = &tally;
      if (settings.kind == LoadKind::kLoads && point.value == 1) once_ = &tally;
    }
  }

  std::vector<Bar> judge() {
    for (const Point& point : report_.points) {
      name_ = point_name(settings_, point);
      const Tally& tally = point.result.tally;
      const bool is_load = settings_.kind == LoadKind::kLoads;
      if (is_load && once_ != nullptr && point.value > 1) goodput(tally);
      if (&tally != vip_alone_) vip(tally);
      refusals(tally.all());
      work(tally.all());
      tickets(tally.honesty());
      fairness(tally);
      if (is_load && point.value == kBatchLoad) batch(tally);
    }
    return std::move(bars_);
  }

 private:
  void at_least(std::string what, double value, double bound) {
    bars_.push_back({name_, std::move(what), value, bound, true});
  }
  void at_most(std::string what, double value, double bound) {
    bars_.push_back({name_, std::move(what), value, bound, false});
  }

  void goodput(const Tally& tally) {
    const double once = once_->goodput_per_s();
    if (once > 0) at_least("goodput over that at 1x", tally.goodput_per_s() / once, 0.95);
  }

  void vip(const Tally& tally) {
    const ClassTally& vip = tally.of(ServiceClass::kVip);
    if (vip.arrived == 0) return;
    at_least(fmt::format("vip within the SLO ({} of them)", vip.arrived), part(vip.within_slo, vip.arrived),
             0.999);
    if (vip_alone_ == nullptr || vip.ttft.count() == 0) return;
    const double alone = milliseconds(vip_alone_->of(ServiceClass::kVip).ttft.percentile_ns(0.99));
    const double step = milliseconds(vip.itl.percentile_ns(0.50));
    at_most(fmt::format("vip p99 TTFT, ms (alone {:.0f}; a step {:.0f}, p99 of them {:.0f})", alone, step,
                        milliseconds(vip.itl.percentile_ns(0.99))),
            milliseconds(vip.ttft.percentile_ns(0.99)), std::max(kTtftOfAlone * alone, alone + step));
  }

  void refusals(const ClassTally& all) {
    Histogram latency;
    for (const auto& [reason, refused] : all.refusals) latency.add(refused.latency);
    if (latency.count() < kRefusalsMin) return;
    at_most(fmt::format("p99 of a refusal, ms ({} of them)", latency.count()),
            milliseconds(latency.percentile_ns(0.99)), 1);
  }

  void work(const ClassTally& all) {
    const uint64_t tokens = all.prompt_tokens + all.completion_tokens;
    if (tokens != 0)
      at_most("tokens of answers that failed or missed", part(all.wasted_tokens, tokens), 0.01);
  }

  void tickets(const Honesty& honesty) {
    if (honesty.ticketed_back == 0) return;
    at_least(fmt::format("tickets served at the first on-time retry ({} came back)", honesty.ticketed_back),
             part(honesty.ticketed_served, honesty.ticketed_back), 0.95);
    if (honesty.ticket_error.count() == 0) return;
    at_most(fmt::format("ticket error p90 ({:.0f} ms from the instant to the first token) / max(1 s, 10 %)",
                        milliseconds(honesty.ticket_error.percentile_ns(0.90))),
            milliseconds(honesty.ticket_error_part.percentile_ns(0.90)) / 1000, 1);
  }

  void fairness(const Tally& tally) {
    for (size_t i = 0; i < kClass_count; ++i) {
      const auto service_class = static_cast<ServiceClass>(i);
      const Fairness fairness = tally.fairness(service_class);
      if (fairness.clients < 2) continue;
      at_least(
          fmt::format("Jain's index of {} backlogged {} clients, by weight (without {:.3f}; {:.0f} answers "
                      "each)",
                      fairness.clients, class_name(service_class), fairness.plain, fairness.answers_each),
          fairness.weighted, 0.98);
    }
  }

  void batch(const Tally& tally) {
    const ClassTally all = tally.all();
    const ClassTally& batch = tally.of(ServiceClass::kBatch);
    const uint64_t tokens = all.prompt_tokens + all.completion_tokens;
    if (batch.arrived == 0 || tokens == 0) return;
    at_least("batch's part of the tokens", part(batch.prompt_tokens + batch.completion_tokens, tokens),
             0.045);
  }

  const Settings& settings_;
  const Report& report_;
  const Tally* vip_alone_ = nullptr;
  const Tally* once_ = nullptr;
  std::string name_;
  std::vector<Bar> bars_;
};

}  // namespace

std::vector<Bar> bars_of(const Settings& settings, const Report& report) {
  return Judge(settings, report).judge();
}

}  // namespace deepserve::ctl::bench
