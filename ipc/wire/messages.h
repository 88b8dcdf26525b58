// The messages that dsd and a runner exchange through a lane (DESIGN 5): plain structs, each with encode and
// decode.
//
// encode() gives the body of one lane message; its MessageType travels in the slot. decode() trusts nothing:
// it fails with kBadLane on a truncated, oversized or out-of-range body. Rows of enums are only appended; a
// change of a body's shape raises kAbiMajor (ipc/lane/layout.h), what may be absent at its end kAbiMinor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::ipc {

enum class MessageType : uint16_t {
  // dsd -> runner
  kSubmit = 1,
  kCancel = 2,
  kAcknowledge = 3,
  kControl = 4,
  kQuery = 5,
  // runner -> dsd
  kAccepted = 64,
  kDelta = 65,
  kFinished = 66,
  kFailed = 67,
  kState = 68,
  kAnswer = 69,
  kEmbedding = 70,
  // To a dsd that adopted the runner: a request that it has from an earlier one. The body is the Submit as it
  // was sent; what was told of it follows from its first event on, resumed tokens included, then what is new.
  kAdopted = 71,
};

using RequestId = uint64_t;  // given by dsd, never used twice in its life; 0 is no request
using TokenId = uint32_t;

enum class Class : uint8_t { kVip, kNormal, kBatch, kCount };
std::string_view class_name(Class value);
Result<Class> class_from_name(std::string_view name);

enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kCount };
std::string_view finish_reason_name(FinishReason value);  // OpenAI's words: "stop", "length", "cancelled"

struct ChatMessage {
  std::string role;
  std::string content;
  std::string name = {};          // of the participant, or of the tool that a "tool" message answers for
  std::string reasoning = {};     // of an assistant: what it thought before `content`
  std::string tool_calls = {};    // of an assistant: JSON, a list of OpenAI's tool calls; empty: none
  std::string tool_call_id = {};  // of a "tool" message

  bool operator==(const ChatMessage&) const = default;
};

inline constexpr uint32_t kRestOfContext = 0xffffffff;
inline constexpr uint8_t kNoLogprobs = 0xff;

// What the answer is bound to be: the runner compiles it into masks over the vocabulary.
enum class ConstraintKind : uint8_t {
  kNone,
  kJsonObject,  // any JSON object
  kJsonSchema,  // `text`: the schema, JSON
  kGrammar,     // `text`: GBNF
  kCount,
};

struct Constraint {
  ConstraintKind kind = ConstraintKind::kNone;
  std::string text;

  bool operator==(const Constraint&) const = default;
};

// How tokens are chosen. Ranges are checked by dsd; the runner checks again what could hurt it.
struct Generation {
  uint32_t tokens_max = kRestOfContext;
  uint32_t tokens_min = 0;
  float temperature = 1.0f;  // 0: greedy
  float top_p = 1.0f;
  float min_p = 0.0f;
  uint32_t top_k = 0;  // 0: off
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  uint64_t seed = 0;
  uint16_t choices = 1;            // `n`
  uint8_t logprobs = kNoLogprobs;  // how many alternatives to report; 0: the chosen token only
  bool ignore_eos = false;
  bool echo = false;  // /v1/completions: the prompt comes first, with its logprobs when they are asked for
  std::vector<std::string> stop;
  std::vector<TokenId> stop_tokens;
  std::vector<std::pair<TokenId, float>> logit_bias;
  Constraint constraint;
};

// A choice that had already generated tokens elsewhere: the runner continues at index tokens.size().
struct ResumedChoice {
  uint16_t choice = 0;
  std::vector<TokenId> tokens;
  // Of the tokens so many, the last ones, this dsd has not heard: they are told again, one in a delta. Behind
  // all else in a Submit, and only where there are any: runners of kAbiMinor 1 do not know of it.
  uint32_t unheard = 0;
};

enum class PromptKind : uint8_t { kText, kTokens, kChat, kCount };

struct Prompt {
  PromptKind kind = PromptKind::kText;
  std::string text;               // kText
  std::vector<TokenId> tokens;    // kTokens
  std::vector<ChatMessage> chat;  // kChat
  std::string tools;              // kChat: JSON, a list of OpenAI's tool definitions; empty: none
  std::string template_options;   // kChat: JSON, an object of the template's own switches; empty: none
};

enum class Work : uint8_t {
  kGenerate,
  kEmbed,  // one Embedding, then Finished; of `generation` nothing counts
  kCount,
};

// Whose prompts may share computed blocks of the prefix cache: those of equal salt. All zero: everyone's.
struct PrefixSalt {
  uint64_t low = 0;
  uint64_t high = 0;

  bool operator==(const PrefixSalt&) const = default;
};

struct Submit {
  RequestId request = 0;
  Work work = Work::kGenerate;
  Class service_class = Class::kNormal;
  uint64_t deadline_ns = 0;  // for the first token, CLOCK_MONOTONIC; 0: none
  Prompt prompt;
  Generation generation;
  std::vector<ResumedChoice> resumed;
  std::vector<std::byte> opaque;  // dsd's own (client, key, response shape); kept and given back, never read
  PrefixSalt prefix_salt;

  bool has_unheard() const;  // of what is resumed
  std::vector<std::byte> encode() const;
  static Result<Submit> decode(std::span<const std::byte> body);
};

struct Cancel {
  RequestId request = 0;

  std::vector<std::byte> encode() const;
  static Result<Cancel> decode(std::span<const std::byte> body);
};

// dsd has taken the end of `request`: the runner may forget it.
struct Acknowledge {
  RequestId request = 0;

  std::vector<std::byte> encode() const;
  static Result<Acknowledge> decode(std::span<const std::byte> body);
};

