#include <algorithm>

#include "ctl/bench/bars.h"
#include "ctl/bench/report_text.h"
#include "ctl/table.h"
#include "ctl/units.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

// Milliseconds with three digits that say something.
std::string shown_ms(uint64_t duration_ns) {
  const double ms = static_cast<double>(duration_ns) / static_cast<double>(kMillisecond_ns);
  return ms >= 100  ? fmt::format("{:.0f}", ms)
         : ms >= 10 ? fmt::format("{:.1f}", ms)
                    : fmt::format("{:.2f}", ms);
}

std::string three_percentiles(const Histogram& histogram) {
  if (histogram.count() == 0) return "-";
  return fmt::format("{} / {} / {}", shown_ms(histogram.percentile_ns(0.50)),
                     shown_ms(histogram.percentile_ns(0.95)), shown_ms(histogram.percentile_ns(0.99)));
}

std::string percent(uint64_t some, uint64_t all) {
  if (all == 0) return "-";
  return fmt::format("{:.1f}%", 100.0 * static_cast<double>(some) / static_cast<double>(all));
}

// Of classes with traffic, and of all where there are several.
std::vector<std::pair<std::string, ClassTally>> rows_of(const Tally& tally) {
  std::vector<std::pair<std::string, ClassTally>> rows;
  for (size_t i = 0; i < kClass_count; ++i) {
    const auto service_class = static_cast<ServiceClass>(i);
    if (tally.of(service_class).arrived != 0)
      rows.emplace_back(class_name(service_class), tally.of(service_class));
  }
  if (rows.size() != 1) rows.emplace_back("all", tally.all());
  return rows;
}

std::string ends_table(const Tally& tally, const Terminal& terminal) {
  Table table({{"CLASS"},
               {"ARRIVED", Align::kRight},
               {"FULL", Align::kRight},
               {"DEGRADED", Align::kRight},
               {"REFUSED", Align::kRight},
               {"FAILED", Align::kRight},
               {"UNSENT", Align::kRight},
               {"UNFINISHED", Align::kRight},
               {"IN SLO", Align::kRight},
               {"GOODPUT/s", Align::kRight},
               {"TOKENS/s", Align::kRight}});
  const double window_s = std::max(tally.window_s(), 1e-9);
  for (const auto& [name, row] : rows_of(tally)) {
    std::vector<Cell> cells = {{name, Style::kBold}, {human_count(row.arrived)}};
    for (const uint64_t count : row.ends) cells.push_back({count == 0 ? "-" : human_count(count)});
    cells.push_back({percent(row.within_slo, row.arrived)});
    cells.push_back({fmt::format("{:.2f}", static_cast<double>(row.good_in_window) / window_s)});
    cells.push_back({fmt::format("{:.0f}", static_cast<double>(row.good_tokens_in_window) / window_s)});
    table.add_row(std::move(cells));
  }
  return table.render(terminal);
}

std::string latency_table(const Tally& tally, const Terminal& terminal) {
  Table table({{"p50 / p95 / p99 in ms"},
               {"TTFT", Align::kRight},
               {"ITL", Align::kRight},
               {"E2E", Align::kRight},
               {"FIRST TRY TO FIRST TOKEN", Align::kRight}});
  for (const auto& [name, row] : rows_of(tally)) {
    table.add_row({{name, Style::kBold},
                   {three_percentiles(row.ttft)},
                   {three_percentiles(row.itl)},
                   {three_percentiles(row.e2e)},
                   {three_percentiles(row.wait)}});
  }
  return table.render(terminal);
}

std::string refusals_table(const Tally& tally, const Terminal& terminal) {
  Table table({{"REFUSED"},
               {"REASON"},
               {"TIMES", Align::kRight},
               {"LATENCY p50", Align::kRight},
               {"p99 ms", Align::kRight}});
  bool has_rows = false;
  for (const auto& [name, row] : rows_of(tally)) {
    for (const auto& [reason, refused] : row.refusals) {
      has_rows = true;
      table.add_row({{name, Style::kBold},
                     {reason},
                     {human_count(refused.count)},
                     {shown_ms(refused.latency.percentile_ns(0.50))},
                     {shown_ms(refused.latency.percentile_ns(0.99))}});
    }
  }
  return has_rows ? table.render(terminal) : "";
}

