#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "ctl/bench/bars.h"
#include "ctl/bench/report_text.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

namespace json = boost::json;

double milliseconds(uint64_t duration_ns) {
  return static_cast<double>(duration_ns) / static_cast<double>(kMillisecond_ns);
}

double part(uint64_t some, uint64_t all) {
  return all == 0 ? 0 : static_cast<double>(some) / static_cast<double>(all);
}

json::object summary(const Histogram& histogram) {
  return {{"count", histogram.count()},
          {"mean", histogram.mean_ns() / static_cast<double>(kMillisecond_ns)},
          {"p50", milliseconds(histogram.percentile_ns(0.50))},
          {"p90", milliseconds(histogram.percentile_ns(0.90))},
          {"p95", milliseconds(histogram.percentile_ns(0.95))},
          {"p99", milliseconds(histogram.percentile_ns(0.99))},
          {"max", milliseconds(histogram.max_ns())}};
}

json::object counts(const std::map<std::string, uint64_t>& rows) {
  json::object object;
  for (const auto& [name, count] : rows) object[name] = count;
  return object;
}

json::object tally_json(const ClassTally& row, double window_s) {
  const double per_s = window_s > 0 ? 1 / window_s : 0;
  json::object object{{"arrived", row.arrived}};
  for (size_t i = 0; i < row.ends.size(); ++i) object[end_name(static_cast<End>(i))] = row.ends[i];
  object["within_slo"] = row.within_slo;
  object["success_ratio"] = part(row.ended_as(End::kFull), row.arrived);
  object["slo_ratio"] = part(row.within_slo, row.arrived);
  object["goodput_per_s"] = static_cast<double>(row.good_in_window) * per_s;
  object["goodput_tokens_per_s"] = static_cast<double>(row.good_tokens_in_window) * per_s;
  object["prompt_tokens"] = row.prompt_tokens;
  object["completion_tokens"] = row.completion_tokens;
  object["wasted_tokens"] = row.wasted_tokens;
  object["refused_tries"] = row.refused_tries();
  object["ttft_ms"] = summary(row.ttft);
  object["itl_ms"] = summary(row.itl);
  object["tpot_ms"] = summary(row.tpot);
  object["e2e_ms"] = summary(row.e2e);
  object["wait_ms"] = summary(row.wait);
  json::array refusals;
  for (const auto& [reason, refused] : row.refusals) {
    refusals.push_back(
        {{"reason", reason}, {"count", refused.count}, {"latency_ms", summary(refused.latency)}});
  }
  object["refusals"] = std::move(refusals);
  object["degradations"] = counts(row.degradations);
  object["failures"] = counts(row.failures);
  return object;
}

json::object honesty_json(const Honesty& honesty) {
  return {{"booked", honesty.booked},
          {"ticketed", honesty.ticketed},
          {"came_back", honesty.came_back},
          {"served", honesty.served},
          {"served_ratio", part(honesty.served, honesty.came_back)},
          {"ticketed_back", honesty.ticketed_back},
          {"ticketed_served", honesty.ticketed_served},
          {"beyond_run", honesty.beyond_run},
          {"error_ms", summary(honesty.error)},
          {"ticket_error_ms", summary(honesty.ticket_error)},
          {"ticket_error_p90_of_bar", milliseconds(honesty.ticket_error_part.percentile_ns(0.90)) / 1000}};
}

json::object point_json(const Settings& settings, const Point& point) {
  const Tally& tally = point.result.tally;
  const double window_s = tally.window_s();
  json::object classes;
  for (size_t i = 0; i < kClass_count; ++i) {
    const auto service_class = static_cast<ServiceClass>(i);
    if (tally.of(service_class).arrived == 0) continue;
    auto& object = classes[class_name(service_class)] = tally_json(tally.of(service_class), window_s);
    const Fairness fairness = tally.fairness(service_class);
    object.as_object()["fairness"] = {{"backlogged_clients", fairness.clients},
                                      {"answers_each", fairness.answers_each},
                                      {"jain_index", fairness.plain},
                                      {"jain_index_by_weight", fairness.weighted}};
  }
  json::array seconds;
  for (const Second& second : tally.seconds())
    seconds.push_back(json::array{second.arrived, second.good, second.refused_tries});
  return {{"name", point_name(settings, point)},
          {"value", point.value},
          {"offered_per_s", point.offered_per_s},
          {"arrived_per_s", point.arrived_per_s},
          {"window_s", window_s},
          {"length_s", point.result.length_s},
          {"interrupted", point.result.was_interrupted},
          {"goodput_per_s", tally.goodput_per_s()},
          {"all", tally_json(tally.all(), window_s)},
          {"classes", std::move(classes)},
          {"clients", tally.clients()},
          {"jain_index", tally.jain_index()},
          {"seconds_arrived_good_refused", std::move(seconds)},
          {"retry_after", honesty_json(tally.honesty())},
          {"generator",
           {{"lateness_ms", summary(tally.lateness())},
            {"waited_for_connection", tally.waited_for_connection()},
            {"cpu_s", point.result.cpu_s},
            {"is_bottleneck", tally.lateness().percentile_ns(0.99) > kLate_ns}}}};
}

}  // namespace

std::string report_json(const Settings& settings, const Endpoint& endpoint, const Report& report) {
  json::object slo{{"itl_ms", milliseconds(settings.slo().itl_ns)}};
  for (size_t i = 0; i < kClass_count; ++i) {
    slo[fmt::format("{}_ttft_ms", class_name(static_cast<ServiceClass>(i)))] =
        milliseconds(settings.slo().ttft_ns[i]);
  }
  json::array probes;
  for (const Probe& probe : report.probes) {
    probes.push_back({{"rate_per_s", probe.rate_per_s},
                      {"slo_ratio", probe.within_slo},
                      {"sustained", probe.is_sustained}});
  }
  json::array points;
  for (const Point& point : report.points) points.push_back(point_json(settings, point));
  json::array bars;
  for (const Bar& bar : bars_of(settings, report)) {
    bars.push_back({{"point", bar.point},
                    {"what", bar.what},
                    {"value", bar.value},
                    {bar.is_least ? "at_least" : "at_most", bar.bound},
                    {"passes", bar.passes()}});
  }
  json::object document{{"server", endpoint.name()},
                        {"seed", settings.seed},
                        {"slo", std::move(slo)},
                        {"first_e2e_ms", report.first_e2e_s * 1000},
                        {"interrupted", report.was_interrupted},
                        {"probes", std::move(probes)},
                        {"points", std::move(points)},
                        {"bars", std::move(bars)}};
  if (report.capacity_per_s) document["capacity_per_s"] = *report.capacity_per_s;
  return json::serialize(document);
}

}  // namespace deepserve::ctl::bench
