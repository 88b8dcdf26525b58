#include "ipc/wire/messages.h"

#include <gtest/gtest.h>

namespace deepserve::ipc {
namespace {

Submit full_submit() {
  Submit submit;
  submit.request = 42;
  submit.service_class = Class::kVip;
  submit.deadline_ns = 123456789;
  submit.prompt.kind = PromptKind::kChat;
  submit.prompt.text = "text";
  submit.prompt.tokens = {1, 2, 3};
  const ChatMessage call{.role = "assistant", .content = "", .reasoning = "hm", .tool_calls = "[]"};
  const ChatMessage told{.role = "tool", .content = "21 C", .name = "weather", .tool_call_id = "call_1"};
  submit.prompt.chat = {{"user", "hello", "ann"}, call, told};
  submit.prompt.tools = "[{}]";
  submit.prompt.template_options = "{}";
  submit.generation.tokens_max = 17;
  submit.generation.temperature = 0.5f;
  submit.generation.seed = 99;
  submit.generation.choices = 2;
  submit.generation.logprobs = 3;
  submit.generation.stop = {"\n\n", "END"};
  submit.generation.stop_tokens = {7};
  submit.generation.logit_bias = {{5, -1.0f}, {6, 2.0f}};
  submit.generation.constraint = {ConstraintKind::kGrammar, "root ::= [a-z]+"};
  submit.resumed = {{.choice = 1, .tokens = {10, 11}}, {.choice = 2, .tokens = {12}}};
  submit.opaque = {std::byte{1}, std::byte{0}, std::byte{2}};
  submit.prefix_salt = {0x1122334455667788, 0x99};
  return submit;
}

Delta full_delta() {
  Delta delta;
  delta.request = 42;
  delta.choice = 1;
  delta.index = 5;
  delta.echo = true;
  delta.tokens = {100, 101};
  delta.text = "hé";
  delta.logprobs = {{{100, -0.5f, "h"}, {9, -2.0f, "x"}}, {{101, -0.1f, "\xc3\xa9"}}};
  return delta;
}

// Every message type, encoded.
std::vector<std::pair<std::string, std::vector<std::byte>>> every_body() {
  RunnerState state;
  state.phase = RunnerPhase::kReady;
  state.architecture = "llama";
  state.weight_bytes = 1u << 30;
  Query query;
  query.query = 9;
  query.prompt.text = "abc";
  Answer answer;
  answer.query = 9;
  answer.tokens = {1, 2};
  Failed failed;
  failed.request = 1;
  failed.code = Code::kOutOfMemory;
  failed.message = "no block is free";
  Finished finished;
  finished.request = 3;
  finished.usage = {.prompt_tokens = 5, .cached_tokens = 2, .completion_tokens = 7};
  Accepted accepted;
  accepted.request = 3;
  return {{"submit", full_submit().encode()},
          {"cancel", Cancel{7}.encode()},
          {"acknowledge", Acknowledge{7}.encode()},
          {"control", Control{ControlKind::kExit}.encode()},
          {"query", query.encode()},
          {"answer", answer.encode()},
          {"accepted", accepted.encode()},
          {"delta", full_delta().encode()},
          {"finished", finished.encode()},
          {"failed", failed.encode()},
          {"embedding", Embedding{3, {0.6f, -0.8f}}.encode()},
          {"state", state.encode()}};
}

// Whether the message of that name accepts the body.
bool decodes(const std::string& name, std::span<const std::byte> body) {
  if (name == "submit") return Submit::decode(body).has_value();
  if (name == "cancel") return Cancel::decode(body).has_value();
  if (name == "acknowledge") return Acknowledge::decode(body).has_value();
  if (name == "control") return Control::decode(body).has_value();
  if (name == "query") return Query::decode(body).has_value();
  if (name == "answer") return Answer::decode(body).has_value();
  if (name == "accepted") return Accepted::decode(body).has_value();
  if (name == "delta") return Delta::decode(body).has_value();
  if (name == "finished") return Finished::decode(body).has_value();
  if (name == "failed") return Failed::decode(body).has_value();
  if (name == "embedding") return Embedding::decode(body).has_value();
  return RunnerState::decode(body).has_value();
}

TEST(Messages, EncodingADecodedBodyGivesTheSameBytes) {
  const auto submit = full_submit().encode();
  EXPECT_EQ(Submit::decode(submit)->encode(), submit);
  const auto delta = full_delta().encode();
  EXPECT_EQ(Delta::decode(delta)->encode(), delta);
  for (const auto& [name, body] : every_body()) EXPECT_TRUE(decodes(name, body)) << name;
}

TEST(Messages, ASubmitTellsOfUnheardTokensBehindAllElseAndOnlyWhereThereAreAny) {
  Submit submit = full_submit();
  const auto without = submit.encode();
  EXPECT_FALSE(Submit::decode(without)->has_unheard());
  submit.resumed[0].unheard = 2;
  const auto body = submit.encode();
  EXPECT_TRUE(std::equal(without.begin(), without.end(), body.begin()));
  const auto decoded = Submit::decode(body);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->resumed[0].unheard, 2u);
  EXPECT_EQ(decoded->resumed[1].unheard, 0u);
  for (size_t size = without.size() + 1; size < body.size(); ++size)
    EXPECT_FALSE(Submit::decode(std::span(body).first(size))) << "cut to " << size << " bytes";
}

TEST(Messages, UnheardTokensAreSomeAndNoMoreThanThereAre) {
  Submit submit = full_submit();
  submit.resumed[1].unheard = 2;
  EXPECT_FALSE(Submit::decode(submit.encode()));
  auto none = full_submit().encode();
  none.resize(none.size() + 2 * sizeof(uint32_t));
  EXPECT_FALSE(Submit::decode(none));
}

TEST(Messages, ASubmitKeepsWhatMayNotBeLostOnTheWay) {
  const auto decoded = Submit::decode(full_submit().encode());
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->service_class, Class::kVip);
  EXPECT_EQ(decoded->deadline_ns, 123456789u);
  ASSERT_EQ(decoded->resumed.size(), 2u);
  EXPECT_EQ(decoded->resumed[0].choice, 1);
  EXPECT_EQ(decoded->resumed[0].tokens, (std::vector<TokenId>{10, 11}));
  EXPECT_EQ(decoded->opaque, full_submit().opaque);
  EXPECT_EQ(decoded->prefix_salt, full_submit().prefix_salt);
  EXPECT_EQ(decoded->prompt.chat, full_submit().prompt.chat);
  EXPECT_EQ(decoded->prompt.tools, "[{}]");
  EXPECT_EQ(decoded->generation.constraint, full_submit().generation.constraint);
}

