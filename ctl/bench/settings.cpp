#include "ctl/bench/settings.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "ctl/bench/number_text.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

constexpr uint64_t kConnections_max = 10'000;
constexpr uint64_t kClients_max = 1'000'000;
constexpr double kRate_max_per_s = 100'000;
constexpr std::string_view kKinds = "--rate, --loads, --concurrent, --trace or --find-capacity";

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file.good() && !file.eof()) return fail(Code::kIo, "{} cannot be read", path);
  if (!file.is_open()) return fail(Code::kIo, "{} cannot be opened", path);
  return text;
}

Result<void> check_trace(const BenchOptions& options, Settings& settings) {
  if (options.mix != BenchOptions().mix || !options.fixed.empty())
    return fail(Code::kUsage, "--trace names each request's class: --mix and --fixed have no place");
  TRY_ASSIGN(const std::string text, read_file(options.trace));
  TRY_ASSIGN(settings.trace, parse_trace(options.trace, text));
  settings.points = {0};
  return {};
}

Result<void> check_concurrent(const BenchOptions& options, Settings& settings) {
  if (options.clients != BenchOptions().clients)
    return fail(Code::kUsage, "--concurrent says how many clients there are: --clients has no place");
  for (const double point : settings.points) {
    if (point == std::floor(point) && point <= kConnections_max) continue;
    return fail(Code::kUsage, "--concurrent: {} is no integer up to {}", point, kConnections_max);
  }
  return {};
}

Result<void> check_kind(const BenchOptions& options, Settings& settings) {
  const int asked = static_cast<int>(!options.rate.empty()) + static_cast<int>(!options.loads.empty()) +
                    static_cast<int>(!options.concurrent.empty()) + static_cast<int>(!options.trace.empty());
  if (asked > 1) return fail(Code::kUsage, "only one of {}", kKinds);
  if (asked == 0 && !options.find_capacity) return fail(Code::kUsage, "which load? One of {}", kKinds);
  if (options.find_capacity && !options.capacity.empty())
    return fail(Code::kUsage, "--capacity and --find-capacity: is it known or not?");
  if (!options.capacity.empty()) {
    if (options.loads.empty()) return fail(Code::kUsage, "--capacity is what --loads are multiples of");
    TRY_ASSIGN(settings.capacity_per_s, positive_number("--capacity", options.capacity));
  }
  if (!options.trace.empty()) {
    settings.kind = LoadKind::kTrace;
    return check_trace(options, settings);
  }
  if (!options.concurrent.empty()) {
    settings.kind = LoadKind::kConcurrent;
    TRY_ASSIGN(settings.points, positive_numbers("--concurrent", options.concurrent));
    return check_concurrent(options, settings);
  }
  if (!options.loads.empty()) {
    settings.kind = LoadKind::kLoads;
    TRY_ASSIGN(settings.points, positive_numbers("--loads", options.loads));
    for (const double load : settings.points) TRY(settings.mix.rates_per_s(1, load));
    return {};
  }
  if (!options.fixed.empty()) return fail(Code::kUsage, "--fixed holds a share of a capacity: use --loads");
  settings.kind = options.rate.empty() ? LoadKind::kCapacity : LoadKind::kRates;
  if (options.rate.empty()) return {};
  if (options.find_capacity) return fail(Code::kUsage, "--find-capacity goes with --loads, not with --rate");
  TRY_ASSIGN(settings.points, positive_numbers("--rate", options.rate));
  for (const double rate : settings.points) {
    if (rate > kRate_max_per_s)
      return fail(Code::kUsage, "--rate: {}/s is more than {}/s", rate, kRate_max_per_s);
  }
  return {};
}

