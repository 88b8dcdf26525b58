#include "daemon/api/completion.h"

#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

const std::string kChat = R"("messages": [{"role": "user", "content": "hi"}])";
std::string chat(const std::string& more = "") {
  return post("/v1/chat/completions", "{" + kChat + more + "}");
}
std::string text(const std::string& more = "") {
  return post("/v1/completions", R"({"prompt": "hi")" + more + "}");
}
const std::string kStream = R"(, "stream": true)";

// The data of each event of a stream, [DONE] included.
std::vector<std::string> events(const std::string& body) {
  std::vector<std::string> data;
  size_t at = 0;
  while ((at = body.find("data: ", at)) != std::string::npos) {
    const size_t end = body.find('\n', at);
    data.push_back(body.substr(at + 6, end - at - 6));
    at = end;
  }
  return data;
}

std::string_view string_at(const boost::json::value& value, const char* pointer) {
  return value.at_pointer(pointer).as_string();
}

TEST(Completion, AnswersAChatInOnePiece) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat()));
  ResponseSink& sink = test.sink();
  sink.on_accepted({.request = 1, .prompt_tokens = 5, .cached_tokens = 2});
  sink.on_delta(delta("Hello"));
  sink.on_delta(delta(" \"you\"\n"));
  sink.on_finished(finished());
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.fields.at("x-request-id"), "0000000000000001");
  const auto body = json_of(answer.body);
  EXPECT_EQ(string_at(body, "/id"), "chatcmpl-0000000000000001");
  EXPECT_EQ(string_at(body, "/object"), "chat.completion");
  EXPECT_EQ(string_at(body, "/model"), "tiny");
  EXPECT_EQ(string_at(body, "/system_fingerprint"), "fp-1");
  EXPECT_EQ(string_at(body, "/choices/0/message/role"), "assistant");
  EXPECT_EQ(string_at(body, "/choices/0/message/content"), "Hello \"you\"\n");
  EXPECT_EQ(string_at(body, "/choices/0/finish_reason"), "stop");
  EXPECT_EQ(body.at_pointer("/usage/prompt_tokens").as_int64(), 5);
  EXPECT_EQ(body.at_pointer("/usage/total_tokens").as_int64(), 8);
  EXPECT_EQ(body.at_pointer("/usage/prompt_tokens_details/cached_tokens").as_int64(), 2);
  const auto& details = body.at_pointer("/usage/completion_tokens_details");
  EXPECT_EQ(details.at("accepted_prediction_tokens").as_int64(), 1);
  EXPECT_EQ(details.at("rejected_prediction_tokens").as_int64(), 4);
  EXPECT_TRUE(test.serving.forgotten.empty());
}

TEST(Completion, StreamsAChat) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream + R"(, "stream_options": {"include_usage": true})")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  EXPECT_EQ(client.part("assistant").fields.at("content-type"), "text/event-stream; charset=utf-8");
  sink.on_delta(delta("Hel"));
  EXPECT_FALSE(client.part("Hel").complete);
  sink.on_delta(delta("lo", {8, 9}));
  sink.on_delta(delta("!"));
  sink.on_finished(finished(ipc::FinishReason::kLength));
  const Answer answer = client.answer();
  const auto data = events(answer.body);
  ASSERT_EQ(data.size(), 6u);  // role, Hel, lo! (came together), finish, usage, [DONE]
  EXPECT_EQ(string_at(json_of(data[0]), "/choices/0/delta/role"), "assistant");
  EXPECT_EQ(string_at(json_of(data[0]), "/object"), "chat.completion.chunk");
  EXPECT_TRUE(json_of(data[0]).at("usage").is_null());
  EXPECT_EQ(string_at(json_of(data[1]), "/choices/0/delta/content"), "Hel");
  EXPECT_EQ(string_at(json_of(data[2]), "/choices/0/delta/content"), "lo!");
  EXPECT_TRUE(json_of(data[2]).at_pointer("/choices/0/finish_reason").is_null());
  EXPECT_EQ(string_at(json_of(data[3]), "/choices/0/finish_reason"), "length");
  EXPECT_TRUE(json_of(data[4]).at("choices").as_array().empty());
  EXPECT_EQ(json_of(data[4]).at_pointer("/usage/completion_tokens").as_int64(), 3);
  EXPECT_EQ(data[5], "[DONE]");
  EXPECT_NE(answer.body.find("id: 0000000000000001:0\n"), std::string::npos);
  EXPECT_NE(answer.body.find("id: 0000000000000001:1\ndata: "), std::string::npos);
  EXPECT_NE(answer.body.find("id: 0000000000000001:4\ndata: "), std::string::npos);
}

