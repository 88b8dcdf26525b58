// What a long prompt does to those who decode beside it, and what they do to it; and what a cached prefix is
// worth. Through the engine, on the CPU backend. Prints values, bars, and PASS or FAIL.
//
//   scheduling_bench [--model FILE] [--threads N] [--decodes N] [--prompt N] [--rounds N] [--step-target-ms
//   N]
//
// On a host that has other work, `chrt -f 10` keeps the cores, and --rest-percent 10, a rest after each step,
// off the clock, keeps the kernel from taking them away for 50 ms of each second.
//
// Without a model: random weights of about 25 million parameters, Q8_0. Each round measures on one engine:
// the prompt alone (time to its first token), N sequences that decode, without and beside another such prompt
// and without again, and a prompt of 1,000 + 24 tokens whose first 1,000 are new, then known. Medians over
// the rounds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ipc/base/clock.h"
#include "runner/engine/engine.h"
#include "runner/model/loaded_model.h"
#include "tests/unit/model/tiny_model.h"

namespace {

using namespace deepserve;
using namespace deepserve::runner;

constexpr double kTokenGapBar = 2.0;
constexpr double kFirstTokenBar = 2.5;
constexpr double kPrefixBar = 0.08;
constexpr uint32_t kPrefixTokens = 1000;
constexpr uint32_t kSuffixTokens = 24;
constexpr uint32_t kDecodePrompt = 64;
constexpr uint32_t kQuietTokens = 150;  // of each sequence that decodes, with nothing beside it
constexpr uint32_t kStepTokensMax = 512;

struct Options {
  std::string model;
  uint32_t threads = 2;
  uint32_t decodes = 8;
  uint32_t prompt = 4096;
  uint32_t rounds = 5;
  double step_target_ms = 25;
  uint32_t rest_percent = 0;
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "scheduling_bench: %s\n", why.c_str());
  std::exit(1);
}

template <typename Value>
Value needed(Result<Value> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}

double quantile(std::vector<double> values, double part) {
  if (values.empty()) give_up("nothing was measured");
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(part * static_cast<double>(values.size())))];
}

double median(const std::vector<double>& values) {
  return quantile(values, 0.5);
}

// Time that rests are no part of.
class Clock {
 public:
  uint64_t now_ns() const { return monotonic_ns() - rested_ns_; }
  void rest(uint64_t duration_ns) {
    const uint64_t begin_ns = monotonic_ns();
    std::this_thread::sleep_for(std::chrono::nanoseconds(duration_ns));
    rested_ns_ += monotonic_ns() - begin_ns;
  }

 private:
  uint64_t rested_ns_ = 0;
};

// When each request's tokens came.
class TimingSink final : public EventSink {
 public:
  explicit TimingSink(const Clock& clock) : clock_(clock) {}
  void accepted(const ipc::Accepted&) override {}
  void delta(const ipc::Delta& event) override { times_ns[event.request].push_back(clock_.now_ns()); }
  void embedding(const ipc::Embedding&) override {}
  void finished(const ipc::Finished&) override {}
  void failed(const ipc::Failed& event) override { give_up(event.message); }

  std::map<ipc::RequestId, std::vector<uint64_t>> times_ns;

 private:
  const Clock& clock_;
};

class Trial {
 public:
  explicit Trial(const Options& options);
  // One round; appends a value to each of the three ratios.
  void run();
  bool report() const;

 private:
  ipc::RequestId submit(std::vector<TokenId> prompt, uint32_t tokens);
  std::vector<TokenId> fresh(uint32_t tokens);
  void run_until(ipc::RequestId id, size_t tokens);
  void finish(const std::vector<ipc::RequestId>& ids);
  double first_token_ms(std::vector<TokenId> prompt);
  std::vector<double> gaps_ms(const std::vector<ipc::RequestId>& ids, uint64_t from_ns) const;
  void step() {
    const uint64_t begin_ns = clock_.now_ns();
    if (auto stepped = engine_->step(); !stepped) give_up(stepped.error().message);
    if (options_.rest_percent > 0) clock_.rest((clock_.now_ns() - begin_ns) * options_.rest_percent / 100);
  }