Result<void> check_times(const BenchOptions& options, Settings& settings) {
  constexpr uint64_t kDefault_duration_ns = 30 * kSecond_ns;
  if (!options.duration.empty()) {
    TRY_ASSIGN(settings.duration_ns, duration_ns("--duration", options.duration));
  } else if (settings.kind != LoadKind::kTrace) {
    settings.duration_ns = kDefault_duration_ns;
  }
  if (options.warmup != "0") {
    TRY_ASSIGN(settings.warmup_ns, duration_ns("--warmup", options.warmup));
  }
  if (settings.kind == LoadKind::kTrace) settings.warmup_ns = 0;
  TRY_ASSIGN(settings.drain_ns, duration_ns("--drain", options.drain));
  TRY_ASSIGN(settings.probe_ns, duration_ns("--probe", options.probe));
  TRY_ASSIGN(settings.generator.unsent_after_ns, duration_ns("--unsent-after", options.unsent_after));
  return {};
}

// Our own limit of descriptors is raised as far as it goes.
Result<void> check_connections(uint64_t wanted) {
  constexpr uint64_t kOthers = 64;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno("getrlimit");
  if (limit.rlim_cur < wanted + kOthers) {
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, wanted + kOthers);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno("setrlimit");
  }
  if (limit.rlim_cur >= wanted + kOthers) return {};
  return fail(Code::kUsage, "{} connections need a limit of {} open files (ulimit -n), it is {}", wanted,
              wanted + kOthers, limit.rlim_cur);
}

Result<void> check_generator(const BenchOptions& options, Settings& settings) {
  GeneratorOptions& generator = settings.generator;
  RequestShape& shape = generator.shape;
  shape.model = options.model;
  shape.is_chat = options.chat;
  shape.may_stop = options.may_stop;
  shape.names_clients = options.as_proxy;
  if (!options.keys.empty()) {
    TRY_ASSIGN(const std::string text, read_file(options.keys));
    TRY_ASSIGN(shape.keys, parse_keys(options.keys, text));
  }
  TRY_ASSIGN(const uint64_t clients, integer_between("--clients", options.clients, 1, kClients_max));
  shape.clients = settings.workload.clients = static_cast<uint32_t>(clients);
  TRY_ASSIGN(uint64_t connections,
             integer_between("--connections", options.connections, 1, kConnections_max));
  if (settings.kind == LoadKind::kConcurrent) {
    connections = 1;
    for (const double point : settings.points)
      connections = std::max(connections, static_cast<uint64_t>(point));
    shape.clients = static_cast<uint32_t>(connections);
  }
  if (!options.weights.empty()) {
    TRY_ASSIGN(generator.client_weights, positive_numbers("--weights", options.weights));
  }
  TRY(check_connections(connections));
  generator.connections_max = static_cast<uint32_t>(connections);
  TRY_ASSIGN(generator.retries, retries_named(options.retries));
  TRY_ASSIGN(const uint64_t tries, integer_between("--tries", options.tries, 1, 1000));
  generator.tries_max = static_cast<unsigned>(tries);
  return {};
}

}  // namespace

Result<Settings> check_options(const BenchOptions& options) {
  Settings settings;
  TRY_ASSIGN(settings.mix, ClassMix::parse(options.mix, options.fixed));
  TRY(check_kind(options, settings));
  TRY_ASSIGN(settings.gap_cv, positive_number("--burstiness", options.burstiness));
  constexpr double kCv_max = 20;
  if (settings.gap_cv > kCv_max) return fail(Code::kUsage, "--burstiness: more than {}", kCv_max);
  TRY_ASSIGN(settings.workload.prompt, Lengths::parse("--prompt-tokens", options.prompt_tokens));
  TRY_ASSIGN(settings.workload.output, Lengths::parse("--output-tokens", options.output_tokens));
  TRY_ASSIGN(settings.generator.shape.slo, Slo::parse(options.ttft, options.itl));
  TRY(check_times(options, settings));
  TRY(check_generator(options, settings));
  TRY_ASSIGN(settings.seed, integer_between("--seed", options.seed, 0, UINT64_MAX));
  return settings;
}

}  // namespace deepserve::ctl::bench