TEST(Completion, StreamsTextOfSeveralChoices) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text(kStream + R"(, "n": 2)")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_delta(delta("a", {1}, 0));
  sink.on_delta(delta("b", {1, 2}, 1));
  sink.on_finished(finished(ipc::FinishReason::kStop, false, 1));
  sink.on_finished(finished(ipc::FinishReason::kStop, true, 0));
  const Answer answer = client.answer();
  const auto data = events(answer.body);
  ASSERT_EQ(data.size(), 5u);
  EXPECT_EQ(string_at(json_of(data[0]), "/choices/0/text"), "a");
  EXPECT_EQ(json_of(data[2]).at_pointer("/choices/0/index").as_int64(), 1);
  EXPECT_EQ(string_at(json_of(data[2]), "/object"), "text_completion");
  EXPECT_NE(answer.body.find("id: 0000000000000001:1f.2\n"), std::string::npos);
}

TEST(Completion, The200WaitsForAccepted) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream)));
  ResponseSink& sink = test.sink();
  EXPECT_EQ(client.received(), "");
  sink.on_accepted({});
  EXPECT_EQ(client.part("assistant").status, 200);
}

TEST(Completion, ARefusalSaysWhenToComeBack) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream)));
  test.sink().on_refused(refusal(1200, ipc::Class::kBatch));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.fields.at("retry-after"), "2");
  EXPECT_EQ(answer.fields.at("retry-after-ms"), "1200");
  const auto error = json_of(answer.body).at("error");
  EXPECT_EQ(string_at(error, "/code"), "server_overloaded");
  EXPECT_EQ(string_at(error, "/reason"), "queue_full");
  EXPECT_EQ(string_at(error, "/class"), "batch");
  EXPECT_EQ(error.at("retry_after_ms").as_int64(), 1200);
  EXPECT_TRUE(test.serving.forgotten.empty());
}

TEST(Completion, AFailureBeforeThe200HasItsOwnStatus) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream)));
  test.sink().on_failed({Code::kContextLength, "the prompt has 5000 tokens, the context 1024"});
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(string_at(json_of(answer.body), "/error/code"), "context_length_exceeded");
}

TEST(Completion, AFailureAfterThe200EndsTheStreamWithoutDone) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream)));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_delta(delta("Hel"));
  sink.on_failed({Code::kRunnerLost, "the runner died"});
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body.find("[DONE]"), std::string::npos);
  const size_t event = answer.body.find("event: error\ndata: ");
  ASSERT_NE(event, std::string::npos);
  EXPECT_LT(answer.body.find("Hel"), event);
  EXPECT_EQ(string_at(json_of(events(answer.body).back()), "/error/code"), "runner_lost");
}

TEST(Completion, AFailureOfAnAnswerInOnePieceHasItsStatus) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text()));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_delta(delta("Hel"));
  sink.on_failed({Code::kRunnerLost, "the runner died"});
  EXPECT_EQ(client.answer().status, 502);
}

TEST(Completion, AHangUpForgetsTheRequest) {
  ApiServer test;
  for (const std::string& request : {chat(), chat(kStream)}) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(request));
    const RequestId id = test.serving.forgotten.size() + 1;
    ResponseSink& sink = test.sink(id);
    sink.on_accepted({});
    sink.on_delta(delta("x"));
    client.hang_up();
    EXPECT_TRUE(pump_until(
        test.loop, [&] { return !test.serving.forgotten.empty() && test.serving.forgotten.back() == id; }));
  }
}

