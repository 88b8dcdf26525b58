// What of engine_bench.py needs to see inside a runner: the engine with the options of `ds-runner serve`, in
// this process. Prints one line of JSON.
//
//   engine_probe prefix MODEL     time to the first token after 1,000 known and 16 new tokens, and after none
//   engine_probe overhead MODEL   share of a step at batch 16 that is spent outside the backend's step()
//   engine_probe memory MODEL     peak resident set after every KV block was written and 16 sequences ran
//   [--threads N] [--isa NAME] [--kv-bytes N] [--repeats N] [--temperature T]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "ipc/base/clock.h"
#include "runner/engine/engine.h"
#include "runner/lane/lane_sink.h"
#include "runner/lane/process_share.h"
#include "runner/model/loaded_model.h"
#include "tests/bench/median.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kStepTokensMax = 512;  // as `serve` has them
constexpr double kStepSecondsMax = 0.1;
constexpr double kStepTargetSeconds = 0.025;
constexpr uint32_t kPrefixTokens = 1000;
constexpr uint32_t kSuffixTokens = 16;
constexpr uint32_t kSequences = 16;
constexpr uint32_t kPromptTokens = 64;
constexpr uint32_t kMeasuredSteps = 64;
constexpr uint32_t kPrefillSeconds = 60;  // more than any first token may take

struct Arguments {
  std::string mode, model, isa;
  uint32_t threads = usable_cores();
  uint64_t kv_bytes = 256ull << 20;
  uint32_t repeats = 5;
  float temperature = 0.8f;
};

[[noreturn]] void give_up(std::string_view why) {
  fmt::print(stderr, "engine_probe: {}\n", why);
  std::exit(1);
}

template <typename T>
T need(Result<T> result) {
  if (!result) give_up(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// Passes everything on, and adds up the time that steps take.
class TimedBackend final : public Backend {
 public:
  explicit TimedBackend(Backend& inner) : inner_(inner) {}
  const BackendInfo& info() const override { return inner_.info(); }
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    const uint64_t begin_ns = monotonic_ns();
    auto result = inner_.step(batch, outputs);
    inside_ns += monotonic_ns() - begin_ns;
    return result;
  }
  void copy_block(BlockId from, BlockId to) override { inner_.copy_block(from, to); }

  uint64_t inside_ns = 0;

 private:
  Backend& inner_;
};

// Both ends of a lane in one process, so that what is told is really encoded and written.
struct LaneEnds {
  std::unique_ptr<ipc::Lane> runner, daemon;
  static LaneEnds make() {
    const auto copy_of = [](const Fd& fd) { return Fd(::dup(fd.get())); };
    ipc::LaneFds fds = need(ipc::create_lane({}, 1));
    ipc::LaneFds copies{copy_of(fds.to_runner), copy_of(fds.to_daemon), copy_of(fds.runner_wake),
                        copy_of(fds.daemon_wake)};
    return {need(ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1)),
            need(ipc::Lane::attach(std::move(copies), ipc::Side::kDaemon, 1))};
  }
};

class Probe {
 public:
  explicit Probe(const Arguments& arguments)
      : arguments_(arguments), lane_(LaneEnds::make()), sink_(*lane_.runner), model_(load(arguments)) {
    backend_.emplace(*model_.backend);
    tokenizer_ = need(Tokenizer::make(std::move(*model_.vocabulary)));
    EngineOptions options;
    options.context_tokens = std::min(4096u, model_.backend->info().context_tokens_model);
    options.step_tokens_max = kStepTokensMax;
    options.step_seconds_max = kStepSecondsMax;
    options.step_target_seconds = kStepTargetSeconds;
    engine_ = need(Engine::make(*backend_, *tokenizer_, chat_, options, sink_));
  }

  void prefix();
  void overhead();
  void memory();

 private:
  static LoadedModel load(const Arguments& arguments) {
    BackendOptions options;
    options.kv_bytes = arguments.kv_bytes;
    options.threads = arguments.threads;
    options.isa = arguments.isa;
    options.batch_tokens_max = kStepTokensMax;
    LoadedModel model = need(load_model(arguments.model, options));
    if (!model.vocabulary) give_up(model.vocabulary_error.message);
    return model;
  }

  std::vector<TokenId> random_tokens(uint32_t count) {
    std::vector<TokenId> tokens(count);
    for (TokenId& token : tokens) {
      state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
      token = static_cast<TokenId>((state_ >> 33) % model_.backend->info().vocabulary);
    }
    return tokens;
  }

  void submit(std::vector<TokenId> tokens, uint32_t tokens_max) {
    ipc::Submit submit;
    submit.request = ++requests_;
    submit.prompt.kind = ipc::PromptKind::kTokens;
    submit.prompt.tokens = std::move(tokens);
    submit.generation.tokens_max = tokens_max;
    submit.generation.temperature = arguments_.temperature;
    submit.generation.top_p = 0.95f;
    submit.generation.seed = requests_;
    submit.generation.ignore_eos = true;
    engine_->submit(submit);
  }

  // One turn of the runner's loop, as long as it has something to compute.
  void turn() {
    lane_.runner->count_step();
    need(engine_->step());
    lane_.runner->publish_gauges(engine_->gauges());
    sink_.flush();
  }

  // Takes what was told; a failed request ends the probe.
  void drain() {
    need(lane_.daemon->drain(SIZE_MAX, [this](ipc::MessageType type, std::span<const std::byte> body) {
      if (type == ipc::MessageType::kFailed) give_up(need(ipc::Failed::decode(body)).message);
      if (type == ipc::MessageType::kDelta) ++deltas_;
      if (type == ipc::MessageType::kAccepted)
        cached_tokens_ = need(ipc::Accepted::decode(body)).cached_tokens;
    }));
    lane_.daemon->flush();
  }

