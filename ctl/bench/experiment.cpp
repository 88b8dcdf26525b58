#include "ctl/bench/experiment.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "ctl/bench/capacity_search.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

constexpr double kSecond = static_cast<double>(kSecond_ns);

class Experiment {
 public:
  Experiment(const Settings& settings, const Endpoint& endpoint, Poller& poller, ProgressLine& progress)
      : settings_(settings), endpoint_(endpoint), poller_(poller), progress_(progress) {}

  Result<Report> run() {
    TRY(ask_once());
    report_.capacity_per_s = settings_.capacity_per_s;
    const bool needs_capacity = settings_.kind == LoadKind::kCapacity || settings_.kind == LoadKind::kLoads;
    if (needs_capacity && !report_.capacity_per_s) {
      TRY(find_capacity());
      if (*report_.capacity_per_s == 0 && !report_.was_interrupted) {
        return fail(Code::kServerOverloaded, "no rate down to {:.3f}/s keeps 99 % within the SLO",
                    report_.probes.back().rate_per_s);
      }
    }
    for (const double value : settings_.points) {
      if (report_.was_interrupted) break;
      if (!report_.points.empty()) settle();
      TRY(run_point(value));
    }
    return std::move(report_);
  }

 private:
  RunResult generate(GeneratorOptions options, Schedule& schedule, const Run& run) {
    options.shape.host = endpoint_.host();
    options.shape.prefix = endpoint_.prefix();
    options.shape.text_salt = salts_();
    Generator generator(endpoint_, poller_, std::move(options));
    RunResult result = generator.run(schedule, run, [this](const Moment& moment) { progress_.show(moment); });
    progress_.clear();
    report_.was_interrupted = report_.was_interrupted || result.was_interrupted;
    return result;
  }

  // A typical request, alone. A refusal is no obstacle: the server may be busy with others.
  Result<void> ask_once() {
    constexpr uint64_t kPatience_ns = 60 * kSecond_ns;
    Workload workload = settings_.workload;
    workload.clients = 1;
    GeneratorOptions options = settings_.generator;
    options.retries = Retries::kNone;
    options.connections_max = 1;
    ClosedSchedule schedule(settings_.mix, workload, 1, settings_.seed);
    progress_.begin("a first request", kPatience_ns);
    const RunResult result =
        generate(options, schedule, {.window = {}, .end_ns = 1, .drain_ns = kPatience_ns});
    const ClassTally all = result.tally.all();
    if (result.is_unreachable) {
      return fail(Code::kUnreachable, "server not reachable at {}: is it running?", endpoint_.name());
    }
    if (all.ended_as(End::kFailed) != 0) {
      const std::string& reason = all.failures.begin()->first;
      return fail(code_from_name(reason), "the server at {} does not take such requests: {}",
                  endpoint_.name(), reason);
    }
    if (all.ended_as(End::kUnfinished) != 0 && !result.was_interrupted) {
      return fail(Code::kUnreachable, "the server at {} has not answered for {} s", endpoint_.name(),
                  kPatience_ns / kSecond_ns);
    }
    report_.first_e2e_s = all.e2e.mean_ns() / kSecond;
    return {};
  }

  // What the server does for a few clients in a closed loop, which no queue can flatter: near its capacity,
  // so that the search starts there.
  double guess_rate_per_s() {
    constexpr double kOf_closed_loop = 0.7;
    Workload workload = settings_.workload;
    workload.clients = 16;
    GeneratorOptions options = settings_.generator;
    options.retries = Retries::kNone;
    options.connections_max = workload.clients;
    ClosedSchedule schedule(settings_.mix, workload, settings_.probe_ns, settings_.seed);
    progress_.begin("capacity: a first guess", settings_.probe_ns);
    const RunResult result = generate(
        options, schedule,
        {.window = {0, settings_.probe_ns}, .end_ns = settings_.probe_ns, .drain_ns = settings_.drain_ns});
    const ClassTally all = result.tally.all();
    const uint64_t answered = all.ended_as(End::kFull) + all.ended_as(End::kDegraded);
    if (answered != 0) return kOf_closed_loop * static_cast<double>(answered) / result.length_s;
    return report_.first_e2e_s > 0 ? 1 / report_.first_e2e_s : 1;
  }

  Result<void> find_capacity() {
    CapacitySearch search(guess_rate_per_s());
    while (const auto rate_per_s = search.next_rate_per_s()) {
      if (report_.was_interrupted) break;
      settle();
      TRY_ASSIGN(const Probe probe, run_probe(*rate_per_s));
      if (report_.was_interrupted) break;
      report_.probes.push_back(probe);
      search.tell(probe.is_sustained);
    }
    report_.capacity_per_s = search.capacity_per_s();
    return {};
  }