TEST(Completion, AHangUpWhileQueuedForgetsTheRequest) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat()));
  test.sink();
  client.hang_up();
  EXPECT_TRUE(pump_until(test.loop, [&] { return test.serving.forgotten == std::vector<RequestId>{1}; }));
}

TEST(Completion, TheNextRequestOfAConnectionGetsItsOwnAnswer) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text() + text(kStream)));
  ResponseSink& first = test.sink(1);
  EXPECT_FALSE(test.serving.started.contains(2));  // one after the other
  first.on_accepted({});
  first.on_delta(delta("one"));
  first.on_finished(finished());
  EXPECT_NE(client.answer().body.find("one"), std::string::npos);
  ResponseSink& second = test.sink(2);
  second.on_accepted({});
  second.on_delta(delta("two"));
  second.on_finished(finished());
  EXPECT_NE(client.answer().body.find("two"), std::string::npos);
}

TEST(Completion, HeldBackTokensAreNotTold) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text(kStream)));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_delta(delta("a"));
  ASSERT_NE(client.part("\"a\"").status, 0);
  sink.on_delta(delta(""));  // half a character
  pump_some(test.loop);
  EXPECT_EQ(client.received().find(":2\n"), std::string::npos);
  sink.on_delta(delta("\u20ac"));
  EXPECT_NE(client.part("\u20ac").body.find("id: 0000000000000001:3\n"), std::string::npos);
}

TEST(Completion, ASilentStreamIsKeptAliveByComments) {
  HttpLimits limits;
  limits.sweep_ms = 5;
  ApiServer test(limits, 20);
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream)));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  EXPECT_NE(client.part(": keep-alive\n: keep-alive\n").status, 0);
}

