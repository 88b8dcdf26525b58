#include "ipc/wire/messages.h"

#include <algorithm>
#include <array>

#include "ipc/base/bytes.h"

namespace deepserve::ipc {
namespace {

constexpr std::array<std::string_view, 3> kClassNames = {"vip", "normal", "batch"};
static_assert(kClassNames.size() == static_cast<size_t>(Class::kCount));
constexpr std::array<std::string_view, 3> kReasonNames = {"stop", "length", "cancelled"};
static_assert(kReasonNames.size() == static_cast<size_t>(FinishReason::kCount));

template <typename Names, typename Enum>
std::string_view name_of(const Names& names, Enum value) {
  const auto index = static_cast<size_t>(value);
  return index < names.size() ? names[index] : "unknown";
}

// Reads an enum whose values are 0..kCount-1; false when the byte is no such value.
template <typename Enum>
bool get_enum(ByteReader& in, Enum& value) {
  value = in.get<Enum>();
  return value < Enum::kCount;
}

// Every part of a message in the order of the wire.
template <typename Message>
auto texts_of(Message& message) {
  return std::array{&message.role,      &message.content,    &message.name,
                    &message.reasoning, &message.tool_calls, &message.tool_call_id};
}
constexpr size_t kChatMessageBytesMin = 6 * sizeof(uint32_t);  // the lengths of its parts

void put_prompt(ByteWriter& out, const Prompt& prompt) {
  out.put(prompt.kind);
  out.put_string(prompt.text);
  out.put_array<TokenId>(prompt.tokens);
  out.put(static_cast<uint32_t>(prompt.chat.size()));
  for (const auto& message : prompt.chat) {
    for (const auto* text : texts_of(message)) out.put_string(*text);
  }
  out.put_string(prompt.tools);
  out.put_string(prompt.template_options);
}

bool get_prompt(ByteReader& in, Prompt& prompt) {
  if (!get_enum(in, prompt.kind)) return false;
  prompt.text = in.get_string();
  prompt.tokens = in.get_array<TokenId>();
  prompt.chat.resize(in.get_count(kChatMessageBytesMin));
  for (auto& message : prompt.chat) {
    for (auto* text : texts_of(message)) *text = in.get_string();
  }
  prompt.tools = in.get_string();
  prompt.template_options = in.get_string();
  return in.ok();
}

void put_generation(ByteWriter& out, const Generation& value) {
  out.put(value.tokens_max);
  out.put(value.tokens_min);
  out.put(value.temperature);
  out.put(value.top_p);
  out.put(value.min_p);
  out.put(value.top_k);
  out.put(value.presence_penalty);
  out.put(value.frequency_penalty);
  out.put(value.repetition_penalty);
  out.put(value.seed);
  out.put(value.choices);
  out.put(value.logprobs);
  out.put(static_cast<uint8_t>(value.ignore_eos));
  out.put(static_cast<uint8_t>(value.echo));
  out.put(static_cast<uint32_t>(value.stop.size()));
  for (const auto& text : value.stop) out.put_string(text);
  out.put_array<TokenId>(value.stop_tokens);
  out.put(static_cast<uint32_t>(value.logit_bias.size()));
  for (const auto& [token, bias] : value.logit_bias) {
    out.put(token);
    out.put(bias);
  }
  out.put(value.constraint.kind);
  out.put_string(value.constraint.text);
}

bool get_generation(ByteReader& in, Generation& value) {
  value.tokens_max = in.get<uint32_t>();
  value.tokens_min = in.get<uint32_t>();
  value.temperature = in.get<float>();
  value.top_p = in.get<float>();
  value.min_p = in.get<float>();
  value.top_k = in.get<uint32_t>();
  value.presence_penalty = in.get<float>();
  value.frequency_penalty = in.get<float>();
  value.repetition_penalty = in.get<float>();
  value.seed = in.get<uint64_t>();
  value.choices = in.get<uint16_t>();
  value.logprobs = in.get<uint8_t>();
  value.ignore_eos = in.get<uint8_t>() != 0;
  value.echo = in.get<uint8_t>() != 0;
  value.stop.resize(in.get_count(4));
  for (auto& text : value.stop) text = in.get_string();
  value.stop_tokens = in.get_array<TokenId>();
  value.logit_bias.resize(in.get_count(8));
  for (auto& [token, bias] : value.logit_bias) {
    token = in.get<TokenId>();
    bias = in.get<float>();
  }
  const bool ranges_hold = get_enum(in, value.constraint.kind);
  value.constraint.text = in.get_string();
  return ranges_hold;
}

tl::unexpected<Error> bad_body(std::string_view message) {
  return fail(Code::kBadLane, "a lane message '{}' has a malformed body", message);
}

template <typename Message>
Result<Message> decoded(const ByteReader& in, bool ranges_hold, std::string_view name, Message&& message) {
  if (!in.done() || !ranges_hold) return bad_body(name);
  return std::forward<Message>(message);
}

// The body that consists of one number.
std::vector<std::byte> encode_id(uint64_t id) {
  std::vector<std::byte> body;
  ByteWriter(body).put(id);
  return body;
}

template <typename Message>
Result<Message> decode_id(std::span<const std::byte> body, std::string_view name) {
  ByteReader in(body);
  Message message{in.get<uint64_t>()};
  return decoded(in, true, name, std::move(message));
}

}  // namespace

std::string_view class_name(Class value) {
  return name_of(kClassNames, value);
}
std::string_view finish_reason_name(FinishReason value) {
  return name_of(kReasonNames, value);
}

Result<Class> class_from_name(std::string_view name) {
  for (size_t i = 0; i < kClassNames.size(); ++i) {
    if (kClassNames[i] == name) return static_cast<Class>(i);
  }
  return fail(Code::kInvalidRequest, "'{}' is no class: vip, normal or batch", name);
}

std::vector<std::byte> Submit::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(request);
  out.put(work);
  out.put(service_class);
  out.put(deadline_ns);
  put_prompt(out, prompt);
  put_generation(out, generation);
  out.put(static_cast<uint32_t>(resumed.size()));
  for (const auto& one : resumed) {
    out.put(one.choice);
    out.put_array<TokenId>(one.tokens);
  }
  out.put_string({reinterpret_cast<const char*>(opaque.data()), opaque.size()});
  out.put(prefix_salt.low);
  out.put(prefix_salt.high);
  if (has_unheard()) {
    for (const auto& one : resumed) out.put(one.unheard);
  }
  return body;
}