std::string names_and_counts(const std::map<std::string, uint64_t>& rows) {
  std::string text;
  for (const auto& [name, count] : rows)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", visible_line(name), human_count(count));
  return text;
}

std::string honesty_lines(const Honesty& honesty) {
  if (honesty.booked == 0) return "";
  std::string text = fmt::format("Retry-After: {} refusals named an instant, {} with a ticket",
                                 human_count(honesty.booked), human_count(honesty.ticketed));
  if (honesty.beyond_run != 0)
    text += fmt::format("; {} after the end of the run", human_count(honesty.beyond_run));
  text += '\n';
  if (honesty.came_back == 0) return text;
  text += fmt::format("  first on-time retry served {} of {} ({})", human_count(honesty.served),
                      human_count(honesty.came_back), percent(honesty.served, honesty.came_back));
  if (honesty.ticketed_back != 0) {
    text += fmt::format(", with a ticket {} of {} ({})", human_count(honesty.ticketed_served),
                        human_count(honesty.ticketed_back),
                        percent(honesty.ticketed_served, honesty.ticketed_back));
  }
  if (honesty.error.count() != 0) {
    text +=
        fmt::format("; taken after the booked instant: p50 {} ms, p90 {} ms, p99 {} ms",
                    shown_ms(honesty.error.percentile_ns(0.50)), shown_ms(honesty.error.percentile_ns(0.90)),
                    shown_ms(honesty.error.percentile_ns(0.99)));
  }
  text += '\n';
  if (honesty.ticket_error.count() == 0) return text;
  return text + fmt::format(
                    "  with a ticket, from its instant to the first token: p50 {} ms, p90 {} ms, p99 {} ms\n",
                    shown_ms(honesty.ticket_error.percentile_ns(0.50)),
                    shown_ms(honesty.ticket_error.percentile_ns(0.90)),
                    shown_ms(honesty.ticket_error.percentile_ns(0.99)));
}

std::string generator_lines(const RunResult& result) {
  const Tally& tally = result.tally;
  const uint64_t late_ns = tally.lateness().percentile_ns(0.99);
  std::string text = fmt::format("sent late by p50 {} ms, p99 {} ms; this program used {:.1f} % of a core\n",
                                 shown_ms(tally.lateness().percentile_ns(0.50)), shown_ms(late_ns),
                                 100 * result.cpu_s / std::max(result.length_s, 1e-9));
  if (late_ns <= kLate_ns) return text;
  text += "warning: sends were late by more than 5 ms: ";
  if (tally.waited_for_connection() != 0) {
    text += fmt::format("{} found no free connection (--connections)\n",
                        human_count(tally.waited_for_connection()));
  } else {
    text += "the generator itself was the bottleneck\n";
  }
  return text;
}

std::string point_text(const Settings& settings, const Point& point, const Terminal& terminal) {
  const Tally& tally = point.result.tally;
  std::string heading = point_name(settings, point);
  if (point.offered_per_s > 0 && settings.kind != LoadKind::kRates)
    heading += fmt::format(" = {:.2f}/s", point.offered_per_s);
  heading += fmt::format(", {:.1f} s: {:.2f} good answers/s", tally.window_s(), tally.goodput_per_s());
  std::string text = styled(terminal, Style::kBold, heading);
  text += '\n' + ends_table(tally, terminal) + latency_table(tally, terminal);
  text += refusals_table(tally, terminal);
  const ClassTally all = tally.all();
  if (!all.failures.empty()) text += fmt::format("failed: {}\n", names_and_counts(all.failures));
  if (!all.degradations.empty()) text += fmt::format("degraded: {}\n", names_and_counts(all.degradations));
  if (tally.clients() > 1) {
    text += fmt::format("Jain's index of {} clients' tokens: {:.3f}\n", human_count(tally.clients()),
                        tally.jain_index());
  }
  return text + honesty_lines(tally.honesty()) + generator_lines(point.result) + "\n";
}

