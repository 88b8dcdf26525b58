// What a constraint costs: tokens of constrained answers against as many unconstrained ones, in pairs, with
// the model that comes with the source; and the time of masks alone for a vocabulary of 150,000 tokens.
// Prints value, bar and PASS or FAIL.
//
//   grammar_bench [--pairs N] [--vocabulary MODEL]      MODEL: whose tokens the masks are of; else made-up
//   ones
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "ipc/base/clock.h"
#include "runner/engine/engine.h"
#include "runner/grammar/constraints.h"
#include "runner/model/loaded_model.h"
#include "tests/bench/median.h"

namespace {

using namespace deepserve;
using namespace deepserve::runner;
using ipc::ConstraintKind;

constexpr double kBarPercent = 5;
constexpr uint32_t kAnswerTokensMax = 300;
constexpr uint32_t kMadeUpTokens = 150'000;

constexpr const char* kSchema = R"({"type":"object","properties":{
  "people":{"type":"array","minItems":8,"items":{"$ref":"#/$defs/person"}},
  "note":{"type":"string","maxLength":400}},
  "required":["people","note"],"additionalProperties":false,
  "$defs":{"person":{"type":"object","properties":{
    "name":{"type":"string","maxLength":40},"age":{"type":"integer","minimum":0,"maximum":130},
    "born":{"type":"string","format":"date"},"tags":{"type":"array","items":{"enum":["a","b","other"]}},
    "friend":{"anyOf":[{"$ref":"#/$defs/person"},{"type":"null"}]}},
    "required":["name","age","born","tags","friend"],"additionalProperties":false}}})";
constexpr const char* kGbnf =
    "root ::= line+\nline ::= \"- \" [^\\n]{1,60} \"\\n\" sub*\nsub ::= \"  * \" word (\" \" word){0,9} "
    "\"\\n\"\n"
    "word ::= [a-z]+ | [A-Z] [a-z]* | [0-9]{1,4}\n";

struct Kind {
  const char* name;
  ipc::Constraint constraint;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {{"JSON object", {ConstraintKind::kJsonObject, ""}},
                                        {"JSON schema", {ConstraintKind::kJsonSchema, kSchema}},
                                        {"GBNF", {ConstraintKind::kGrammar, kGbnf}}};
  return all;
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "grammar_bench: %s\n", why.c_str());
  std::exit(1);
}

template <typename T>
T value_of(Result<T> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}

// CPU time of this process: others on the machine do not count.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class CountingSink final : public EventSink {
 public:
  void accepted(const ipc::Accepted&) override {}
  void delta(const ipc::Delta&) override {}
  void embedding(const ipc::Embedding&) override {}
  void finished(const ipc::Finished& event) override { tokens = event.usage.completion_tokens; }
  void failed(const ipc::Failed& event) override { give_up(event.message); }

  uint32_t tokens = 0;
};

class Pairs {
 public:
  Pairs() {
    BackendOptions options;
    options.threads = 1;
    model_ = value_of(load_model(BUILTIN_MODEL, options));
    tokenizer_ = value_of(Tokenizer::make(std::move(*model_.vocabulary)));
    engine_ = value_of(Engine::make(*model_.backend, *tokenizer_, chat_, {}, sink_));
  }

  // Returns what a token costs more with the constraint, in percent.
  double overhead_percent(const Kind& kind, uint32_t pairs) {
    std::vector<double> ratios;
    double free_s = 0, bound_s = 0;
    uint64_t tokens = 0;
    for (uint64_t seed = 1; ratios.size() < pairs && seed < 20 * pairs; ++seed) {
      const double bound = seconds(kind.constraint, seed, kAnswerTokensMax);
      const uint32_t count = sink_.tokens;
      if (count < 30) continue;  // too short to be timed
      const double unbound = seconds({}, seed, count);
      ratios.push_back(bound / unbound);
      free_s += unbound;
      bound_s += bound;
      tokens += count;
    }
    if (ratios.empty()) give_up("no answer was long enough to be timed");
    const double percent = (bench::median(ratios) - 1) * 100;
    std::printf("%-12s %3zu pairs, %6lu tokens: %7.1f us a token free, %7.1f us bound (sums %+.2f %%)\n",
                kind.name, ratios.size(), tokens, free_s / static_cast<double>(tokens) * 1e6,
                bound_s / static_cast<double>(tokens) * 1e6, (bound_s / free_s - 1) * 100);
    return percent;
  }

 private:
  double seconds(const ipc::Constraint& constraint, uint64_t seed, uint32_t tokens) {
    ipc::Submit submit;
    submit.request = ++request_;
    submit.prompt.text = "A list of people, as JSON:";
    submit.generation.constraint = constraint;
    submit.generation.seed = seed;
    submit.generation.tokens_max = tokens;
    submit.generation.ignore_eos = constraint.kind == ConstraintKind::kNone;
    const double begin = cpu_seconds();
    engine_->submit(submit);
    while (engine_->has_work()) {
      if (auto stepped = engine_->step(); !stepped) give_up(stepped.error().message);
    }
    return cpu_seconds() - begin;
  }

  LoadedModel model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  const Result<ChatTemplate> chat_ = fail(Code::kNotSupported, "none");
  CountingSink sink_;
  std::unique_ptr<Engine> engine_;
  ipc::RequestId request_ = 0;
};

