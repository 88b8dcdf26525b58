// A POST that repeats an earlier one under its Idempotency-Key.
#include "tests/unit/api/resume_helpers.h"

namespace deepserve::daemon {
namespace {

std::string completion(const std::string& key, const std::string& prompt = "a", bool stream = false) {
  return post("/v1/completions",
              R"({"prompt": ")" + prompt + R"(", "stream": )" + (stream ? "true}" : "false}"),
              "Idempotency-Key: " + key + "\r\n");
}

TEST(Repeat, GetsTheSameAnswerWhileItRunsAndAfterwards) {
  ApiServer test;
  Client first = test.connect(), second = test.connect(), third = test.connect();
  ASSERT_TRUE(first.send(completion("k")));
  test.sink();
  ASSERT_TRUE(second.send(completion("k")));
  pump_some(test.loop);
  test.sink().on_accepted({});
  test.sink().on_delta(delta("text"));
  test.sink().on_finished(finished());
  const Answer answer = first.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(second.answer().body, answer.body);
  ASSERT_TRUE(third.send(completion("k")));
  const Answer later = third.answer();
  EXPECT_EQ(later.body, answer.body);
  EXPECT_EQ(later.fields.at("x-request-id"), "0000000000000001");
  EXPECT_EQ(test.serving.started.size(), 1u);
}

TEST(Repeat, StreamsFromTheStart) {
  ApiServer test;
  Client first = test.connect(), second = test.connect();
  ASSERT_TRUE(first.send(completion("k", "a", true)));
  test.sink().on_accepted({});
  test.sink().on_delta(delta("one"));
  ASSERT_EQ(first.part("one").status, 200);
  first.hang_up();
  ASSERT_TRUE(second.send(completion("k", "a", true)));
  ASSERT_EQ(second.part("one").status, 200);
  test.sink().on_delta(delta(" two"));
  test.sink().on_finished(finished());
  StreamSoFar told;
  told.take(second.answer().body);
  EXPECT_EQ(told.choices[0].text, "one two");
  EXPECT_EQ(told.dones, 1);
}

TEST(Repeat, OfAnotherBodyOrPathIsRefused) {
  ApiServer test;
  Client first = test.connect(), second = test.connect();
  ASSERT_TRUE(first.send(completion("k")));
  test.sink();
  for (const std::string& other :
       {completion("k", "b"), post("/v1/embeddings", R"({"input": "a"})", "Idempotency-Key: k\r\n")}) {
    ASSERT_TRUE(second.send(other));
    const Answer answer = second.answer();
    EXPECT_EQ(answer.status, 422);
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/code").as_string(), "idempotency_key_reused");
  }
}

TEST(Repeat, KeysAreEachClientsOwn) {
  ApiServer test;
  Client first = test.connect(), second = test.connect();
  ASSERT_TRUE(first.send(completion("k")));
  test.sink(1);
  test.client = "somebody else";
  ASSERT_TRUE(second.send(completion("k", "b")));
  test.sink(2);
  EXPECT_EQ(test.spec(2).prompt.text, "b");
}

TEST(Repeat, OfWhatWasRefusedTriesAnew) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completion("k")));
  test.sink(1).on_refused(refusal(1200, ipc::Class::kNormal));
  EXPECT_EQ(client.answer().status, 503);
  ASSERT_TRUE(client.send(completion("k", "b")));
  test.sink(2).on_failed({Code::kContextLength, "too long"});
  EXPECT_EQ(client.answer().status, 400);
  ASSERT_TRUE(client.send(completion("k")));
  test.sink(3).on_accepted({});
}

TEST(Repeat, GetsTheErrorOfAnAnswerThatFailed) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completion("k")));
  test.sink().on_accepted({});
  test.sink().on_failed({Code::kRunnerLost, "gone"});
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 502);
  ASSERT_TRUE(client.send(completion("k")));
  EXPECT_EQ(client.answer().body, answer.body);
}

TEST(Repeat, EmbeddingsAreRepeatedToo) {
  ApiServer test;
  const std::string request = post("/v1/embeddings", R"({"input": "a"})", "Idempotency-Key: k\r\n");
  {
    Client client = test.connect();
    ASSERT_TRUE(client.send(request));
    test.sink();
  }
  pump_some(test.loop);
  EXPECT_TRUE(test.serving.forgotten.empty());
  Client again = test.connect();
  ASSERT_TRUE(again.send(request));
  pump_some(test.loop);
  test.sink().on_accepted({});
  ipc::Embedding embedding;
  embedding.values = {1, 0};
  test.sink().on_embedding(embedding);
  test.sink().on_finished(finished());
  EXPECT_EQ(again.answer().status, 200);
  EXPECT_EQ(test.serving.started.size(), 1u);
}

}  // namespace
}  // namespace deepserve::daemon