TEST(Messages, EveryTruncationOfEveryBodyIsRefused) {
  for (const auto& [name, body] : every_body()) {
    for (size_t size = 0; size < body.size(); ++size) {
      EXPECT_FALSE(decodes(name, std::span(body).first(size))) << name << " cut to " << size << " bytes";
    }
  }
}

TEST(Messages, ABodyWithBytesLeftOverIsRefused) {
  for (auto [name, body] : every_body()) {
    body.push_back(std::byte{0});
    EXPECT_FALSE(decodes(name, body)) << name;
  }
}

TEST(Messages, ValuesOutOfTheirRangeAreRefused) {
  auto submit = full_submit().encode();
  submit[8] = std::byte{2};  // the work behind the request's 8 bytes
  EXPECT_FALSE(Submit::decode(submit));
  submit[8] = std::byte{0};
  submit[9] = std::byte{3};  // the class
  EXPECT_FALSE(Submit::decode(submit));
  auto control = Control{ControlKind::kDrain}.encode();
  control[0] = std::byte{200};
  EXPECT_EQ(Control::decode(control).error().code, Code::kBadLane);
  auto nobody = full_submit();
  nobody.request = 0;
  EXPECT_FALSE(Submit::decode(nobody.encode()));
}

TEST(Messages, BytesTurnedAtRandomNeverBreakTheDecoder) {
  uint64_t state = 88172645463325252;  // xorshift64
  for (const auto& [name, body] : every_body()) {
    for (int round = 0; round < 2000; ++round) {
      auto broken = body;
      for (int turned = 0; turned < 4; ++turned) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        broken[state % broken.size()] = static_cast<std::byte>(state >> 32);
      }
      decodes(name, broken);  // whatever it says, it neither crashes nor reads beyond (ASan)
    }
  }
}

TEST(Messages, NamesAndClassesLeadToEachOther) {
  for (const auto one : {Class::kVip, Class::kNormal, Class::kBatch}) {
    EXPECT_EQ(*class_from_name(class_name(one)), one);
  }
  EXPECT_FALSE(class_from_name("platinum"));
  EXPECT_EQ(finish_reason_name(FinishReason::kLength), "length");
  EXPECT_EQ(finish_reason_name(static_cast<FinishReason>(77)), "unknown");
}

}  // namespace
}  // namespace deepserve::ipc