// As many tokens as large models have, of about their shape: bytes, words, punctuation, pieces of other
// scripts.
class MadeUpTokens final : public Tokenizer {
 public:
  MadeUpTokens() {
    std::mt19937_64 random(1);
    for (int byte = 0; byte < 256; ++byte) texts_.emplace_back(1, static_cast<char>(byte));
    while (texts_.size() < kMadeUpTokens) {
      std::string text = random() % 2 == 0 ? " " : "";
      const uint64_t kind = random() % 20;
      const size_t size = 1 + random() % 7 + random() % 4;
      for (size_t i = 0; i < size; ++i) {
        if (kind < 15) text += static_cast<char>('a' + random() % 26);
        if (kind >= 15 && kind < 18)
          text += "\xe4\xb8" + std::string(1, static_cast<char>(0x80 + random() % 64));
        if (kind >= 18) text += "{}[]\":,.-_()='\\/\n\t 01"[random() % 21];
      }
      texts_.push_back(text);
    }
  }
  std::vector<TokenId> encode(std::string_view, Specials) const override { return {}; }
  std::string_view token_bytes(TokenId token, bool) const override { return texts_[token]; }
  std::string decode(std::span<const TokenId>) const override { return {}; }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  bool ends_generation(TokenId token) const override { return token == kMadeUpTokens - 1; }

 private:
  std::vector<std::string> texts_;
  Vocabulary vocabulary_;
};

double microseconds_since(uint64_t begin_ns) {
  return static_cast<double>(monotonic_ns() - begin_ns) * 1e-3;
}

struct MaskTimes {
  std::vector<double> all_us;
  double compile_us = 0;
};

// One mask for each token of 40 random answers.
MaskTimes walk(Constraints& constraints, const ipc::Constraint& constraint, uint64_t seed) {
  MaskTimes times;
  std::mt19937_64 random(seed);
  for (int answer = 0; answer < 40; ++answer) {
    const uint64_t compile_ns = monotonic_ns();
    auto matcher = *value_of(constraints.matcher(constraint, {}));
    if (answer == 0) times.compile_us = microseconds_since(compile_ns);
    for (int tokens = 0; tokens < 60 && !matcher.finished(); ++tokens) {
      const uint64_t begin_ns = monotonic_ns();
      const auto allowed = value_of(matcher.allowed());
      times.all_us.push_back(microseconds_since(begin_ns));
      // From a random place on the next token that is allowed.
      TokenId token = static_cast<TokenId>(random() % (allowed.size() * 64));
      while (!has_token(allowed, token)) token = static_cast<TokenId>((token + 1) % (allowed.size() * 64));
      if (!matcher.accept(token)) give_up("an allowed token was refused");
    }
  }
  return times;
}

void print_masks(const Tokenizer& tokenizer, uint32_t vocabulary, const char* whose) {
  Constraints constraints(tokenizer, vocabulary);
  const uint64_t begin_ns = monotonic_ns();
  value_of(constraints.matcher({ConstraintKind::kGrammar, "root ::= \"a\""}, {}));
  std::printf("masks of %u tokens (%s); their tree is built once, in %.1f ms\n", vocabulary, whose,
              microseconds_since(begin_ns) * 1e-3);
  for (const Kind& kind : kinds()) {
    MaskTimes first = walk(constraints, kind.constraint, 1);
    MaskTimes again = walk(constraints, kind.constraint, 1);  // the same answers: all masks are known
    MaskTimes other = walk(constraints, kind.constraint, 2);  // others: new where a state is new
    const auto mean = [](const std::vector<double>& values) {
      double sum = 0;
      for (const double value : values) sum += value;
      return sum / static_cast<double>(values.size());
    };
    std::printf(
        "%-12s compile %7.0f us; first walk mean %7.1f, largest %7.0f us; steady median %6.1f, mean %6.1f "
        "us; "
        "other answers mean %6.1f us\n",
        kind.name, first.compile_us, mean(first.all_us), std::ranges::max(first.all_us),
        bench::median(again.all_us), mean(again.all_us), mean(other.all_us));
  }
}

}  // namespace

int main(int count, char** arguments) {
  uint32_t pairs = 25;
  const char* vocabulary = nullptr;
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::strcmp(arguments[i], "--pairs") == 0) pairs = static_cast<uint32_t>(std::atoi(arguments[i + 1]));
    if (std::strcmp(arguments[i], "--vocabulary") == 0) vocabulary = arguments[i + 1];
  }
  Pairs bench;
  bool passed = true;
  for (const Kind& kind : kinds()) {
    const double percent = bench.overhead_percent(kind, pairs);
    passed = passed && percent <= kBarPercent;
    std::printf("cost of %s: median of the pairs %+.2f %%  bar <= %.0f %%  %s\n", kind.name, percent,
                kBarPercent, percent <= kBarPercent ? "PASS" : "FAIL");
  }
  if (vocabulary == nullptr) {
    print_masks(MadeUpTokens(), kMadeUpTokens, "made up");
  } else {
    auto model = value_of(load_model(vocabulary, {}));
    const uint32_t rows = model.backend->info().vocabulary;
    const auto tokenizer = value_of(Tokenizer::make(std::move(*model.vocabulary)));
    print_masks(*tokenizer, rows, vocabulary);
  }
  return passed ? 0 : 1;
}
