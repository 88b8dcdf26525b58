// The time that a whole answer may take.
#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

HttpLimits quick() {
  HttpLimits limits;
  limits.sweep_ms = 5;
  return limits;
}

const std::string kTimeout = "X-Deepserve-Timeout-Ms: 30\r\n";

std::string_view code_of(const Answer& answer, boost::json::value& body) {
  body = json_of(answer.body);
  return body.at_pointer("/error/code").as_string();
}

TEST(RequestTimeout, BeforeAcceptanceIs408) {
  ApiServer test(quick());
  for (const std::string stream : {R"({"prompt": "a"})", R"({"prompt": "a", "stream": true})"}) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(post("/v1/completions", stream, kTimeout)));
    const Answer answer = client.answer();
    boost::json::value body;
    EXPECT_EQ(answer.status, 408);
    EXPECT_EQ(code_of(answer, body), "request_timeout");
    EXPECT_EQ(answer.fields.at("x-should-retry"), "false");
  }
  EXPECT_EQ(test.serving.forgotten, (std::vector<RequestId>{1, 2}));
}

TEST(RequestTimeout, OfAnAnswerInOnePieceIs408AfterAcceptanceToo) {
  ApiServer test(quick());
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": ["a", "b"]})", kTimeout)));
  test.sink(1).on_accepted({});
  test.sink(1).on_delta(delta("x"));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 408);
  EXPECT_EQ(answer.fields.at("x-should-retry"), "false");
  EXPECT_EQ(test.serving.forgotten, (std::vector<RequestId>{1, 2}));
}

TEST(RequestTimeout, OfAStreamThatHasBegunIsAnErrorEvent) {
  ApiServer test(quick());
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a", "stream": true})", kTimeout)));
  test.sink().on_accepted({});
  test.sink().on_delta(delta("told"));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_LT(answer.body.find("told"), answer.body.find("event: error\ndata: "));
  EXPECT_NE(answer.body.find("request_timeout"), std::string::npos);
  EXPECT_EQ(answer.body.find("[DONE]"), std::string::npos);
}

TEST(RequestTimeout, HoldsForEmbeddingsAndQuestions) {
  ApiServer test(quick());
  Client client = test.connect();
  for (const auto& request : {post("/v1/embeddings", R"({"input": "a"})", kTimeout),
                              post("/tokenize", R"({"prompt": "a"})", kTimeout)}) {
    ASSERT_TRUE(client.send(request));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 408);
    EXPECT_EQ(answer.fields.at("x-should-retry"), "false");
  }
  EXPECT_EQ(test.serving.dropped_queries, std::vector<uint64_t>{1});
}

// Nothing ran for it: once more is right.
TEST(RequestTimeout, OfABodyThatDoesNotArriveMayBeTriedAgain) {
  HttpLimits limits = quick();
  limits.body_timeout_ms = 20;
  ApiServer test(limits);
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 408);
  EXPECT_FALSE(answer.fields.contains("x-should-retry"));
}

TEST(RequestTimeout, TheServersDefaultHoldsUnlessTheRequestNamesItsOwn) {
  ApiServer test(quick(), 10'000, ApiOptions().answer_bytes_max, 30 * kMillisecond_ns);
  Client patient = test.connect();
  ASSERT_TRUE(
      patient.send(post("/v1/completions", R"({"prompt": "a"})", "X-Deepserve-Timeout-Ms: 86400000\r\n")));
  ResponseSink& sink = test.sink();
  Client other = test.connect();
  ASSERT_TRUE(other.send(post("/v1/completions", R"({"prompt": "a"})")));
  EXPECT_EQ(other.answer().status, 408);
  sink.on_accepted({});
  sink.on_finished(finished());
  EXPECT_EQ(patient.answer().status, 200);
}

TEST(RequestTimeout, ThatIsNoNumberIsRefusedByName) {
  ApiServer test;
  for (const std::string value : {"0", "-1", "1.5", "soon", "86400001", "99999999999999999999"}) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(
        post("/v1/completions", R"({"prompt": "a"})", "X-Deepserve-Timeout-Ms: " + value + "\r\n")));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 400) << value;
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/param").as_string(), "X-Deepserve-Timeout-Ms");
  }
}

}  // namespace
}  // namespace deepserve::daemon
