// What a client may learn of its own requests, and how it ends them.
#include "daemon/api/answer_log.h"
#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

std::string del(const std::string& path) {
  return "DELETE " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
}

boost::json::value ask(ApiServer& test, const std::string& request, int status = 200) {
  Client client = test.connect();
  EXPECT_TRUE(client.send(request));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, status) << request << answer.body;
  return json_of(answer.body);
}

const std::string kId = "/v1/requests/0000000000000001";
const std::string kText = post("/v1/completions", R"({"prompt": "a", "n": 2})");

TEST(Requests, AreShownWhileTheyRunAndForAWhileAfterwards) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(kText));
  ResponseSink& sink = test.sink();
  auto row = ask(test, get(kId));
  EXPECT_EQ(row.at("id").as_string(), "0000000000000001");
  EXPECT_EQ(row.at("state").as_string(), "queued");
  EXPECT_EQ(row.at("endpoint").as_string(), "completions");
  EXPECT_EQ(row.at("model").as_string(), "tiny");
  EXPECT_TRUE(row.at_pointer("/timings/queued_ms").is_null());
  sink.on_accepted({.request = 1, .prompt_tokens = 5, .cached_tokens = 2});
  sink.on_delta(delta("x", {1, 2}));
  sink.on_finished(finished(ipc::FinishReason::kLength, false, 1));
  row = ask(test, get("/v1/requests/cmpl-0000000000000001"));
  EXPECT_EQ(row.at("state").as_string(), "running");
  EXPECT_EQ(boost::json::serialize(row.at("finish_reasons")), R"([null,"length"])");
  EXPECT_EQ(row.at_pointer("/usage/prompt_tokens").as_int64(), 5);
  EXPECT_EQ(row.at_pointer("/usage/completion_tokens").as_int64(), 2);
  EXPECT_GE(row.at_pointer("/timings/first_token_ms").as_double(), 0);
  sink.on_finished(finished());
  ASSERT_EQ(client.answer().status, 200);
  row = ask(test, get(kId));
  EXPECT_EQ(row.at("state").as_string(), "finished");
  EXPECT_EQ(boost::json::serialize(row.at("finish_reasons")), R"(["stop","length"])");
  EXPECT_EQ(row.at_pointer("/usage/total_tokens").as_int64(), 8);
  EXPECT_TRUE(row.at("error").is_null());
}

TEST(Requests, SayWhyTheyFailed) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(
      client.send(post("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "a"}]})")));
  test.sink().on_failed({Code::kRunnerLost, "the runner died"});
  ASSERT_EQ(client.answer().status, 502);
  const auto row = ask(test, get("/v1/requests/chatcmpl-0000000000000001"));
  EXPECT_EQ(row.at("state").as_string(), "failed");
  EXPECT_EQ(row.at_pointer("/error/code").as_string(), "runner_lost");
}

TEST(Requests, OfClientsThatLeftAreCancelled) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(kText));
  test.sink();
  client.hang_up();
  ASSERT_TRUE(pump_until(test.loop, [&] { return !test.serving.forgotten.empty(); }));
  EXPECT_EQ(ask(test, get(kId)).at("state").as_string(), "cancelled");
}

TEST(Requests, AreCancelledByTheirOwnClient) {
  for (const std::string& cancel : {del(kId), "POST " + kId + "/cancel HTTP/1.1\r\nHost: x\r\n\r\n"}) {
    ApiServer test;
    Client client = test.connect();
    ASSERT_TRUE(client.send(kText));
    test.sink().on_accepted({});
    EXPECT_EQ(ask(test, cancel).at("state").as_string(), "cancelled");
    EXPECT_EQ(test.serving.forgotten, std::vector<RequestId>{1});
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 499);
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/code").as_string(), "request_cancelled");
    ASSERT_TRUE(client.send(cancel));
    const Answer again = client.answer();
    EXPECT_EQ(again.status, 409);
    EXPECT_EQ(json_of(again.body).at_pointer("/error/code").as_string(), "conflict");
    EXPECT_EQ(again.fields.at("x-should-retry"), "false");
  }
}

TEST(Requests, AStreamThatIsCancelledEndsWithAnError) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": ["a", "b"], "stream": true})")));
  test.sink(1).on_accepted({});
  test.sink(2).on_accepted({});
  ask(test, del("/v1/requests/cmpl-0000000000000001"));
  EXPECT_EQ(test.serving.forgotten, (std::vector<RequestId>{1, 2}));
  EXPECT_NE(
      client.answer().body.find("event: error\ndata: {\"error\":{\"message\":\"the request was cancelled"),
      std::string::npos);
}

TEST(Requests, EmbeddingsAreShownAndCancelledToo) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/embeddings", R"({"input": "a"})")));
  test.sink();
  EXPECT_EQ(ask(test, get(kId)).at("endpoint").as_string(), "embeddings");
  ask(test, del(kId));
  EXPECT_EQ(client.answer().status, 499);
}