  // Short at high rates, and long enough for some samples at low ones.
  Result<Probe> run_probe(double rate_per_s) {
    constexpr double kSamples_min = 40;
    constexpr uint64_t kProbe_max_ns = 60 * kSecond_ns;
    constexpr uint64_t kProbe_warmup_max_ns = 2 * kSecond_ns;
    const auto for_samples_ns = static_cast<uint64_t>(kSamples_min / rate_per_s * kSecond);
    const uint64_t length_ns = std::max(settings_.probe_ns, std::min(for_samples_ns, kProbe_max_ns));
    const uint64_t warmup_ns = std::min(settings_.warmup_ns, kProbe_warmup_max_ns);
    const uint64_t end_ns = warmup_ns + length_ns;
    GeneratorOptions options = settings_.generator;
    options.retries = Retries::kNone;
    TRY_ASSIGN(const auto rates, settings_.mix.rates_per_s(rate_per_s, 1));
    RateSchedule schedule(rates, settings_.gap_cv, settings_.workload, end_ns, settings_.seed);
    const double expected = rate_per_s * static_cast<double>(length_ns) / kSecond;
    // More misses than this cannot be made up for, even when more requests come than expected.
    const auto missed_max = static_cast<uint64_t>(0.01 * 2 * expected) + 1;
    progress_.begin(fmt::format("capacity: {:.2f}/s", rate_per_s), end_ns);
    const RunResult result = generate(options, schedule,
                                      {.window = {warmup_ns, end_ns},
                                       .end_ns = end_ns,
                                       .drain_ns = settings_.drain_ns,
                                       .missed_max = missed_max});
    if (result.is_unreachable) return fail(Code::kUnreachable, "the server at {} has gone", endpoint_.name());
    const ClassTally all = result.tally.all();
    Probe probe{.rate_per_s = rate_per_s};
    if (all.arrived != 0)
      probe.within_slo = static_cast<double>(all.within_slo) / static_cast<double>(all.arrived);
    probe.is_sustained = !result.was_cut_short && is_sustained(result.tally);
    return probe;
  }

  Result<void> run_point(double value) {
    GeneratorOptions options = settings_.generator;
    Workload workload = settings_.workload;
    const uint64_t warmup_ns = settings_.warmup_ns;
    uint64_t end_ns = warmup_ns + settings_.duration_ns.value_or(0);
    Run run{.window = {warmup_ns, end_ns}, .end_ns = end_ns, .drain_ns = settings_.drain_ns};
    Point point{.value = value, .result = {Tally(settings_.slo(), {})}};
    std::unique_ptr<Schedule> schedule;
    std::string what;
    if (settings_.kind == LoadKind::kTrace) {
      if (!settings_.duration_ns) {
        end_ns = settings_.trace.back().at_ns + 1;
        run = {.window = {}, .end_ns = end_ns + settings_.drain_ns, .drain_ns = settings_.drain_ns};
      }
      schedule = std::make_unique<TraceSchedule>(settings_.trace, workload.clients, end_ns, settings_.seed);
      point.offered_per_s =
          static_cast<double>(settings_.trace.size()) * kSecond / static_cast<double>(end_ns);
      what = "trace";
    } else if (settings_.kind == LoadKind::kConcurrent) {
      workload.clients = static_cast<uint32_t>(value);
      options.connections_max = workload.clients;
      schedule = std::make_unique<ClosedSchedule>(settings_.mix, workload, end_ns, settings_.seed);
      what = fmt::format("{} clients", value);
    } else {
      const bool is_load = settings_.kind == LoadKind::kLoads;
      const double unit_per_s = is_load ? *report_.capacity_per_s : value;
      TRY_ASSIGN(const auto rates, settings_.mix.rates_per_s(unit_per_s, is_load ? value : 1));
      schedule = std::make_unique<RateSchedule>(rates, settings_.gap_cv, workload, end_ns, settings_.seed);
      for (const double rate : rates) point.offered_per_s += rate;
      what = is_load ? fmt::format("load {}x", value) : fmt::format("{}/s", value);
    }
    progress_.begin(std::move(what), run.end_ns);
    point.result = generate(options, *schedule, run);
    if (point.result.is_unreachable) {
      if (report_.points.empty()) return gone();
      complain(gone().value().message);
      report_.was_interrupted = true;
      return {};
    }
    const double window_s = point.result.tally.window_s();
    if (window_s > 0) point.arrived_per_s = static_cast<double>(point.result.tally.all().arrived) / window_s;
    report_.points.push_back(std::move(point));
    return {};
  }

  tl::unexpected<Error> gone() const {
    return fail(Code::kUnreachable, "the server at {} has gone", endpoint_.name());
  }

  // What a run leaves behind in the server (its hung-up requests) is to be over before the next one starts.
  void settle() {
    constexpr uint64_t kSettle_ns = 500 * kMillisecond_ns;
    const uint64_t until_ns = monotonic_ns() + kSettle_ns;
    while (monotonic_ns() < until_ns && !poller_.interrupted()) poller_.wait(until_ns);
    report_.was_interrupted = report_.was_interrupted || poller_.interrupted();
  }

  // New texts in each run: a server that keeps prefixes would answer repeated ones from its cache.
  std::mt19937_64 salts_{std::random_device{}()};
  const Settings& settings_;
  const Endpoint& endpoint_;
  Poller& poller_;
  ProgressLine& progress_;
  Report report_;
};

}  // namespace

Result<Report> run_experiment(const Settings& settings, const Endpoint& endpoint, Poller& poller,
                              ProgressLine& progress) {
  return Experiment(settings, endpoint, poller, progress).run();
}

}  // namespace deepserve::ctl::bench
