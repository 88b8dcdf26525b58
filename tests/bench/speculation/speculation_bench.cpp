// What speculation gains and what it may cost: tokens a second of the same answers with and without it, in
// pairs. One task repeats a text of its prompt; the other draws at random (temperature 1) and repeats
// nothing. Prints value, bar and PASS or FAIL.
//
//   speculation_bench [--model FILE] [--threads N] [--pairs N] [--sequences N]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "ipc/base/clock.h"
#include "runner/engine/engine.h"
#include "runner/model/loaded_model.h"
#include "tests/bench/median.h"

namespace {

using namespace deepserve;
using namespace deepserve::runner;

constexpr uint32_t kAnswerTokens = 128;
constexpr const char* kText =
    "The old lighthouse keeper walked slowly down the winding stairs, counting each of the one hundred and "
    "forty-two steps, while the storm outside threw salt water against the narrow windows. He had done this "
    "every night for thirty years, and every night he thought of the ships that had passed because of his "
    "lamp.";

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "speculation_bench: %s\n", why.c_str());
  std::exit(1);
}

template <typename T>
T value_of(Result<T> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}

class KeepingSink final : public EventSink {
 public:
  void accepted(const ipc::Accepted&) override {}
  void delta(const ipc::Delta& event) override {
    tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
  }
  void embedding(const ipc::Embedding&) override {}
  void finished(const ipc::Finished& event) override { usage = event.usage; }
  void failed(const ipc::Failed& event) override { give_up(event.message); }

  std::vector<TokenId> tokens;  // of one sequence, or of several as they come
  ipc::Usage usage;
};

struct Task {
  const char* name;
  std::string prompt;
  float temperature;
  double ratio_min;
};

struct Run {
  double tokens_per_second;
  std::vector<TokenId> tokens;
  ipc::Usage usage;
};

class SpeculationBench {
 public:
  SpeculationBench(const std::string& path, uint32_t threads, uint32_t sequences) : sequences_(sequences) {
    BackendOptions options;
    options.threads = threads;
    options.kv_bytes = uint64_t{512} << 20;
    model_ = value_of(load_model(path, options));
    tokenizer_ = value_of(Tokenizer::make(std::move(*model_.vocabulary)));
    for (const auto speculation : {Speculation::kOff, Speculation::kAuto}) {
      EngineOptions engine_options;
      engine_options.speculation = speculation;
      engine_options.prefix_cache = false;  // the other engine writes to the same blocks
      auto& engine = speculation == Speculation::kOff ? plain_ : drafting_;
      engine = value_of(Engine::make(*model_.backend, *tokenizer_, chat_, engine_options, sink_));
    }
  }

  // From the first token on: decoding alone.
  Run run(const Task& task, bool drafts, uint64_t seed) {
    Engine& engine = drafts ? *drafting_ : *plain_;
    sink_.tokens.clear();
    for (uint32_t i = 0; i < sequences_; ++i) {
      ipc::Submit submit;
      submit.request = ++request_;
      submit.prompt.text = task.prompt;
      submit.generation.temperature = task.temperature;
      submit.generation.seed = seed + i;
      submit.generation.tokens_max = kAnswerTokens;
      submit.generation.ignore_eos = true;
      engine.submit(submit);
    }
    while (sink_.tokens.size() < sequences_) step(engine);
    const size_t before = sink_.tokens.size();
    const uint64_t begin_ns = monotonic_ns();
    while (engine.has_work()) step(engine);
    const double seconds = static_cast<double>(monotonic_ns() - begin_ns) * 1e-9;
    return {static_cast<double>(sink_.tokens.size() - before) / seconds, sink_.tokens, sink_.usage};
  }

  bool compare(const Task& task, uint32_t pairs) {
    std::vector<double> ratios, with, without;
    uint64_t right = 0, wrong = 0;
    run(task, true, 1);  // the first one learns what steps take
    run(task, false, 1);
    for (uint32_t pair = 0; pair < pairs; ++pair) {
      const bool first = pair % 2 == 0;
      const Run one = run(task, first, 100 * pair), other = run(task, !first, 100 * pair);
      const Run &drafted = first ? one : other, &plain = first ? other : one;
      if (sequences_ == 1 && drafted.tokens != plain.tokens) give_up("drafts changed an answer");
      with.push_back(drafted.tokens_per_second);
      without.push_back(plain.tokens_per_second);
      ratios.push_back(drafted.tokens_per_second / plain.tokens_per_second);
      right += drafted.usage.drafts_accepted;
      wrong += drafted.usage.drafts_rejected;
    }
    const double ratio = bench::median(ratios);
    const bool passed = ratio >= task.ratio_min;
    std::printf(
        "%-24s %u x: %7.1f tokens/s without, %7.1f with, drafts %lu right %lu wrong; median of %u pairs "
        "%.2fx  bar >= %.2fx  %s\n",
        task.name, sequences_, bench::median(without), bench::median(with), right, wrong, pairs, ratio,
        task.ratio_min, passed ? "PASS" : "FAIL");
    return passed;
  }

 private:
  static void step(Engine& engine) {
    if (auto stepped = engine.step(); !stepped) give_up(stepped.error().message);
  }

  uint32_t sequences_;
  LoadedModel model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  const Result<ChatTemplate> chat_ = fail(Code::kNotSupported, "none");
  KeepingSink sink_;
  std::unique_ptr<Engine> plain_, drafting_;
  ipc::RequestId request_ = 0;
};

}  // namespace

int main(int count, char** arguments) {
  std::string model = BUILTIN_MODEL;
  uint32_t threads = 2, pairs = 5, sequences = 1;
  for (int i = 1; i + 1 < count; i += 2) {
    const auto number = static_cast<uint32_t>(std::max(1, std::atoi(arguments[i + 1])));
    if (std::strcmp(arguments[i], "--model") == 0) model = arguments[i + 1];
    if (std::strcmp(arguments[i], "--threads") == 0) threads = number;
    if (std::strcmp(arguments[i], "--pairs") == 0) pairs = number;
    if (std::strcmp(arguments[i], "--sequences") == 0) sequences = number;
  }
  SpeculationBench bench(model, threads, sequences);
  const std::string text(kText);
  const bool repeats =
      bench.compare({"repeating a text", text + "\n" + text + "\n" + text + "\n", 0, 1.5}, pairs);
  const bool invents = bench.compare({"text drawn at random", "Once", 1.0f, 0.98}, pairs);
  return repeats && invents ? 0 : 1;
}
