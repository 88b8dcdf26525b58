// gpu_bench floors|load|attention|draws|steps|engine [--shape 7B|1.5B|test] [--repeats N] [--one-by-one]
// [--json]: what this GPU can do at the most, and how much of it loading, the attention of 32 sequences
// alone, draws of tokens, steps on random weights, and a whole engine reach. tests/gpu/stages.py has the
// bars.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <map>
#include <string>

#include "kernels/cuda/overlap.h"
#include "runner/backend/cuda/cuda_backend.h"
#include "runner/backend/cuda/gpu_limits.h"
#include "runner/bench/step_timer.h"
#include "tests/gpu/bench/attention_figures.h"
#include "tests/gpu/bench/draw_figures.h"
#include "tests/gpu/bench/engine_figures.h"
#include "tests/gpu/bench/figures.h"
#include "tests/gpu/bench/load_figures.h"
#include "tests/gpu/bench/random_model.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kDecodeSteps = 16;
constexpr uint32_t kThreads = 8;
constexpr uint32_t kLoads = 3;
constexpr uint32_t kEngineRuns = 3;
constexpr uint32_t kContextTokens = 64;

struct Options {
  std::string what;
  std::string shape;  // empty: 7B and 1.5B
  uint32_t prompt_tokens = 4096;
  uint32_t repeats = 9;  // of steps, attention and draws
  bool one_by_one = false;
  bool json = false;
};

double median_seconds(Durations_ns durations) {
  std::sort(durations.begin(), durations.end());
  return static_cast<double>(durations[durations.size() / 2]) / 1e9;
}

Result<std::vector<Figure>> floors(const Options&) {
  TRY(cuda::open_device({}));
  TRY_ASSIGN(const DeviceLimits limits, cuda::measure_gpu_limits());
  const double copy = limits.copy_bytes_per_second / 1e9, matmul = limits.matmul_operations_per_second / 1e12;
  return std::vector<Figure>{{"copy bandwidth", copy, "GB/s", 9, copy, copy},
                             {"matmul rate, bf16", matmul, "TFLOP/s", 9, matmul, matmul}};
}

const ModelShape& shape_of(const Options& options) {
  for (const ModelShape& shape : {std::cref(kShape1_5B), std::cref(kShapeTest)}) {
    if (options.shape == shape.name) return shape;
  }
  return kShape7B;
}

Result<std::vector<Figure>> load(const Options& options) {
  TRY(cuda::open_device({}));
  std::vector<Figure> figures;
  TRY(time_load(shape_of(options), kThreads, kLoads, figures));
  return figures;
}

// The case, one long context, and many short ones, of the shape's heads.
Result<std::vector<Figure>> attention(const Options& options) {
  TRY(cuda::open_device({}));
  TRY_ASSIGN(const DeviceLimits limits, cuda::measure_gpu_limits());
  const ModelShape& shape = shape_of(options);
  const bool is_test = shape.name == kShapeTest.name;
  std::vector<Figure> figures;
  const std::vector<AttentionCase> all{{32, 8'192}, {1, 131'072}, {256, 512}}, few{{2, 200}};
  for (const AttentionCase& one : is_test ? few : all) {
    TRY(time_attention(shape, one, limits, options.repeats, figures));
  }
  return figures;
}

