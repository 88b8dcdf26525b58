#include "tests/sim/sweep.h"

#include <fmt/format.h>

#include <array>
#include <functional>
#include <iterator>

namespace deepserve::sim {
namespace {

constexpr std::array kOutcomes = {"open", "full", "degraded", "late", "slow", "refused", "failed"};
static_assert(kOutcomes.size() == static_cast<size_t>(AskOutcome::kCount));
constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);

std::string_view class_name(size_t index) {
  return ipc::class_name(static_cast<ipc::Class>(index));
}

}  // namespace

std::vector<SweepPoint> sweep(const FigureOptions& options, const std::vector<std::string>& policies,
                              const std::vector<double>& loads) {
  std::vector<SweepPoint> points;
  for (const auto& policy : policies) {
    auto with = options;
    with.policy = policy;
    for (const double load : loads) {
      points.push_back({policy, load, tally_of(usual_options(with, load), options.seeds)});
    }
  }
  return points;
}

std::string table_of(std::vector<SweepPoint>& points) {
  std::string text =
      "                       goodput   wasted | success              | TTFT p50 p99, s            | refused "
      "later\n"
      "policy           load  work/s    work   |   vip normal  batch  |   vip         normal       | of all  "
      "of it\n";
  const auto out = std::back_inserter(text);
  for (auto& point : points) {
    auto& [vip, normal, batch] = point.tally.classes;
    const auto total = point.tally.total();
    const auto part = [](uint64_t some, uint64_t all) {
      return all == 0 ? 0 : static_cast<double>(some) / static_cast<double>(all);
    };
    fmt::format_to(
        out,
        "{:16} {:4}  {:6.3f}  {:6.1f}% | {:5.1f}% {:5.1f}% {:5.1f}% | {:5.3f} {:6.3f} {:6.3f} {:7.3f} |"
        " {:5.1f}% {:5.1f}%\n",
        point.policy, point.load, point.tally.goodput(), 100 * point.tally.wasted(), 100 * vip.success(),
        100 * normal.success(), 100 * batch.success(), quantile(vip.ttft_seconds, 0.5),
        quantile(vip.ttft_seconds, 0.99), quantile(normal.ttft_seconds, 0.5),
        quantile(normal.ttft_seconds, 0.99), 100 * part(total.refused, total.attempts),
        100 * part(total.refused_later, total.refused));
  }
  return text;
}

std::string csv_of(std::vector<SweepPoint>& points) {
  std::string text = "policy,load,class,asks,attempts";
  for (const char* outcome : kOutcomes) text += fmt::format(",{}", outcome);
  for (size_t i = 0; i < static_cast<size_t>(daemon::RefusalReason::kCount); ++i) {
    text += fmt::format(",refused_{}", daemon::refusal_reason_name(static_cast<daemon::RefusalReason>(i)));
  }
  text += ",ttft_p50_s,ttft_p95_s,ttft_p99_s,itl_p50_s,itl_p99_s,work_s,good_work_s,good_work_per_s\n";
  const auto out = std::back_inserter(text);
  for (auto& point : points) {
    for (size_t i = 0; i < kClasses; ++i) {
      auto& row = point.tally.classes[i];
      fmt::format_to(out, "{},{},{},{},{}", point.policy, point.load, class_name(i), row.asks, row.attempts);
      for (const uint64_t count : row.outcomes) fmt::format_to(out, ",{}", count);
      for (size_t r = 0; r < static_cast<size_t>(daemon::RefusalReason::kCount); ++r) {
        fmt::format_to(out, ",{}", row.reasons[r]);
      }
      fmt::format_to(
          out, ",{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.3f},{:.3f},{:.5f}\n", quantile(row.ttft_seconds, 0.5),
          quantile(row.ttft_seconds, 0.95), quantile(row.ttft_seconds, 0.99), quantile(row.pace_seconds, 0.5),
          quantile(row.pace_seconds, 0.99), row.work, row.good_work, row.good_work / point.tally.seconds);
    }
  }
  return text;
}

std::vector<NamedChart> charts_of(std::vector<SweepPoint>& points) {
  using Value = std::function<double(Tally&)>;
  const auto chart = [&](const char* file, const char* title, const char* y_label, bool log_y,
                         const Value& value) {
    NamedChart named{file, {title, "load, as multiples of the capacity", y_label, log_y, {}}};
    for (auto& point : points) {
      auto& list = named.chart.series;
      if (list.empty() || list.back().name != point.policy) list.push_back({point.policy, {}});
      list.back().points.emplace_back(point.load, value(point.tally));
    }
    return named;
  };
  return {
      chart("goodput", "Goodput", "work of full answers in time, device seconds a second", false,
            [](Tally& tally) { return tally.goodput(); }),
      chart("vip_success", "VIP: full answers in time", "part of all", false,
            [](Tally& tally) { return tally.classes[0].success(); }),
      chart("vip_ttft_p99", "VIP: time to the first token, p99", "seconds", true,
            [](Tally& tally) { return quantile(tally.classes[0].ttft_seconds, 0.99); }),
      chart("normal_ttft_p99", "Normal: time to the first token of what is answered, p99", "seconds", true,
            [](Tally& tally) { return quantile(tally.classes[1].ttft_seconds, 0.99); }),
      chart("wasted", "Work spent on what then missed", "part of all work", false,
            [](Tally& tally) { return tally.wasted(); }),
  };
}

}  // namespace deepserve::sim