bool Submit::has_unheard() const {
  return std::ranges::any_of(resumed, [](const ResumedChoice& one) { return one.unheard > 0; });
}

Result<Submit> Submit::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Submit message;
  message.request = in.get<uint64_t>();
  bool ranges_hold = get_enum(in, message.work);
  ranges_hold = get_enum(in, message.service_class) && ranges_hold;
  message.deadline_ns = in.get<uint64_t>();
  ranges_hold = get_prompt(in, message.prompt) && ranges_hold;
  ranges_hold = get_generation(in, message.generation) && ranges_hold;
  message.resumed.resize(in.get_count(6));
  for (auto& one : message.resumed) {
    one.choice = in.get<uint16_t>();
    one.tokens = in.get_array<TokenId>();
  }
  const std::string opaque = in.get_string();
  const auto* first = reinterpret_cast<const std::byte*>(opaque.data());
  message.opaque.assign(first, first + opaque.size());
  message.prefix_salt.low = in.get<uint64_t>();
  message.prefix_salt.high = in.get<uint64_t>();
  if (!in.done()) {
    for (auto& one : message.resumed) {
      one.unheard = in.get<uint32_t>();
      ranges_hold = ranges_hold && one.unheard <= one.tokens.size();
    }
    ranges_hold = ranges_hold && message.has_unheard();
  }
  return decoded(in, ranges_hold && message.request != 0, "submit", std::move(message));
}

std::vector<std::byte> Cancel::encode() const {
  return encode_id(request);
}
Result<Cancel> Cancel::decode(std::span<const std::byte> body) {
  return decode_id<Cancel>(body, "cancel");
}

std::vector<std::byte> Acknowledge::encode() const {
  return encode_id(request);
}
Result<Acknowledge> Acknowledge::decode(std::span<const std::byte> body) {
  return decode_id<Acknowledge>(body, "acknowledge");
}

std::vector<std::byte> Control::encode() const {
  std::vector<std::byte> body;
  ByteWriter(body).put(kind);
  return body;
}

Result<Control> Control::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Control message;
  const bool ranges_hold = get_enum(in, message.kind);
  return decoded(in, ranges_hold, "control", std::move(message));
}

std::vector<std::byte> Query::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(query);
  out.put(kind);
  put_prompt(out, prompt);
  out.put(static_cast<uint8_t>(add_special));
  return body;
}

Result<Query> Query::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Query message;
  message.query = in.get<uint64_t>();
  bool ranges_hold = get_enum(in, message.kind);
  ranges_hold = get_prompt(in, message.prompt) && ranges_hold;
  message.add_special = in.get<uint8_t>() != 0;
  return decoded(in, ranges_hold, "query", std::move(message));
}

std::vector<std::byte> Answer::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(query);
  out.put(static_cast<uint8_t>(failed));
  out.put(code);
  out.put_string(text);
  out.put_array<TokenId>(tokens);
  return body;
}

Result<Answer> Answer::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Answer message;
  message.query = in.get<uint64_t>();
  message.failed = in.get<uint8_t>() != 0;
  const bool ranges_hold = get_enum(in, message.code);
  message.text = in.get_string();
  message.tokens = in.get_array<TokenId>();
  return decoded(in, ranges_hold, "answer", std::move(message));
}

std::vector<std::byte> Accepted::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(request);
  out.put(prompt_tokens);
  out.put(cached_tokens);
  return body;
}