Result<std::vector<Figure>> draws(const Options& options) {
  TRY(cuda::open_device({}));
  std::vector<Figure> figures;
  TRY(time_draws(options.shape == kShapeTest.name ? 2000 : 151'936, options.repeats, figures));
  return figures;
}

Result<std::vector<Figure>> engine(const Options& options) {
  TRY(cuda::open_device({}));
  const ModelShape& shape = shape_of(options);
  const bool is_test = shape.name == kShapeTest.name;
  const EngineCase whole{256, 512, 256, 2048, !options.one_by_one}, small{3, 20, 4, 64, !options.one_by_one};
  std::vector<Figure> figures;
  TRY(time_engine(shape, is_test ? small : whole, is_test ? 1 : kEngineRuns, figures));
  return figures;
}

Result<void> time_decode(const ModelShape& shape, uint32_t repeats, Backend& backend,
                         const DeviceLimits& limits, std::vector<Figure>& figures) {
  StepTimer timer(backend);
  const auto seconds_of = [&](uint32_t batch, Durations_ns& durations) -> Result<double> {
    TRY_ASSIGN(durations, timer.decode(batch, kContextTokens, kDecodeSteps, repeats));
    return median_seconds(durations) / kDecodeSteps;
  };
  Durations_ns one, many;
  TRY_ASSIGN(const double alone, seconds_of(1, one));
  TRY_ASSIGN(const double together, seconds_of(32, many));
  const double bytes =
      kDecodeSteps * static_cast<double>(backend.info().work.bytes(decode_shape(1, kContextTokens)));
  const std::string name = fmt::format("decode {} batch", shape.name);
  figures.push_back(rate(name + " 1, of copy bandwidth", one, bytes / limits.copy_bytes_per_second, "x"));
  figures.push_back(rate(name + " 1", one, kDecodeSteps, "tokens/s"));
  figures.push_back(rate(name + " 32", many, 32.0 * kDecodeSteps, "tokens/s"));
  const double ratio = together / alone;
  figures.push_back({name + " 32 / 1, step time", ratio, "x", repeats, ratio, ratio});
  figures.push_back({name + " 32 / 1, tokens/s", 32 / ratio, "x", repeats, 32 / ratio, 32 / ratio});
  return {};
}

Result<void> time_prefill(const ModelShape& shape, const Options& options, Backend& backend,
                          const DeviceLimits& limits, std::vector<Figure>& figures) {
  const uint32_t tokens = options.prompt_tokens;
  StepTimer timer(backend);
  TRY_ASSIGN(const Durations_ns durations, timer.prefill(tokens, options.repeats));
  double operations = 0;  // of matrices: attention's own do not count
  for (size_t i = 0; i < backend.info().work.weights.size(); ++i) {
    operations += static_cast<double>(backend.info().work.matrix_operations(i, prefill_shape(tokens)));
  }
  const std::string name = fmt::format("prefill {} {} tokens", shape.name, tokens);
  figures.push_back(
      rate(name + ", of matmul rate", durations, operations / limits.matmul_operations_per_second, "x"));
  figures.push_back(rate(name, durations, tokens, "tokens/s"));
  return {};
}

Result<void> time_steps(const ModelShape& shape, const Options& options, std::vector<Figure>& figures) {
  const auto bytes = random_weight_bytes(shape);
  BackendOptions backend_options;
  backend_options.kv_type = kernels::KvType::kF16;
  backend_options.threads = kThreads;
  backend_options.batch_tokens_max = options.prompt_tokens;
  const uint64_t token_bytes = uint64_t{4} * shape.layers * shape.kv_heads * shape.head_dim;
  backend_options.kv_bytes = token_bytes * (options.prompt_tokens + 32 * 2 * kContextTokens);
  TRY_ASSIGN(const auto backend, cuda::make_cuda_backend(random_model(shape, bytes), backend_options));
  if (options.one_by_one) kernels::cuda::let_kernels_overlap(false);
  TRY_ASSIGN(const DeviceLimits limits, cuda::measure_gpu_limits());
  if (limits.matmul_operations_per_second == 0)
    return fail(Code::kNotSupported, "no cuBLASLt to hold prefill against");
  TRY(time_decode(shape, options.repeats, *backend, limits, figures));
  return time_prefill(shape, options, *backend, limits, figures);
}

Result<std::vector<Figure>> steps(const Options& options) {
  TRY(cuda::open_device({}));
  std::vector<Figure> figures;
  for (const ModelShape& shape : {kShape7B, kShape1_5B, kShapeTest}) {
    const bool is_wanted =
        options.shape.empty() ? shape.name != kShapeTest.name : options.shape == shape.name;
    if (is_wanted) TRY(time_steps(shape, options, figures));
  }
  return figures;
}

using Bench = Result<std::vector<Figure>> (*)(const Options&);
const std::map<std::string, Bench> kBenches = {{"floors", floors}, {"load", load},   {"attention", attention},
                                               {"draws", draws},   {"steps", steps}, {"engine", engine}};

}  // namespace
}  // namespace deepserve::runner

int main(int count, char** words) {
  using namespace deepserve;
  runner::Options options;
  CLI::App app("What a GPU reaches of what it can do at the most", "gpu_bench");
  app.add_option("WHAT", options.what, "floors, load, attention, draws, steps or engine")
      ->required()
      ->check(CLI::IsMember(&runner::kBenches));
  app.add_option("--shape", options.shape, "7B, 1.5B or test; both of the first when not given")
      ->check(CLI::IsMember({"7B", "1.5B", "test"}));
  app.add_option("--prompt-tokens", options.prompt_tokens, "Of prefill, in one step (4096)")
      ->check(CLI::Range(64u, 8192u));
  app.add_option("--repeats", options.repeats,
                 "Of steps, attention and draws: the median, least and most are told (9)")
      ->check(CLI::Range(1u, 1000u));
  app.add_flag("--one-by-one", options.one_by_one,
               "Of steps: no kernel begins before the last one has ended; of an engine: no step");
  app.add_flag("--json", options.json, "Print JSON");
  CLI11_PARSE(app, count, words);
  if (options.one_by_one && options.what != "steps" && options.what != "engine") {
    fmt::print(stderr, "gpu_bench: --one-by-one is for steps and engine\n");
    return error_row(Code::kInvalidConfig).exit_code;
  }
  const auto figures = runner::kBenches.at(options.what)(options);
  if (!figures) {
    fmt::print(stderr, "gpu_bench: {}\n", figures.error().message);
    return error_row(figures.error().code).exit_code;
  }
  runner::print(*figures, options.json);
  return 0;
}