  const Options& options_;
  std::mt19937_64 random_{1};
  LoadedModel model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Result<ChatTemplate> chat_ = fail(Code::kNotSupported, "no chat here");
  Clock clock_;
  TimingSink sink_{clock_};
  std::unique_ptr<Engine> engine_;
  ipc::RequestId next_ = 1;
  std::vector<double> gaps_quiet_ms_, gaps_busy_ms_, gap_ratios_;
  std::vector<double> first_alone_ms_, first_busy_ms_, first_ratios_;
  std::vector<double> cold_ms_, cached_ms_, prefix_ratios_;
};

std::string write_synthetic_model() {
  TinyModel tiny;
  tiny.type = kernels::WeightType::kQ8_0;
  tiny.vocabulary = 8192;
  tiny.layers = 8;
  tiny.embedding = 512;
  tiny.feed_forward = 1536;
  tiny.heads = 8;
  tiny.kv_heads = 2;
  tiny.head_dim = 64;
  tiny.context = 32'768;
  const auto bytes = tiny.gguf();
  std::string path = "/tmp/scheduling-bench-XXXXXX";
  const int fd = mkstemp(path.data());
  if (fd < 0) give_up("no temporary file");
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return path;
}

Trial::Trial(const Options& options) : options_(options) {
  const std::string path = options.model.empty() ? write_synthetic_model() : options.model;
  BackendOptions backend_options;
  backend_options.threads = options.threads;
  backend_options.batch_tokens_max = kStepTokensMax;
  backend_options.kv_bytes = uint64_t{2} << 30;
  model_ = needed(load_model(path, backend_options));
  if (options.model.empty()) std::remove(path.c_str());
  if (!model_.vocabulary) give_up(model_.vocabulary_error.message);
  tokenizer_ = needed(Tokenizer::make(*model_.vocabulary));
  EngineOptions engine_options;
  engine_options.step_tokens_max = kStepTokensMax;
  engine_options.step_seconds_max = 0.1;
  engine_options.step_target_seconds = options.step_target_ms / 1000;
  engine_ = needed(Engine::make(*model_.backend, *tokenizer_, chat_, engine_options, sink_));
}

std::vector<TokenId> Trial::fresh(uint32_t tokens) {
  std::vector<TokenId> prompt(tokens);
  for (auto& token : prompt) token = static_cast<TokenId>(10 + random_() % 1000);
  return prompt;
}

ipc::RequestId Trial::submit(std::vector<TokenId> prompt, uint32_t tokens) {
  ipc::Submit submit;
  submit.request = next_++;
  submit.prompt.kind = ipc::PromptKind::kTokens;
  submit.prompt.tokens = std::move(prompt);
  submit.generation.tokens_max = tokens;
  submit.generation.temperature = 0;
  submit.generation.ignore_eos = true;
  engine_->submit(submit);
  return submit.request;
}

void Trial::run_until(ipc::RequestId id, size_t tokens) {
  while (sink_.times_ns[id].size() < tokens) step();
}

void Trial::finish(const std::vector<ipc::RequestId>& ids) {
  for (const auto id : ids) engine_->cancel(id);
  sink_.times_ns.clear();
}

double Trial::first_token_ms(std::vector<TokenId> prompt) {
  const uint64_t begin_ns = clock_.now_ns();
  const auto id = submit(std::move(prompt), 2);
  run_until(id, 1);
  const double first_ms = static_cast<double>(sink_.times_ns[id][0] - begin_ns) / 1e6;
  return first_ms;
}

// The times between tokens of which the later one came after `from_ns`.
std::vector<double> Trial::gaps_ms(const std::vector<ipc::RequestId>& ids, uint64_t from_ns) const {
  std::vector<double> gaps;
  for (const auto id : ids) {
    const auto& times = sink_.times_ns.at(id);
    for (size_t i = 1; i < times.size(); ++i) {
      if (times[i] > from_ns) gaps.push_back(static_cast<double>(times[i] - times[i - 1]) / 1e6);
    }
  }
  return gaps;
}

