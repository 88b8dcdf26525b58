// What choosing a token takes: CPU time a row of 151,936 logits (Qwen's vocabulary), for what requests ask,
// over the 16 rows of a batch in turn, so that none is in the nearest cache. Rows have the outlines that the
// model's step makes of them on its threads; what these take of one thread is told beside. The bar is the
// engine's whole share of a step, 3 % of the 20 ms that 16 sequences of a 0.5B model take. Prints value, bar
// and PASS or FAIL.
//
//   sampler_bench [--isa scalar|avx2|avx512] [--rounds N]
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "runner/engine/sampler.h"

namespace {

using namespace deepserve;
using namespace deepserve::runner;

constexpr size_t kVocabulary = 151'936;
constexpr size_t kRows = 16;
constexpr double kStepUs = 20'000;
constexpr double kBarUs = kStepUs * 0.03 / kRows;

double cpu_us() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

// Rows as models make them: about normal, and some tokens that stand out.
std::vector<std::vector<float>> make_rows() {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(-2, 2.5f);
  std::exponential_distribution<float> above(0.25f);
  std::vector<std::vector<float>> rows(kRows, std::vector<float>(kVocabulary));
  for (auto& row : rows) {
    for (float& logit : row) logit = normal(random);
    for (int peak = 0; peak < 60; ++peak) row[random() % kVocabulary] += 8 + above(random);
  }
  return rows;
}

struct Kind {
  std::string name;
  std::function<void(ipc::Generation&)> ask;
  bool constrained = false;
  bool logprobs = false;
};

class SamplerBench {
 public:
  explicit SamplerBench(const kernels::LogitsKernels& kernels)
      : kernels_(kernels), sampler_(kernels), rows_(make_rows()) {
    std::mt19937_64 random(2);
    for (int token = 0; token < 1000; ++token)
      history_.push_back(static_cast<TokenId>(random() % kVocabulary));
    allowed_.resize((kVocabulary + 63) / 64);
    for (auto& word : allowed_) word = random() % 8 == 0 ? random() : ~uint64_t{0};
  }

  // The least that a row took, of all rounds: of the sampler, and of its outline.
  std::pair<double, double> row_us(const Kind& kind, int rounds) {
    ipc::Generation generation;
    generation.temperature = 0.8f;
    kind.ask(generation);
    const TokenCounts counts(generation, history_);
    double least = 1e30, least_one = 1e30, least_two = 1e30;
    for (int round = 0; round < rounds; ++round) {
      const float scale = Sampler::sums_scale(generation);
      least_one = std::min(least_one, pass_us(scale, 1));
      least_two = std::min(least_two, pass_us(scale, 2));
      const double begin = cpu_us();
      for (uint32_t row = 0; row < kRows; ++row) {
        const LogitsRow given{rows_[row], largest_[row], sums_[row], scale};
        Draw draw{generation, counts, 0, static_cast<uint32_t>(round) * 100 + row, {}, {}, {}};
        if (kind.constrained) draw.allowed = allowed_;
        const auto token = sampler_.sample(given, draw);
        if (!token) std::exit(1);
        if (kind.logprobs) sampler_.logprobs(given, *token, 5);
      }
      least = std::min(least, (cpu_us() - begin) / kRows);
    }
    return {least, (least_two - least_one) / kRows};
  }

 private:
  // CPU time of going over all rows part by part, which brings each part into the nearest cache, `outlines`
  // times more while it is there.
  double pass_us(float scale, int outlines) {
    const double begin = cpu_us();
    for (size_t row = 0; row < kRows; ++row) {
      for (size_t at = 0; at < kVocabulary; at += kPart) {
        const size_t size = std::min(kPart, kVocabulary - at), chunk = at / kernels::kLogitsChunk;
        kernels_.find_largest(&rows_[row][at], size, &largest_[row][chunk]);
        for (int i = 0; i < outlines; ++i) {
          kernels::outline_logits(kernels_, &rows_[row][at], size, scale, &largest_[row][chunk],
                                  &sums_[row][chunk]);
        }
      }
    }
    return cpu_us() - begin;
  }

  static constexpr size_t kPart = 4 * kernels::kLogitsChunk;
  const kernels::LogitsKernels& kernels_;
  Sampler sampler_;
  std::vector<std::vector<float>> rows_;
  std::vector<std::vector<float>> largest_{kRows, std::vector<float>(kernels::logits_chunks(kVocabulary))};
  std::vector<std::vector<float>> sums_ = largest_;
  std::vector<TokenId> history_;
  std::vector<uint64_t> allowed_;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"greedy", [](auto& g) { g.temperature = 0; }},
      {"temperature 0.8", [](auto&) {}},
      {"top-k 40, top-p 0.95", [](auto& g) { g.top_k = 40, g.top_p = 0.95f; }},
      {"top-p 0.95", [](auto& g) { g.top_p = 0.95f; }},
      {"min-p 0.05", [](auto& g) { g.min_p = 0.05f; }},
      {"greedy, penalties over 1,000 tokens",
       [](auto& g) { g.temperature = 0, g.repetition_penalty = 1.1f; }},
      {"top-k 40, top-p 0.95, penalties",
       [](auto& g) { g.top_k = 40, g.top_p = 0.95f, g.frequency_penalty = 0.5f; }},
      {"greedy, constrained", [](auto& g) { g.temperature = 0; }, true},
      {"greedy, logprobs of 5", [](auto& g) { g.temperature = 0, g.logprobs = 5; }, false, true},
  };
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  int rounds = 200;
  const char* isa = "";
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::strcmp(arguments[i], "--rounds") == 0) rounds = std::max(1, std::atoi(arguments[i + 1]));
    if (std::strcmp(arguments[i], "--isa") == 0) isa = arguments[i + 1];
  }
  const auto* kernels = kernels::find_logits_kernels(isa);
  if (kernels == nullptr) {
    std::fprintf(stderr, "sampler_bench: this CPU or build has no \"%s\"\n", isa);
    return 1;
  }
  SamplerBench bench(*kernels);
  bool passed = true;
  std::printf("%zu logits a row, %zu rows in turn, %s\n", kVocabulary, kRows, kernels->isa);
  for (const Kind& kind : kinds()) {
    const auto [us, outline_us] = bench.row_us(kind, rounds);
    passed = passed && us <= kBarUs;
    std::printf("%-36s %7.1f us a row, %5.2f %% of a step  bar <= 3 %%  %s  outline %4.1f us\n",
                kind.name.c_str(), us, us * kRows / kStepUs * 100, us <= kBarUs ? "PASS" : "FAIL",
                outline_us);
  }
  return passed ? 0 : 1;
}
