#include "runner/bench/bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "ipc/base/clock.h"
#include "runner/bench/report.h"
#include "runner/device_kind.h"
#include "runner/engine_options.h"
#include "runner/forked_ranks.h"
#include "runner/lane/process_share.h"
#include "runner/model/loaded_model.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kCountMax = 1u << 16;

struct Arguments {
  std::string model;
  uint32_t threads = 0;  // 0: what the usable cores leave each rank
  uint32_t ranks = 1;
  std::string kind = "cpu";
  bool deterministic = false;  // prefill is timed that way too
  bool allow_jit = false;
  std::string isa;
  uint64_t kv_bytes = 512ull << 20;
  kernels::KvType kv_type = kernels::KvType::kF16;
  uint32_t prompt_tokens = 512;
  std::vector<uint32_t> batches = {1, 2, 4, 8, 16, 32};
  uint32_t context_tokens = 64;
  uint32_t steps = 16;
  uint32_t repeats = 5;
  bool json = false;
};

Result<Measurement> measure_prefill(const Arguments& arguments, StepTimer& timer) {
  Measurement measurement{.what = "prefill", .sequences = 1, .tokens = arguments.prompt_tokens};
  measurement.shapes = {prefill_shape(arguments.prompt_tokens)};
  TRY_ASSIGN(measurement.durations, timer.prefill(arguments.prompt_tokens, arguments.repeats));
  return measurement;
}

Result<Measurement> measure_decode(const Arguments& arguments, uint32_t batch, StepTimer& timer) {
  Measurement measurement{.what = "decode", .sequences = batch, .tokens = uint64_t{batch} * arguments.steps};
  for (uint32_t step = 0; step < arguments.steps; ++step) {
    measurement.shapes.push_back(decode_shape(batch, arguments.context_tokens + step));
  }
  TRY_ASSIGN(measurement.durations,
             timer.decode(batch, arguments.context_tokens, arguments.steps, arguments.repeats));
  return measurement;
}

// Of a rank's even part of what all of them have together.
Result<MachineLimits> measure_share(const Arguments& arguments, const BackendInfo& backend) {
  const uint64_t step_bytes = backend.work.bytes(decode_shape(1, arguments.context_tokens));
  TRY_ASSIGN(auto limits,
             measure_limits(backend.isa, arguments.threads * arguments.ranks, step_bytes * arguments.ranks));
  limits.divide_by(arguments.ranks);
  return limits;
}

// A GPU's kernels are held against a copy's bandwidth, and against one product's rate whatever the weights
// are stored as.
Result<MachineLimits> measure_device(const DeviceKind& device, std::string_view isa) {
  TRY_ASSIGN(const DeviceLimits measured, device.measure_limits());
  MachineLimits limits;
  limits.threads = 1;
  limits.buffer_bytes = measured.buffer_bytes;
  limits.read_bytes_per_second = measured.copy_bytes_per_second;
  if (measured.matmul_operations_per_second == 0)
    return fail(Code::kNotSupported, "no cuBLASLt on this host to measure its rate of products with");
  const std::string instruction = fmt::format("{} products", isa);
  for (const auto arithmetic :
       {kernels::Arithmetic::kFloat32, kernels::Arithmetic::kBFloat16, kernels::Arithmetic::kInt8}) {
    limits.peaks.push_back({arithmetic, instruction, measured.matmul_operations_per_second});
  }
  return limits;
}

Result<std::vector<Measurement>> measure_steps(const Arguments& arguments, Backend& backend) {
  std::vector<Measurement> measurements;
  StepTimer timer(backend);
  if (arguments.prompt_tokens != 0) {
    TRY_ASSIGN(auto measurement, measure_prefill(arguments, timer));
    measurements.push_back(std::move(measurement));
  }
  for (const uint32_t batch : arguments.batches) {
    if (batch == 0) continue;
    TRY_ASSIGN(auto measurement, measure_decode(arguments, batch, timer));
    measurements.push_back(std::move(measurement));
  }
  return measurements;
}

// Prefill without what a library chooses by the shape. The model is loaded for it once more, once the other
// one is gone.
Result<Measurement> measure_deterministic(const Arguments& arguments, BackendOptions options) {
  options.deterministic = true;
  TRY_ASSIGN(const LoadedModel model, load_model(arguments.model, options));
  StepTimer timer(*model.backend);
  TRY_ASSIGN(auto measurement, measure_prefill(arguments, timer));
  measurement.what = kDeterministicPrefill;
  return measurement;
}