void Trial::run() {
  const double alone_ms = first_token_ms(fresh(options_.prompt));
  finish({next_ - 1});
  std::vector<ipc::RequestId> decoding;
  for (uint32_t i = 0; i < options_.decodes; ++i) decoding.push_back(submit(fresh(kDecodePrompt), 20'000));
  for (const auto id : decoding) run_until(id, 1);
  uint64_t from_ns = clock_.now_ns();
  run_until(decoding.back(), sink_.times_ns[decoding.back()].size() + kQuietTokens);
  auto quiet = gaps_ms(decoding, from_ns);
  from_ns = clock_.now_ns();
  const double busy_first_ms = first_token_ms(fresh(options_.prompt));
  const double busy_ms = quantile(gaps_ms(decoding, from_ns), 0.99);
  engine_->cancel(next_ - 1);
  // Once more without it: their contexts have grown meanwhile, and with them the time of a step.
  from_ns = clock_.now_ns();
  run_until(decoding.back(), sink_.times_ns[decoding.back()].size() + kQuietTokens);
  const auto later = gaps_ms(decoding, from_ns);
  quiet.insert(quiet.end(), later.begin(), later.end());
  const double quiet_ms = quantile(std::move(quiet), 0.99);
  finish(decoding);

  const auto prefix = fresh(kPrefixTokens);
  const auto with_suffix = [&] {
    auto prompt = prefix;
    const auto suffix = fresh(kSuffixTokens);
    prompt.insert(prompt.end(), suffix.begin(), suffix.end());
    return prompt;
  };
  const double cold_ms = first_token_ms(with_suffix());
  finish({next_ - 1});
  const double cached_ms = first_token_ms(with_suffix());
  finish({next_ - 1});

  std::printf(
      "ITL p99 %.2f ms, beside the prompt %.2f ms; TTFT %.1f ms, beside decodes %.1f ms; prefix "
      "%.1f ms, cached %.2f ms\n",
      quiet_ms, busy_ms, alone_ms, busy_first_ms, cold_ms, cached_ms);
  gaps_quiet_ms_.push_back(quiet_ms);
  gaps_busy_ms_.push_back(busy_ms);
  gap_ratios_.push_back(busy_ms / quiet_ms);
  first_alone_ms_.push_back(alone_ms);
  first_busy_ms_.push_back(busy_first_ms);
  first_ratios_.push_back(busy_first_ms / alone_ms);
  cold_ms_.push_back(cold_ms);
  cached_ms_.push_back(cached_ms);
  prefix_ratios_.push_back(cached_ms / cold_ms);
}

bool report_ratio(const char* what, double before_ms, double after_ms, double ratio, double bar) {
  std::printf("%-52s %9.2f ms / %9.2f ms = %6.3f   bar <= %.2f   %s\n", what, after_ms, before_ms, ratio, bar,
              ratio <= bar ? "PASS" : "FAIL");
  return ratio <= bar;
}

bool Trial::report() const {
  const bool gaps = report_ratio("ITL p99 while a long prompt is prefilled / without", median(gaps_quiet_ms_),
                                 median(gaps_busy_ms_), median(gap_ratios_), kTokenGapBar);
  const bool first = report_ratio("its TTFT beside decodes / alone", median(first_alone_ms_),
                                  median(first_busy_ms_), median(first_ratios_), kFirstTokenBar);
  const bool prefix = report_ratio("TTFT with a cached prefix of 1,000 tokens / cold", median(cold_ms_),
                                   median(cached_ms_), median(prefix_ratios_), kPrefixBar);
  return gaps && first && prefix;
}

Options read_options(int count, char** words) {
  Options options;
  for (int i = 1; i < count; i += 2) {
    const std::string name = words[i];
    if (i + 1 == count) give_up(name + " needs a value");
    const auto number = [&] { return static_cast<uint32_t>(std::strtoul(words[i + 1], nullptr, 10)); };
    if (name == "--model")
      options.model = words[i + 1];
    else if (name == "--threads")
      options.threads = number();
    else if (name == "--decodes")
      options.decodes = std::max(1u, number());
    else if (name == "--prompt")
      options.prompt = std::max(2u, number());
    else if (name == "--rounds")
      options.rounds = std::max(1u, number());
    else if (name == "--step-target-ms")
      options.step_target_ms = number();
    else if (name == "--rest-percent")
      options.rest_percent = number();
    else
      give_up("there is no " + name);
  }
  return options;
}

}  // namespace

int main(int count, char** words) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const Options options = read_options(count, words);
  Trial trial(options);
  for (uint32_t round = 0; round < options.rounds; ++round) trial.run();
  return trial.report() ? 0 : 1;
}
