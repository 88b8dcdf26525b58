#include "tests/unit/engine/fakes.h"

#include <algorithm>
#include <limits>
#include <thread>

#include "kernels/cpu/logits.h"

namespace deepserve::runner::testing {
namespace {

constexpr TokenId kUnwritten = 0xffffffff;

uint64_t mix(uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

std::vector<TokenId> letters(std::string_view text) {
  std::vector<TokenId> tokens;
  for (const char value : text) tokens.push_back(value == ' ' ? 28 : letter(value));
  return tokens;
}

FakeTokenizer::FakeTokenizer() {
  vocabulary_.bos = kBos;
  vocabulary_.eos = kEos;
  vocabulary_.add_bos = true;
  vocabulary_.tokens = {"<bos>", "<eos>"};
  for (char value = 'a'; value <= 'z'; ++value) vocabulary_.tokens.emplace_back(1, value);
  vocabulary_.tokens.insert(vocabulary_.tokens.end(), {" ", "ab", "\xe2", "\x82", "\xac"});
  while (vocabulary_.tokens.size() < kVocabulary) {
    vocabulary_.tokens.push_back(fmt::format("[{}]", vocabulary_.tokens.size()));
  }
}

std::string_view FakeTokenizer::token_bytes(TokenId token, bool show_control) const {
  if (token >= kVocabulary || (token <= kEos && !show_control)) return {};
  return vocabulary_.tokens[token];
}

std::string FakeTokenizer::decode(std::span<const TokenId> tokens) const {
  std::string text;
  for (const TokenId token : tokens) text += token_bytes(token);
  return text;
}

Model hashing_model(float eos_bias) {
  return [eos_bias](std::span<const TokenId> history, std::span<float> logits) {
    uint64_t state = history.size();
    for (const TokenId token : history) state = mix(state ^ token);
    for (size_t token = 0; token < logits.size(); ++token) {
      logits[token] = static_cast<float>(mix(state + token) >> 40) * 0x1.0p-24f * 8.0f;
    }
    logits[kEos] += eos_bias;
  };
}

Model reciting_model(size_t prompt_tokens, std::vector<TokenId> answer) {
  return
      [prompt_tokens, answer = std::move(answer)](std::span<const TokenId> history, std::span<float> logits) {
        std::ranges::fill(logits, 0.0f);
        const size_t index = history.size() - prompt_tokens;
        logits[index < answer.size() ? answer[index] : kEos] = 10.0f;
      };
}

FakeBackend::FakeBackend(Model model, const Shape& shape) : model_(std::move(model)) {
  info_.architecture = "fake";
  info_.vocabulary = kVocabulary;
  info_.embedding = kHiddenWidth;
  info_.context_tokens_model = shape.context_tokens;
  info_.block_tokens = shape.block_tokens;
  info_.blocks = shape.blocks;
  info_.batch_tokens_max = shape.batch_tokens_max;
  slots_.assign(size_t{shape.blocks} * shape.block_tokens, kUnwritten);
}

void write_outlines(std::span<const BatchEntry> batch, size_t vocabulary, const StepOutputs& outputs) {
  const size_t chunks = kernels::logits_chunks(vocabulary);
  size_t row = 0;
  for (const auto& entry : batch) {
    for (uint32_t i = 0; i < entry.logits_rows; ++i, ++row) {
      kernels::outline_logits(*kernels::find_logits_kernels(""), &outputs.logits[row * vocabulary],
                              vocabulary, entry.sums_scale, &outputs.largest[row * chunks],
                              &outputs.sums[row * chunks]);
    }
  }
  CHECK(outputs.largest.size() == row * chunks && outputs.sums.size() == row * chunks);
}

Result<void> FakeBackend::step(std::span<const BatchEntry> batch, const StepOutputs& outputs) {
  if (broken) return fail(Code::kInternal, "the device is broken");
  ++steps;
  last_step.clear();
  uint32_t tokens = 0;
  std::set<std::pair<BlockId, uint32_t>> written;
  for (const auto& entry : batch) {
    const uint32_t size = static_cast<uint32_t>(entry.tokens.size());
    CHECK(size > 0 && entry.logits_rows <= size);
    CHECK(entry.blocks.size() == (entry.position + size + info_.block_tokens - 1) / info_.block_tokens);
    last_step.push_back({entry.position, size, entry.logits_rows});
    tokens += size;
    for (uint32_t i = 0; i < size; ++i) {
      const uint32_t position = entry.position + i;
      const BlockId block = entry.blocks[position / info_.block_tokens];
      CHECK(
          written.emplace(block, position % info_.block_tokens).second);  // two sequences never share a slot
      slot(block, position % info_.block_tokens) = entry.tokens[i];
    }
  }
  CHECK(tokens <= info_.batch_tokens_max);
  tokens_run += tokens;
  const auto duration = step_time + tokens * token_time;
  if (duration.count() > 0) std::this_thread::sleep_for(duration);
  size_t row = 0;
  for (const auto& entry : batch) {
    const uint32_t size = static_cast<uint32_t>(entry.tokens.size());
    for (uint32_t wanted = entry.logits_rows; wanted > 0; --wanted) {
      std::vector<TokenId> history;
      for (uint32_t position = 0; position < entry.position + size - wanted + 1; ++position) {
        history.push_back(slot(entry.blocks[position / info_.block_tokens], position % info_.block_tokens));
        CHECK(history.back() != kUnwritten);
      }
      model_(history, outputs.logits.subspan(row++ * kVocabulary, kVocabulary));
    }
  }
  CHECK(row * kVocabulary == outputs.logits.size());
  write_outlines(batch, kVocabulary, outputs);
  write_hidden(batch, outputs.hidden);
  return {};
}

// A token's hidden state is the token itself, and its position; kPoison's is no number.
void FakeBackend::write_hidden(std::span<const BatchEntry> batch, std::span<float> hidden) {
  size_t at = 0;
  for (const auto& entry : batch) {
    if (!entry.hidden_rows) continue;
    for (size_t i = 0; i < entry.tokens.size(); ++i) {
      hidden[at++] = static_cast<float>(entry.tokens[i]);
      hidden[at++] = static_cast<float>(entry.position + i);
      if (entry.tokens[i] == kPoison) hidden[at - 1] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  CHECK(at == hidden.size());
}

void FakeBackend::copy_block(BlockId from, BlockId to) {
  CHECK(from != to);
  for (uint32_t offset = 0; offset < info_.block_tokens; ++offset) slot(to, offset) = slot(from, offset);
}

std::string Told::Choice::echo_text() const {
  std::string joined;
  for (const auto& piece : echo_texts) joined += piece;
  return joined;
}

void RecordingSink::accepted(const ipc::Accepted& event) {
  Told& request = told[event.request];
  CHECK(!request.accepted && request.terminal_outcomes == 0);
  request.accepted = true;
  request.acceptance = event;
  accepted_order.push_back(event.request);
}

void RecordingSink::delta(const ipc::Delta& event) {
  Told& request = told[event.request];
  CHECK(request.accepted && request.terminal_outcomes == 0);
  Told::Choice& choice = request.choices[event.choice];
  CHECK(!choice.ended);
  if (event.echo) {
    CHECK(choice.tokens.empty() && event.index == choice.echo_tokens.size());
    choice.echo_tokens.insert(choice.echo_tokens.end(), event.tokens.begin(), event.tokens.end());
    choice.echo_texts.push_back(event.text);
    choice.echo_logprobs.insert(choice.echo_logprobs.end(), event.logprobs.begin(), event.logprobs.end());
    return;
  }
  if (choice.tokens.empty()) choice.first_index = event.index;
  CHECK(event.index == choice.first_index + choice.tokens.size());
  choice.tokens.insert(choice.tokens.end(), event.tokens.begin(), event.tokens.end());
  choice.text += event.text;
  choice.logprobs.insert(choice.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
}

void RecordingSink::embedding(const ipc::Embedding& event) {
  Told& request = told[event.request];
  CHECK(request.accepted && request.terminal_outcomes == 0 && request.embedding.empty());
  request.embedding = event.values;
}

void RecordingSink::finished(const ipc::Finished& event) {
  Told& request = told[event.request];
  Told::Choice& choice = request.choices[event.choice];
  CHECK(!choice.ended && request.terminal_outcomes == 0);
  choice.ended = true;
  choice.reason = event.reason;
  if (!event.last) return;
  request.finished = true;
  request.last = event;
  ++request.terminal_outcomes;
}

void RecordingSink::failed(const ipc::Failed& event) {
  Told& request = told[event.request];
  CHECK(request.terminal_outcomes == 0);
  request.failed = true;
  request.failure = event;
  ++request.terminal_outcomes;
}

Device device_of_environment() {
  const char* device = std::getenv("DEEPSERVE_TEST_DEVICE");
  if (device == nullptr) return Device::kGivesLogits;
  if (std::string_view(device) == "ahead") return Device::kRunsAhead;
  CHECK(std::string_view(device) == "draws");
  return Device::kDraws;
}

Bench::Bench(Model model, const FakeBackend::Shape& shape, EngineOptions options, Device device)
    : backend(std::move(model), shape), drawing(backend, device == Device::kRunsAhead) {
  options.check_blocks = true;
  Backend& chosen = device == Device::kGivesLogits ? static_cast<Backend&>(backend) : drawing;
  auto made = Engine::make(chosen, tokenizer, kNoChat, options, sink);
  CHECK(made.has_value());
  engine = std::move(*made);
}

void Bench::run() {
  for (int turn = 0; engine->has_work(); ++turn) {
    CHECK(turn < 100'000);
    const auto stepped = engine->step();
    CHECK(stepped.has_value());
  }
}

Told& Bench::submit_and_run(const ipc::Submit& submit) {
  engine->submit(submit);
  run();
  return sink[submit.request];
}

ipc::Submit token_request(ipc::RequestId id, std::vector<TokenId> prompt, uint32_t tokens_max) {
  ipc::Submit submit;
  submit.request = id;
  submit.prompt.kind = ipc::PromptKind::kTokens;
  submit.prompt.tokens = std::move(prompt);
  submit.generation.tokens_max = tokens_max;
  submit.generation.temperature = 0;
  return submit;
}

}  // namespace deepserve::runner::testing
