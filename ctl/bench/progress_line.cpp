#include "ctl/bench/progress_line.h"

#include <cstdio>

#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {

void ProgressLine::begin(std::string what, uint64_t length_ns) {
  what_ = std::move(what);
  length_ns_ = length_ns;
}

void ProgressLine::show(const Moment& moment) {
  if (!is_shown_) return;
  constexpr double kMillisecond = static_cast<double>(kMillisecond_ns);
  const ClassTally all = moment.tally->all();
  std::string line = fmt::format("{}  {}/{} s  in flight {}", what_, moment.now_ns / kSecond_ns,
                                 (length_ns_ + kSecond_ns - 1) / kSecond_ns, moment.in_flight);
  if (moment.waiting != 0) line += fmt::format(" +{} for a connection", moment.waiting);
  if (moment.to_retry != 0) line += fmt::format("  to retry {}", moment.to_retry);
  line += fmt::format("  ended {}  in SLO {}  refused {}", all.arrived, all.within_slo, all.refused_tries());
  if (all.ttft.count() != 0) {
    line +=
        fmt::format("  p99 TTFT {:.0f} ms", static_cast<double>(all.ttft.percentile_ns(0.99)) / kMillisecond);
  }
  fmt::print(stderr, "\r\x1b[K{}", line);
  std::fflush(stderr);
  is_drawn_ = true;
}

void ProgressLine::clear() {
  if (!std::exchange(is_drawn_, false)) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

}  // namespace deepserve::ctl::bench