std::string points_table(const Settings& settings, const Report& report, const Terminal& terminal) {
  Table table({{"POINT"},
               {"ARRIVED/s", Align::kRight},
               {"GOODPUT/s", Align::kRight},
               {"OF THE FIRST", Align::kRight},
               {"VIP IN SLO", Align::kRight},
               {"VIP p99 TTFT ms", Align::kRight},
               {"REFUSED TRIES: VIP", Align::kRight},
               {"NORMAL", Align::kRight},
               {"BATCH", Align::kRight}});
  const double first = report.points.front().result.tally.goodput_per_s();
  for (const Point& point : report.points) {
    const Tally& tally = point.result.tally;
    const ClassTally& vip = tally.of(ServiceClass::kVip);
    const auto refused_tries = [&](ServiceClass service_class) {
      return Cell{human_count(tally.of(service_class).refused_tries())};
    };
    table.add_row({{point_name(settings, point), Style::kBold},
                   {fmt::format("{:.2f}", point.arrived_per_s)},
                   {fmt::format("{:.2f}", tally.goodput_per_s())},
                   {first > 0 ? fmt::format("{:.2f}", tally.goodput_per_s() / first) : "-"},
                   {percent(vip.within_slo, vip.arrived)},
                   {vip.ttft.count() != 0 ? shown_ms(vip.ttft.percentile_ns(0.99)) : "-"},
                   refused_tries(ServiceClass::kVip),
                   refused_tries(ServiceClass::kNormal),
                   refused_tries(ServiceClass::kBatch)});
  }
  return table.render(terminal);
}

std::string bars_table(const std::vector<Bar>& bars, const Terminal& terminal) {
  if (bars.empty()) return "";
  Table table({{"POINT"}, {"HELD TO A BAR"}, {"VALUE", Align::kRight}, {"BAR", Align::kRight}, {""}});
  for (const Bar& bar : bars) {
    table.add_row({{bar.point, Style::kBold},
                   {bar.what},
                   {fmt::format("{:.3f}", bar.value)},
                   {fmt::format("{} {:.3f}", bar.is_least ? ">=" : "<=", bar.bound)},
                   bar.passes() ? Cell{"PASS", Style::kGreen} : Cell{"FAIL", Style::kRed}});
  }
  return table.render(terminal);
}

std::string slo_line(const Slo& slo) {
  std::string text = "SLO: TTFT";
  for (size_t i = 0; i < kClass_count; ++i) {
    text += fmt::format("{} {} {} ms", i == 0 ? "" : ",", class_name(static_cast<ServiceClass>(i)),
                        shown_ms(slo.ttft_ns[i]));
  }
  return text + fmt::format("; mean ITL of an answer {} ms, of batch any\n", shown_ms(slo.itl_ns));
}

}  // namespace

std::string point_name(const Settings& settings, const Point& point) {
  switch (settings.kind) {
    case LoadKind::kLoads:
      return fmt::format("{}x", point.value);
    case LoadKind::kConcurrent:
      return fmt::format("{} clients", point.value);
    case LoadKind::kTrace:
      return "trace";
    default:
      return fmt::format("{}/s", point.value);
  }
}

std::string report_tables(const Settings& settings, const Endpoint& endpoint, const Report& report,
                          const Terminal& terminal) {
  std::string text = fmt::format("server {}\n", visible_line(endpoint.name()));
  text += slo_line(settings.slo());
  for (const Probe& probe : report.probes) {
    text += fmt::format("probe {:.2f}/s: {:.1f} % within the SLO{}\n", probe.rate_per_s,
                        100 * probe.within_slo, probe.is_sustained ? "" : ", not sustained");
  }
  if (report.capacity_per_s) text += fmt::format("capacity {:.2f}/s\n", *report.capacity_per_s);
  text += '\n';
  for (const Point& point : report.points) text += point_text(settings, point, terminal);
  if (report.points.size() > 1) text += points_table(settings, report, terminal);
  text += bars_table(bars_of(settings, report), terminal);
  if (report.was_interrupted) text += "interrupted: the last figures are of a shorter time\n";
  return text;
}

}  // namespace deepserve::ctl::bench