enum class ControlKind : uint8_t {
  kDrain,  // accept no new request, finish what runs, report kDrained, go on answering queries
  kExit,   // end the process now (exit status 0); running requests are dropped without a word
  kCount,
};

struct Control {
  ControlKind kind = ControlKind::kDrain;

  std::vector<std::byte> encode() const;
  static Result<Control> decode(std::span<const std::byte> body);
};

enum class QueryKind : uint8_t { kTokenize, kDetokenize, kCount };

// A question outside any batch, answered between two steps.
struct Query {
  uint64_t query = 0;  // given by dsd, comes back in the Answer
  QueryKind kind = QueryKind::kTokenize;
  Prompt prompt;            // kTokenize: text or chat; kDetokenize: tokens
  bool add_special = true;  // kTokenize of text: add what the model puts first (BOS)

  std::vector<std::byte> encode() const;
  static Result<Query> decode(std::span<const std::byte> body);
};

struct Answer {
  uint64_t query = 0;
  bool failed = false;
  Code code = Code::kInternal;  // when failed
  std::string text;             // kDetokenize: the text; failed: the message
  std::vector<TokenId> tokens;  // kTokenize

  std::vector<std::byte> encode() const;
  static Result<Answer> decode(std::span<const std::byte> body);
};

// The runner has the request, its prompt is within bounds and its first prefill is scheduled: dsd may say
// 200.
struct Accepted {
  RequestId request = 0;
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;  // of these, found in the prefix cache

  std::vector<std::byte> encode() const;
  static Result<Accepted> decode(std::span<const std::byte> body);
};

inline constexpr size_t kTokenTextBytesMax = 1024;  // of a TokenLogprob; real vocabularies stay far below

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
  std::string text;  // the token's own bytes, the first kTokenTextBytesMax of them
};

struct Delta {
  RequestId request = 0;
  uint16_t choice = 0;
  uint32_t index = 0;  // of tokens[0] within the choice; of an echo: within the prompt
  // These are the prompt's own tokens, each told once before the answer's first. The texts of all of an
  // echo's deltas joined are the prompt's decoded text. With logprobs each token has a delta of its own,
  // whose text is the whole characters that it completed: a token's text begins where the one before it
  // ended.
  bool echo = false;
  std::vector<TokenId> tokens;  // also while their text is held back
  std::string text;             // whole UTF-8 characters that these and earlier tokens completed
  // When asked for, one entry for each of `tokens`: [0] is the chosen one, then the best alternatives. The
  // entry of a prompt's very first token is empty: nothing predicts it.
  std::vector<std::vector<TokenLogprob>> logprobs;

  std::vector<std::byte> encode() const;
  void encode(std::vector<std::byte>& body) const;  // in place of what `body` holds, in its memory
  static Result<Delta> decode(std::span<const std::byte> body);
};

inline constexpr size_t kEmbeddingWidthMax = 1u << 16;  // no model's hidden state is wider

// The pooled hidden state of a prompt: the mean over its tokens of the final norm's output, length 1.
struct Embedding {
  RequestId request = 0;
  std::vector<float> values;  // [embedding], at most kEmbeddingWidthMax

  std::vector<std::byte> encode() const;
  static Result<Embedding> decode(std::span<const std::byte> body);
};

struct Usage {
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;
  uint32_t completion_tokens = 0;  // of all choices
  // Tokens that were proposed ahead by prompt lookup and were what the model said; and that were not.
  uint32_t drafts_accepted = 0;
  uint32_t drafts_rejected = 0;
};

struct Timings {
  uint64_t queued_ns = 0;   // in the runner, before its first prefill
  uint64_t prefill_ns = 0;  // from then to the first token
  uint64_t decode_ns = 0;   // from the first token to the last
};

// One choice has ended. `last` is set on the request's last choice: that message is its terminal outcome and
// carries the usage and timings of the whole request.
struct Finished {
  RequestId request = 0;
  uint16_t choice = 0;
  FinishReason reason = FinishReason::kStop;
  bool last = true;
  Usage usage;
  Timings timings;

  std::vector<std::byte> encode() const;
  static Result<Finished> decode(std::span<const std::byte> body);
};

// The whole request has failed: its terminal outcome.
struct Failed {
  RequestId request = 0;
  Code code = Code::kInternal;
  std::string message;

  std::vector<std::byte> encode() const;
  static Result<Failed> decode(std::span<const std::byte> body);
};

enum class RunnerPhase : uint8_t { kLoading, kWarming, kReady, kDraining, kDrained, kFailed, kCount };

// What a runner is. Sent on every change of phase; the model's facts are filled from kReady on.
struct RunnerState {
  RunnerPhase phase = RunnerPhase::kLoading;
  Code code = Code::kInternal;  // kFailed: why; the process exits non-zero right after
  std::string message;          // kFailed: why, naming file, tensor, offset where that is the cause
  std::string architecture;     // "llama", "qwen2", ...
  std::string weights_type;     // "Q8_0", "F32", "mixed ..."
  std::string chat_template;    // its family: "chatml", "llama3", "deepseek", ...; "custom" or "none"
  std::string numerics_id;      // results are bit-equal between runners with the same id (DESIGN 8)
  std::string isa;              // "scalar", "avx2", ...
  uint64_t weight_bytes = 0;
  uint64_t parameters = 0;
  uint32_t vocabulary = 0;
  uint32_t context_tokens = 0;  // in force
  uint32_t context_tokens_model = 0;
  uint32_t kv_blocks = 0;
  uint32_t kv_block_tokens = 0;
  uint32_t sequences_max = 0;  // how many run at once; dsd dispatches no more

  std::vector<std::byte> encode() const;
  static Result<RunnerState> decode(std::span<const std::byte> body);
};

}  // namespace deepserve::ipc