TEST(Completion, ASlowReaderIsForgotten) {
  HttpLimits limits;
  limits.sweep_ms = 5;
  limits.write_timeout_ms = 50;
  limits.unsent_bytes_max = 100'000;
  ApiServer test(limits);
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream)));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  EXPECT_TRUE(pump_until(test.loop, [&] {
    if (test.serving.forgotten.empty()) sink.on_delta(delta(std::string(50'000, 'x')));
    return !test.serving.forgotten.empty();
  }));
  EXPECT_EQ(test.server.counters().slow_readers_total, 1u);
}

TEST(Completion, AnAnswerTooLargeToBeGatheredIsRefused) {
  ApiServer test({}, 10'000, 100'000);
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat()));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_delta(delta(std::string(100'000, 'x')));
  EXPECT_TRUE(test.serving.forgotten.empty());
  sink.on_delta(delta("x"));
  EXPECT_EQ(test.serving.forgotten, std::vector<RequestId>{1});
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(string_at(json_of(answer.body), "/error/code"), "payload_too_large");
  EXPECT_NE(answer.body.find("100000 bytes"), std::string::npos) << answer.body;
  client.hang_up();
  EXPECT_TRUE(pump_until(test.loop, [&] { return test.server.connections() == 0; }));
  EXPECT_EQ(test.serving.forgotten.size(), 1u);
}

TEST(Completion, LogProbabilitiesCountAsPartOfTheAnswer) {
  ApiServer test({}, 10'000, 100'000);
  Client client = test.connect();
  ASSERT_TRUE(client.send(text(R"(, "n": 2, "logprobs": 20)")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  for (uint16_t i = 0; i < 1000 && test.serving.forgotten.empty(); ++i) {
    ipc::Delta event = delta("x", {1}, i % 2);
    event.logprobs = {std::vector<ipc::TokenLogprob>(21, {1, -0.5f, "token"})};
    for (ipc::TokenId token = 0; token < 21; ++token) {
      event.logprobs[0][token].token = token;
      event.logprobs[0][token].text += std::to_string(token);
    }
    sink.on_delta(event);
  }
  EXPECT_EQ(client.answer().status, 413);
}

TEST(Completion, AStreamThatIsNotReadFailsBeforeItGathersTooMuch) {
  HttpLimits limits;
  limits.unsent_bytes_max = 100'000;
  ApiServer test(limits, 10'000, 100'000);
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream)));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  EXPECT_TRUE(pump_until(test.loop, [&] {
    if (test.serving.forgotten.empty()) sink.on_delta(delta(std::string(50'000, 'x')));
    return !test.serving.forgotten.empty();
  }));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body.find("[DONE]"), std::string::npos);
  EXPECT_EQ(string_at(json_of(events(answer.body).back()), "/error/code"), "slow_reader");
}

TEST(Completion, AStreamThatIsReadMayBeOfAnyLength) {
  ApiServer test({}, 10'000, 100'000);
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(kStream)));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  for (const char letter : std::string("abcdefghij")) {
    const std::string piece(60'000, letter);
    sink.on_delta(delta(piece));
    ASSERT_EQ(client.part(piece).status, 200);
  }
  sink.on_finished(finished());
  EXPECT_EQ(events(client.answer().body).back(), "[DONE]");
}

TEST(Completion, TellsLogProbabilitiesOfAChat) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(chat(R"(, "logprobs": true, "top_logprobs": 2)")));
  ResponseSink& sink = test.sink();
  EXPECT_EQ(test.spec().generation.logprobs, 2);
  sink.on_accepted({});
  ipc::Delta event = delta("\u20ac", {1, 2});
  event.logprobs = {{{1, -0.5f, "\xe2"}, {1, -0.5f, "\xe2"}, {3, -1.5f, "b"}},
                    {{2, -0.25f, "\x82\xac"}, {4, -2, "c"}}};
  sink.on_delta(event);
  sink.on_finished(finished());
  const auto body = json_of(client.answer().body);
  const auto& content = body.at_pointer("/choices/0/logprobs/content").as_array();
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(boost::json::serialize(content[0].at("bytes")), "[226]");
  EXPECT_EQ(content[0].at("logprob").as_double(), -0.5);
  EXPECT_EQ(content[0].at("top_logprobs").as_array().size(), 2u);
  EXPECT_EQ(string_at(content[1], "/top_logprobs/1/token"), "c");
}

TEST(Completion, TellsLogProbabilitiesOfText) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text(R"(, "logprobs": 1)")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  ipc::Delta event = delta("ab", {1, 2});
  event.logprobs = {{{1, -0.5f, "a"}, {3, -0.25f, "z"}}, {{2, -1, "b"}, {2, -1, "b"}}};
  sink.on_delta(event);
  sink.on_finished(finished());
  const auto body = json_of(client.answer().body);
  EXPECT_EQ(boost::json::serialize(body.at_pointer("/choices/0/logprobs/tokens")), R"(["a","b"])");
  EXPECT_EQ(boost::json::serialize(body.at_pointer("/choices/0/logprobs/text_offset")), "[0,1]");
  EXPECT_EQ(body.at_pointer("/choices/0/logprobs/top_logprobs/0/z").as_double(), -0.25);
}

TEST(Completion, TokensThatAreNoTextAreToldByTheirBytesAndNoNameComesTwice) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text(R"(, "logprobs": 3)")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  ipc::Delta event = delta("\u20ac", {1, 2});
  event.logprobs = {{{1, -0.5f, "\xe2"}, {1, -0.5f, "\xe2"}, {3, -1, "b"}, {4, -2, "b"}},
                    {{2, -1, "\x82\xac"}}};
  sink.on_delta(event);
  sink.on_finished(finished());
  const std::string body = client.answer().body;
  EXPECT_NE(body.find(R"("tokens":["bytes:\\xe2","bytes:\\x82\\xac"])"), std::string::npos) << body;
  EXPECT_NE(body.find(R"("top_logprobs":[{"bytes:\\xe2":-0.5,"b":-1},{"bytes:\\x82\\xac":-1}])"),
            std::string::npos)
      << body;
  EXPECT_NE(body.find(R"("text_offset":[0,1])"), std::string::npos) << body;
}

}  // namespace
}  // namespace deepserve::daemon