BackendOptions options_of(const Arguments& arguments, const DeviceKind& device) {
  BackendOptions options;
  options.kv_bytes = arguments.kv_bytes;
  options.kv_type = arguments.kv_type;
  options.threads = arguments.threads;
  options.isa = arguments.isa;
  options.allow_jit = arguments.allow_jit;
  options.make = device.make;
  options.batch_tokens_max = std::max(arguments.prompt_tokens, std::ranges::max(arguments.batches));
  return options;
}

Result<BenchReport> measure(const Arguments& arguments, const DeviceKind& device) {
  const uint64_t begin_ns = monotonic_ns();
  BackendOptions options = options_of(arguments, device);
  TRY_ASSIGN(const auto ranks, ForkedRanks::start(arguments.ranks, arguments.model, device, options));
  options.collective = ranks->collective();
  options.nccl = ranks->nccl();
  TRY_ASSIGN(LoadedModel model, load_model(arguments.model, options));
  BenchReport report;
  report.model = arguments.model;
  report.backend = model.backend->info();
  report.context_tokens = arguments.context_tokens;
  report.load_seconds = static_cast<double>(monotonic_ns() - begin_ns) / 1e9;
  const auto measure_machine = [&]() {
    return device.measure_limits != nullptr ? measure_device(device, report.backend.isa)
                                            : measure_share(arguments, report.backend);
  };
  TRY_ASSIGN(report.limits, measure_machine());
  TRY_ASSIGN(report.measurements, measure_steps(arguments, *model.backend));
  TRY_ASSIGN(const auto limits_after, measure_machine());
  report.limits.raise_to(limits_after);
  if (arguments.deterministic && arguments.prompt_tokens != 0 && !report.backend.deterministic) {
    model.backend.reset();
    TRY_ASSIGN(auto measurement, measure_deterministic(arguments, options));
    report.measurements.push_back(std::move(measurement));
  }
  return report;
}

}  // namespace

Result<int> run_bench(std::vector<std::string> words) {
  Arguments arguments;
  CLI::App app("How fast steps of a model are, against what this host could do at best", "ds-runner bench");
  app.add_option("MODEL", arguments.model, "A GGUF file or a Hugging Face directory")->required();
  app.add_option("--prompt-tokens", arguments.prompt_tokens, "Prefill of so many; 0: none (512)")
      ->check(CLI::Range(0u, kCountMax));
  app.add_option("--batch", arguments.batches,
                 "Decode with so many sequences, separated by commas; 0: none (1,2,4,8,16,32)")
      ->delimiter(',')
      ->check(CLI::Range(0u, kCountMax));
  app.add_option("--context-tokens", arguments.context_tokens, "Before the first decoded token (64)")
      ->check(CLI::Range(0u, kCountMax));
  app.add_option("--steps", arguments.steps, "Steps of one repeat of decode (16)")
      ->check(CLI::Range(1u, kCountMax));
  app.add_option("--repeats", arguments.repeats, "Of each measurement: median, least and most are told (5)")
      ->check(CLI::Range(1u, kCountMax));
  app.add_option("--threads", arguments.threads, "Threads of each process (all usable cores together)")
      ->check(CLI::Range(1u, 1024u));
  app.add_option("--tensor-parallel", arguments.ranks,
                 "Processes to spread the model over (1); GB/s, Gop/s and limits are then those of one")
      ->check(CLI::Range(1u, ipc::kRanksMax));
  app.add_option("--kv-bytes", arguments.kv_bytes, "Memory for the KV cache (512 MiB)");
  add_kind_option(app, arguments.kind);
  app.add_flag(
      "--deterministic", arguments.deterministic,
      "On a GPU: prefill also as dsd has it unless told otherwise, of equal bits whatever the shape");
  app.add_flag("--allow-jit", arguments.allow_jit, "As of `generate`");
  add_kv_type_option(app, arguments.kv_type);
  app.add_option("--isa", arguments.isa, "As of `generate`; the best this CPU has when not given");
  app.add_flag("--json", arguments.json, "Print JSON");
  TRY(parse_words(app, "bench", std::move(words)));
  if (arguments.deterministic && arguments.ranks != 1)
    return fail(Code::kUsage, "bench: --deterministic is for one process, not with --tensor-parallel");
  if (arguments.threads == 0) arguments.threads = std::max(1u, usable_cores() / arguments.ranks);
  TRY_ASSIGN(const DeviceKind device, device_kind(arguments.kind));
  TRY_ASSIGN(const BenchReport report, measure(arguments, device));
  if (arguments.json)
    print_json(report);
  else
    print_table(report);
  return 0;
}

}  // namespace deepserve::runner