  void finish() {
    while (engine_->has_work()) {
      turn();
      drain();
    }
  }

  double first_token_seconds(std::vector<TokenId> tokens) {
    deltas_ = 0;
    const uint64_t begin_ns = monotonic_ns();
    submit(std::move(tokens), 1);
    while (deltas_ == 0) {
      turn();
      drain();
      if (monotonic_ns() - begin_ns > kPrefillSeconds * kSecond_ns) give_up("no first token came");
    }
    const uint64_t taken_ns = monotonic_ns() - begin_ns;
    finish();
    return static_cast<double>(taken_ns) / 1e9;
  }

  const Arguments& arguments_;
  LaneEnds lane_;
  LaneSink sink_;
  LoadedModel model_;
  std::optional<TimedBackend> backend_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Result<ChatTemplate> chat_ = fail(Code::kNotSupported, "no chats here");
  std::unique_ptr<Engine> engine_;
  uint64_t state_ = 1;
  uint64_t requests_ = 0;
  uint64_t deltas_ = 0;
  uint32_t cached_tokens_ = 0;
};

std::vector<TokenId> joined(std::vector<TokenId> first, const std::vector<TokenId>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

void Probe::prefix() {
  std::vector<double> cold, cached, ratios;
  uint32_t cached_tokens = UINT32_MAX;
  first_token_seconds(random_tokens(kPrefixTokens + kSuffixTokens));  // warms up, and measures the speed
  for (uint32_t repeat = 0; repeat < arguments_.repeats; ++repeat) {
    const auto known = random_tokens(kPrefixTokens);
    cold.push_back(first_token_seconds(joined(known, random_tokens(kSuffixTokens))));
    cached.push_back(first_token_seconds(joined(known, random_tokens(kSuffixTokens))));
    cached_tokens = std::min(cached_tokens, cached_tokens_);
    ratios.push_back(cached.back() / cold.back());
  }
  fmt::print(
      "{{\"cold_seconds\": {:.6g}, \"cached_seconds\": {:.6g}, \"ratio\": {:.6g}, "
      "\"cached_tokens\": {}, \"repeats\": {}}}\n",
      bench::median(cold), bench::median(cached), bench::median(ratios), cached_tokens, arguments_.repeats);
}

void Probe::overhead() {
  std::vector<double> shares, step_seconds;
  for (uint32_t repeat = 0; repeat < arguments_.repeats; ++repeat) {
    deltas_ = 0;
    for (uint32_t i = 0; i < kSequences; ++i) submit(random_tokens(kPromptTokens), kMeasuredSteps * 2);
    while (deltas_ < 2 * kSequences) {  // all of them decode
      turn();
      drain();
    }
    uint64_t all_ns = 0;
    backend_->inside_ns = 0;
    for (uint32_t step = 0; step < kMeasuredSteps; ++step) {
      const uint64_t begin_ns = monotonic_ns();
      turn();
      all_ns += monotonic_ns() - begin_ns;
      drain();
    }
    shares.push_back(1 - static_cast<double>(backend_->inside_ns) / static_cast<double>(all_ns));
    step_seconds.push_back(static_cast<double>(all_ns) / 1e9 / kMeasuredSteps);
    finish();
  }
  fmt::print(
      "{{\"outside_share\": {:.6g}, \"step_seconds\": {:.6g}, \"sequences\": {}, \"temperature\": {}, "
      "\"repeats\": {}}}\n",
      bench::median(shares), bench::median(step_seconds), kSequences, arguments_.temperature,
      arguments_.repeats);
}

uint64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    uint64_t kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  give_up("/proc/self/status has no VmHWM");
}

void Probe::memory() {
  const BackendInfo& info = model_.backend->info();
  for (uint32_t i = 0; i < kSequences; ++i) submit(random_tokens(kPromptTokens), kMeasuredSteps);
  finish();
  for (BlockId block = 1; block < info.blocks; ++block) model_.backend->copy_block(0, block);
  const uint64_t peak_bytes = peak_resident_bytes();
  const uint64_t configured_bytes = info.weight_bytes + arguments_.kv_bytes;
  fmt::print("{{\"peak_bytes\": {}, \"weight_bytes\": {}, \"kv_bytes\": {}, \"ratio\": {:.6g}}}\n",
             peak_bytes, info.weight_bytes, arguments_.kv_bytes,
             static_cast<double>(peak_bytes) / static_cast<double>(configured_bytes));
}

}  // namespace
}  // namespace deepserve::runner

int main(int count, char** words) {
  using namespace deepserve::runner;
  Arguments arguments;
  CLI::App app("What engine_bench.py needs to see inside a runner", "engine_probe");
  app.add_option("MODE", arguments.mode, "prefix, overhead or memory")
      ->required()
      ->check(CLI::IsMember({"prefix", "overhead", "memory"}));
  app.add_option("MODEL", arguments.model, "A GGUF file or a Hugging Face directory")->required();
  app.add_option("--threads", arguments.threads, "Threads to compute with (all usable cores)");
  app.add_option("--isa", arguments.isa, "As of ds-runner generate");
  app.add_option("--kv-bytes", arguments.kv_bytes, "Memory for the KV cache (256 MiB)");
  app.add_option("--repeats", arguments.repeats, "Of each measurement; the median is told (5)")
      ->check(CLI::Range(1u, 1000u));
  app.add_option("--temperature", arguments.temperature, "0: greedy (0.8, with top_p 0.95)");
  CLI11_PARSE(app, count, words);
  Probe probe(arguments);
  if (arguments.mode == "prefix") probe.prefix();
  if (arguments.mode == "overhead") probe.overhead();
  if (arguments.mode == "memory") probe.memory();
  return 0;
}
