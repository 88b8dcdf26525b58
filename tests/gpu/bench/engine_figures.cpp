#include "tests/gpu/bench/engine_figures.h"

#include <optional>
#include <random>

#include "ipc/base/clock.h"
#include "runner/backend/cuda/cuda_backend.h"
#include "runner/engine/engine.h"

namespace deepserve::runner {
namespace {

// Each token is its number.
class NumberTokenizer final : public Tokenizer {
 public:
  explicit NumberTokenizer(uint32_t vocabulary) {
    for (uint32_t token = 0; token < vocabulary; ++token) {
      vocabulary_.tokens.push_back(fmt::format(" {}", token));
    }
    vocabulary_.kinds.assign(vocabulary, TokenKind::kNormal);
  }

  std::vector<TokenId> encode(std::string_view, Specials) const override { return {}; }
  std::string_view token_bytes(TokenId token, bool) const override { return vocabulary_.tokens[token]; }
  std::string decode(std::span<const TokenId> tokens) const override {
    std::string text;
    for (const TokenId token : tokens) text += vocabulary_.tokens[token];
    return text;
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  bool ends_generation(TokenId) const override { return false; }

 private:
  Vocabulary vocabulary_;
};

class CountingSink final : public EventSink {
 public:
  void accepted(const ipc::Accepted&) override {}
  void delta(const ipc::Delta& event) override { tokens += event.tokens.size(); }
  void embedding(const ipc::Embedding&) override {}
  void finished(const ipc::Finished&) override {}
  void failed(const ipc::Failed& event) override { failure = event; }

  uint64_t tokens = 0;
  std::optional<ipc::Failed> failure;
};

struct RunTimes {
  double seconds, device_seconds, own_seconds;  // own: of the engine, outside the backend
};

ipc::Submit request_of(const EngineCase& one, uint64_t id, uint32_t vocabulary) {
  std::mt19937 random(static_cast<uint32_t>(id));
  ipc::Submit submit;
  submit.request = id;
  submit.prompt.kind = ipc::PromptKind::kTokens;
  submit.prompt.tokens.resize(one.prompt_tokens);
  for (TokenId& token : submit.prompt.tokens) token = static_cast<TokenId>(random() % vocabulary);
  submit.generation.tokens_max = one.answer_tokens;
  submit.generation.temperature = 0.8f;
  submit.generation.top_p = 0.95f;
  submit.generation.seed = id;
  submit.generation.ignore_eos = true;
  return submit;
}

Result<RunTimes> answer_all(const EngineCase& one, Backend& backend, Engine& engine, CountingSink& sink,
                            uint64_t& next_id) {
  const uint32_t vocabulary = backend.info().vocabulary;
  sink.tokens = 0;
  const double device_before = backend.device_seconds();
  const EngineTimes before = engine.times();
  const uint64_t begin_ns = monotonic_ns();
  for (uint32_t i = 0; i < one.requests; ++i) engine.submit(request_of(one, ++next_id, vocabulary));
  while (engine.has_work()) TRY(engine.step());
  const double seconds = static_cast<double>(monotonic_ns() - begin_ns) / 1e9;
  if (sink.failure) return fail(sink.failure->code, "{}", sink.failure->message);
  const uint64_t wanted = uint64_t{one.requests} * one.answer_tokens;
  if (sink.tokens != wanted) return fail(Code::kInternal, "{} tokens of {} came", sink.tokens, wanted);
  const EngineTimes after = engine.times();
  const double own =
      after.step_seconds - before.step_seconds - (after.backend_seconds - before.backend_seconds);
  return RunTimes{seconds, backend.device_seconds() - device_before, own};
}

// The median, least and most of what `of` makes of each run.
template <typename Of>
Figure figure_of(std::string name, std::string unit, const std::vector<RunTimes>& runs, const Of& of) {
  std::vector<double> values;
  for (const RunTimes& run : runs) values.push_back(of(run));
  std::sort(values.begin(), values.end());
  return {std::move(name), values[values.size() / 2], std::move(unit), values.size(), values.front(),
          values.back()};
}

}  // namespace

Result<void> time_engine(const ModelShape& shape, const EngineCase& one, uint32_t runs,
                         std::vector<Figure>& figures) {
  const auto bytes = random_weight_bytes(shape);
  const uint32_t sequence_tokens = one.prompt_tokens + one.answer_tokens + 1;
  const uint64_t blocks = (sequence_tokens + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  BackendOptions options;
  options.kv_type = kernels::KvType::kF16;
  options.threads = 8;
  options.batch_tokens_max = one.step_tokens_max;
  options.deterministic = true;
  options.kv_bytes = one.requests * blocks * kernels::kBlockTokens * uint64_t{4} * shape.layers *
                     shape.kv_heads * shape.head_dim;
  TRY_ASSIGN(const auto backend, cuda::make_cuda_backend(random_model(shape, bytes), options));
  const NumberTokenizer tokenizer(shape.vocabulary);
  const Result<ChatTemplate> chat = fail(Code::kNotSupported, "no chats here");
  EngineOptions engine_options;
  engine_options.context_tokens = sequence_tokens;
  engine_options.sequences_max = one.requests;
  engine_options.step_tokens_max = one.step_tokens_max;
  engine_options.run_ahead = one.run_ahead;
  CountingSink sink;
  TRY_ASSIGN(const auto engine, Engine::make(*backend, tokenizer, chat, engine_options, sink));
  std::vector<RunTimes> times;
  uint64_t next_id = 0;
  for (uint32_t run = 0; run < runs; ++run) {
    TRY_ASSIGN(const RunTimes taken, answer_all(one, *backend, *engine, sink, next_id));
    times.push_back(taken);
  }
  const double tokens = double{1} * one.requests * one.answer_tokens;
  const std::string name =
      fmt::format("engine {} {} x ({} + {})", shape.name, one.requests, one.prompt_tokens, one.answer_tokens);
  figures.push_back(figure_of(name + ", of kernel times", "x", times,
                              [](const RunTimes& run) { return run.device_seconds / run.seconds; }));
  figures.push_back(
      figure_of(name, "tokens/s", times, [&](const RunTimes& run) { return tokens / run.seconds; }));
  figures.push_back(figure_of(name + ", of the engine alone", "us/token", times,
                              [&](const RunTimes& run) { return run.own_seconds * 1e6 / tokens; }));
  return {};
}

}  // namespace deepserve::runner