Result<Accepted> Accepted::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Accepted message;
  message.request = in.get<uint64_t>();
  message.prompt_tokens = in.get<uint32_t>();
  message.cached_tokens = in.get<uint32_t>();
  return decoded(in, true, "accepted", std::move(message));
}

std::vector<std::byte> Delta::encode() const {
  std::vector<std::byte> body;
  encode(body);
  return body;
}

void Delta::encode(std::vector<std::byte>& body) const {
  body.clear();
  ByteWriter out(body);
  out.put(request);
  out.put(choice);
  out.put(index);
  out.put(static_cast<uint8_t>(echo));
  out.put_array<TokenId>(tokens);
  out.put_string(text);
  out.put(static_cast<uint8_t>(!logprobs.empty()));
  for (const auto& entry : logprobs) {
    out.put(static_cast<uint32_t>(entry.size()));
    for (const auto& one : entry) {
      out.put(one.token);
      out.put(one.logprob);
      out.put_string(one.text);
    }
  }
}

Result<Delta> Delta::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Delta message;
  message.request = in.get<uint64_t>();
  message.choice = in.get<uint16_t>();
  message.index = in.get<uint32_t>();
  message.echo = in.get<uint8_t>() != 0;
  message.tokens = in.get_array<TokenId>();
  message.text = in.get_string();
  if (in.get<uint8_t>() != 0) message.logprobs.resize(message.tokens.size());
  for (auto& entry : message.logprobs) {
    entry.resize(in.get_count(12));
    for (auto& one : entry) {
      one.token = in.get<TokenId>();
      one.logprob = in.get<float>();
      one.text = in.get_string();
    }
  }
  return decoded(in, true, "delta", std::move(message));
}

std::vector<std::byte> Embedding::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(request);
  out.put_array<float>(values);
  return body;
}

Result<Embedding> Embedding::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Embedding message;
  message.request = in.get<uint64_t>();
  message.values = in.get_array<float>();
  return decoded(in, true, "embedding", std::move(message));
}

std::vector<std::byte> Finished::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(request);
  out.put(choice);
  out.put(reason);
  out.put(static_cast<uint8_t>(last));
  out.put(usage.prompt_tokens);
  out.put(usage.cached_tokens);
  out.put(usage.completion_tokens);
  out.put(usage.drafts_accepted);
  out.put(usage.drafts_rejected);
  out.put(timings.queued_ns);
  out.put(timings.prefill_ns);
  out.put(timings.decode_ns);
  return body;
}

Result<Finished> Finished::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Finished message;
  message.request = in.get<uint64_t>();
  message.choice = in.get<uint16_t>();
  const bool ranges_hold = get_enum(in, message.reason);
  message.last = in.get<uint8_t>() != 0;
  message.usage.prompt_tokens = in.get<uint32_t>();
  message.usage.cached_tokens = in.get<uint32_t>();
  message.usage.completion_tokens = in.get<uint32_t>();
  message.usage.drafts_accepted = in.get<uint32_t>();
  message.usage.drafts_rejected = in.get<uint32_t>();
  message.timings.queued_ns = in.get<uint64_t>();
  message.timings.prefill_ns = in.get<uint64_t>();
  message.timings.decode_ns = in.get<uint64_t>();
  return decoded(in, ranges_hold, "finished", std::move(message));
}

std::vector<std::byte> Failed::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(request);
  out.put(code);
  out.put_string(message);
  return body;
}

Result<Failed> Failed::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  Failed failed;
  failed.request = in.get<uint64_t>();
  const bool ranges_hold = get_enum(in, failed.code);
  failed.message = in.get_string();
  return decoded(in, ranges_hold, "failed", std::move(failed));
}

std::vector<std::byte> RunnerState::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(phase);
  out.put(code);
  for (const auto* text : {&message, &architecture, &weights_type, &chat_template, &numerics_id, &isa}) {
    out.put_string(*text);
  }
  out.put(weight_bytes);
  out.put(parameters);
  for (const uint32_t number :
       {vocabulary, context_tokens, context_tokens_model, kv_blocks, kv_block_tokens, sequences_max}) {
    out.put(number);
  }
  return body;
}

Result<RunnerState> RunnerState::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  RunnerState state;
  bool ranges_hold = get_enum(in, state.phase);
  ranges_hold = get_enum(in, state.code) && ranges_hold;
  for (auto* text : {&state.message, &state.architecture, &state.weights_type, &state.chat_template,
                     &state.numerics_id, &state.isa}) {
    *text = in.get_string();
  }
  state.weight_bytes = in.get<uint64_t>();
  state.parameters = in.get<uint64_t>();
  for (auto* number : {&state.vocabulary, &state.context_tokens, &state.context_tokens_model,
                       &state.kv_blocks, &state.kv_block_tokens, &state.sequences_max}) {
    *number = in.get<uint32_t>();
  }
  return decoded(in, ranges_hold, "state", std::move(state));
}

}  // namespace deepserve::ipc
