// A device and a tokeniser that are small enough to be understood at a glance.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ipc/base/check.h"
#include "runner/engine/engine.h"
#include "tests/unit/engine/drawing_backend.h"

namespace deepserve::runner::testing {

// 0 is BOS, 1 EOS, 2..27 the letters a..z, 28 a space, 29 "ab", 30..32 the three bytes of the euro sign, the
// rest (up to kVocabulary) their number in brackets.
inline constexpr uint32_t kVocabulary = 40;
inline constexpr uint32_t kHiddenWidth = 2;
inline constexpr TokenId kBos = 0;
inline constexpr TokenId kEos = 1;
inline constexpr TokenId kPairAb = 29;
inline constexpr TokenId kEuro0 = 30;
inline constexpr TokenId kPoison = 39;  // has no hidden state
inline TokenId letter(char value) {
  return static_cast<TokenId>(value - 'a') + 2;
}
std::vector<TokenId> letters(std::string_view text);

inline const Result<ChatTemplate> kNoChat = fail(Code::kNotSupported, "the fake model cannot chat");

class FakeTokenizer final : public Tokenizer {
 public:
  FakeTokenizer();
  std::vector<TokenId> encode(std::string_view text, Specials) const override {
    if (on_encode) on_encode(text);
    return letters(text);
  }
  std::string_view token_bytes(TokenId token, bool show_control = false) const override;
  std::string decode(std::span<const TokenId> tokens) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  bool ends_generation(TokenId token) const override { return token == kEos; }

  Vocabulary vocabulary_;
  std::function<void(std::string_view)> on_encode;
};

// What a model computes: the logits [kVocabulary] that follow `history`.
using Model = std::function<void(std::span<const TokenId> history, std::span<float> logits)>;

// Logits out of a hash of the history: every history has its own, EOS is `eos_bias` likelier than the others.
Model hashing_model(float eos_bias = -2.0f);
// Answers `text` (letters and spaces) once the prompt's `prompt_tokens` are over, then EOS.
Model reciting_model(size_t prompt_tokens, std::vector<TokenId> answer);

// The outlines of all of a step's rows of logits.
void write_outlines(std::span<const BatchEntry> batch, size_t vocabulary, const StepOutputs& outputs);

// Keeps tokens where a real one keeps keys and values, so that logits see what the block tables say, right or
// wrong.
class FakeBackend final : public Backend {
 public:
  struct Shape {
    uint32_t blocks = 64;
    uint32_t block_tokens = 4;
    uint32_t batch_tokens_max = 64;
    uint32_t context_tokens = 256;
  };
  explicit FakeBackend(Model model) : FakeBackend(std::move(model), Shape{}) {}
  FakeBackend(Model model, const Shape& shape);

  const BackendInfo& info() const override { return info_; }
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override;
  void copy_block(BlockId from, BlockId to) override;

  // What the last step held.
  struct Entry {
    uint32_t position;
    uint32_t tokens;
    uint32_t logits_rows;
  };
  std::vector<Entry> last_step;
  uint64_t steps = 0;
  uint64_t tokens_run = 0;
  bool broken = false;                     // the next step fails
  std::chrono::microseconds token_time{};  // what each token takes
  std::chrono::microseconds step_time{};   // and each step beside

 private:
  void write_hidden(std::span<const BatchEntry> batch, std::span<float> hidden);
  TokenId& slot(BlockId block, uint32_t offset) { return slots_.at(block * info_.block_tokens + offset); }

  Model model_;
  BackendInfo info_;
  std::vector<TokenId> slots_;  // [blocks, block_tokens]
};

// All that was told of one request.
struct Told {
  bool accepted = false;
  ipc::Accepted acceptance;
  std::vector<float> embedding;
  struct Choice {
    std::vector<TokenId> tokens;
    std::string text;
    std::vector<std::vector<ipc::TokenLogprob>> logprobs;
    uint32_t first_index = 0;
    std::vector<TokenId> echo_tokens;
    std::vector<std::string> echo_texts;  // of each delta
    std::vector<std::vector<ipc::TokenLogprob>> echo_logprobs;
    std::string echo_text() const;
    bool ended = false;
    ipc::FinishReason reason{};
  };
  std::map<uint16_t, Choice> choices;
  bool finished = false;  // all of it
  ipc::Finished last;
  bool failed = false;
  ipc::Failed failure;
  uint32_t terminal_outcomes = 0;
};

// Keeps what is told, and CHECKs that it is in order: nothing before accepted, indices without gap, no echo
// after the answer has begun, one end.
class RecordingSink final : public EventSink {
 public:
  void accepted(const ipc::Accepted& event) override;
  void delta(const ipc::Delta& event) override;
  void embedding(const ipc::Embedding& event) override;
  void finished(const ipc::Finished& event) override;
  void failed(const ipc::Failed& event) override;

  Told& operator[](ipc::RequestId id) { return told[id]; }
  std::map<ipc::RequestId, Told> told;
  std::vector<ipc::RequestId> accepted_order;
};

// What benches have unless their test says so. With DEEPSERVE_TEST_DEVICE "draws" or "ahead" all tests run
// once more.
enum class Device { kGivesLogits, kDraws, kRunsAhead };
Device device_of_environment();

// An engine with all that it borrows.
struct Bench {
  explicit Bench(Model model) : Bench(std::move(model), FakeBackend::Shape{}, EngineOptions{}) {}
  Bench(Model model, const FakeBackend::Shape& shape, EngineOptions options = {},
        Device device = device_of_environment());
  // Steps until nothing is left to do; CHECKs that this comes to an end.
  void run();
  Told& submit_and_run(const ipc::Submit& submit);

  FakeTokenizer tokenizer;
  FakeBackend backend;
  DrawingBackend drawing;
  RecordingSink sink;
  std::unique_ptr<Engine> engine;
};

ipc::Submit token_request(ipc::RequestId id, std::vector<TokenId> prompt, uint32_t tokens_max);

}  // namespace deepserve::runner::testing