TEST(Requests, EmbeddingsRunOnceAllOfThemAreAccepted) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/embeddings", R"({"input": ["a", "b"]})")));
  test.sink(1).on_accepted({});
  auto row = ask(test, get(kId));
  EXPECT_EQ(row.at("state").as_string(), "queued");
  EXPECT_TRUE(row.at_pointer("/timings/queued_ms").is_null());
  test.sink(2).on_accepted({});
  row = ask(test, get(kId));
  EXPECT_EQ(row.at("state").as_string(), "running");
  EXPECT_FALSE(row.at_pointer("/timings/queued_ms").is_null());
}

TEST(Requests, ThatAreNoneOrAnotherClientsAllLookAlike) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(kText));
  test.sink();
  const auto expected = boost::json::serialize(ask(test, get("/v1/requests/00000000000000ff"), 404));
  EXPECT_NE(expected.find("not_found"), std::string::npos);
  for (const std::string id : {"1", "xyz", "cmpl-cmpl-0000000000000001", "0x00000000000001",
                               "00000000000000001", "embd-0000000000000001"}) {
    for (const auto& request : {get("/v1/requests/" + id), del("/v1/requests/" + id)}) {
      EXPECT_EQ(boost::json::serialize(ask(test, request, 404)), expected);
    }
  }
  test.client = "somebody else";
  for (const auto& request : {get(kId), del(kId)}) {
    EXPECT_EQ(boost::json::serialize(ask(test, request, 404)), expected);
  }
  EXPECT_TRUE(test.serving.forgotten.empty());
  test.client.clear();
  ask(test, get(kId));
}

TEST(Requests, ThatWereRefusedAreNotKept) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(kText));
  test.sink().on_refused(refusal(1200, ipc::Class::kNormal));
  ASSERT_EQ(client.answer().status, 503);
  ask(test, get(kId), 404);
}

AnswerStatus ended_status(RequestId id, const std::string& client, uint64_t ended_ns) {
  AnswerStatus status;
  status.id = id;
  status.client = client;
  status.state = AnswerState::kFinished;
  status.ended_ns = ended_ns;
  return status;
}

TEST(AnswerLog, TellsOnlyTheClientWhoseAnswerItIs) {
  AnswerLog log;
  log.end(ended_status(1, "alice", kSecond_ns));
  EXPECT_TRUE(log.find(1, "alice", kSecond_ns));
  EXPECT_FALSE(log.find(1, "bob", kSecond_ns));
  EXPECT_FALSE(log.find(1, "", kSecond_ns));
}

TEST(AnswerLog, ForgetsAfterAWhile) {
  AnswerLog log;
  log.end(ended_status(1, "alice", kSecond_ns));
  const uint64_t last_ns = kSecond_ns + AnswerLog::kEndedKept_ns;
  EXPECT_TRUE(log.find(1, "alice", last_ns));
  EXPECT_FALSE(log.find(1, "alice", last_ns + 1));
  log.end(ended_status(2, "alice", last_ns + 1));
  EXPECT_EQ(log.ended(), 1u);
}

TEST(AnswerLog, KeepsNoMoreThanItsCap) {
  AnswerLog log;
  for (RequestId id = 1; id <= AnswerLog::kEndedMax + 5; ++id) log.end(ended_status(id, "alice", id));
  EXPECT_EQ(log.ended(), AnswerLog::kEndedMax);
  EXPECT_FALSE(log.find(5, "alice", 2000));
  EXPECT_TRUE(log.find(6, "alice", 2000));
}

TEST(AnswerLog, ABusyClientDoesNotFlushWhatOthersHave) {
  AnswerLog log;
  log.end(ended_status(1, "alice", 1));
  for (RequestId id = 2; id <= 3 * AnswerLog::kEndedMax; ++id) log.end(ended_status(id, "busy", id));
  EXPECT_EQ(log.ended(), AnswerLog::kEndedMax);
  EXPECT_TRUE(log.find(1, "alice", 5000));
  EXPECT_TRUE(log.find(3 * AnswerLog::kEndedMax, "busy", 5000));
  log.end(ended_status(5000, "bob", 5000));
  log.end(ended_status(5001, "busy", 5001));
  EXPECT_TRUE(log.find(5000, "bob", 5001));
}

TEST(AnswerLog, KeepsNoLongErrors) {
  AnswerLog log;
  AnswerStatus status = ended_status(1, "alice", kSecond_ns);
  status.error = Error{Code::kInternal, std::string(1 << 20, 'x')};
  log.end(status);
  EXPECT_EQ(log.find(1, "alice", kSecond_ns)->error->message.size(), 1000u);
}

}  // namespace
}  // namespace deepserve::daemon
