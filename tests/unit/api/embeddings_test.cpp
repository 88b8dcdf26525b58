#include "daemon/api/embeddings.h"

#include <cmath>
#include <cstring>

#include "daemon/api/embedding_text.h"
#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

std::string embeddings(const std::string& members, const std::string& fields = "") {
  return post("/v1/embeddings", "{" + members + "}", fields);
}

// Answers one input as a runner does.
void embed(ResponseSink& sink, std::vector<float> values) {
  sink.on_accepted({.request = 1, .prompt_tokens = 4, .cached_tokens = 0});
  ipc::Embedding event;
  event.values = std::move(values);
  sink.on_embedding(event);
  sink.on_finished(finished());
}

TEST(Embeddings, AnswerInTheOrderOfTheInputs) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(embeddings(R"("input": ["one", "two"], "model": "small", "user": "me")")));
  ResponseSink& second = test.sink(2);
  EXPECT_EQ(test.spec(2).work, ipc::Work::kEmbed);
  EXPECT_EQ(test.spec(2).prompt.text, "two");
  EXPECT_EQ(test.spec(2).endpoint, "embeddings");
  EXPECT_EQ(test.spec(2).model, "tiny");
  embed(second, {0.0f, 1.0f});
  EXPECT_EQ(client.received(), "");
  embed(test.sink(1), {0.6f, -0.8f});
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body,
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.6,-0.8]},)"
            R"({"object":"embedding","index":1,"embedding":[0,1]}],"model":"tiny",)"
            R"("usage":{"prompt_tokens":8,"total_tokens":8}})"
            "\n");
  EXPECT_EQ(answer.fields.at("x-request-id"), "0000000000000001");
}

TEST(Embeddings, TakeTokensAsWell) {
  for (const auto& [input, count] : {std::pair{"[5, 6]", 1}, std::pair{"[[5, 6], [7]]", 2}}) {
    ApiServer test;
    Client client = test.connect();
    ASSERT_TRUE(client.send(embeddings(std::string(R"("input": )") + input, "X-Deepserve-Class: batch\r\n")));
    test.sink(static_cast<RequestId>(count));
    EXPECT_EQ(test.spec().prompt.tokens, (std::vector<ipc::TokenId>{5, 6}));
    EXPECT_EQ(test.spec().service_class, ipc::Class::kBatch);
  }
}

TEST(Embeddings, ComeInBase64OfLittleEndianFloats) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(embeddings(R"("input": "a", "encoding_format": "base64")")));
  embed(test.sink(), {1.0f, -2.0f});
  EXPECT_EQ(json_of(client.answer().body).at_pointer("/data/0/embedding").as_string(), "AACAPwAAAMA=");
}

TEST(Embeddings, AreCutToTheDimensionsAndMadeOfLengthOneAgain) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(embeddings(R"("input": "a", "dimensions": 2)")));
  embed(test.sink(), {0.3f, 0.4f, 0.5f, 0.7f});
  const auto body = json_of(client.answer().body);
  const auto& values = body.at_pointer("/data/0/embedding").as_array();
  ASSERT_EQ(values.size(), 2u);
  EXPECT_NEAR(values[0].to_number<double>(), 0.6, 1e-6);
  EXPECT_NEAR(values[1].to_number<double>(), 0.8, 1e-6);
}

TEST(Embeddings, MoreDimensionsThanTheModelHasAreRefusedByName) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(embeddings(R"("input": ["a", "b"], "dimensions": 3)")));
  test.sink(1).on_accepted({});
  ipc::Embedding event;
  event.values = {1.0f, 0.0f};
  test.sink(1).on_embedding(event);
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(json_of(answer.body).at_pointer("/error/param").as_string(), "dimensions");
  EXPECT_EQ(test.serving.forgotten, (std::vector<RequestId>{1, 2}));
}

TEST(Embeddings, OfOneClientDoNotFillTheQueue) {
  ApiServer test;
  Client client = test.connect();
  std::string inputs = R"("a")";
  for (int i = 1; i < 2048; ++i) inputs += R"(, "a")";
  ASSERT_TRUE(client.send(embeddings("\"input\": [" + inputs + "]")));
  test.sink(Embeddings::kRunningMax);
  EXPECT_EQ(test.serving.started.size(), Embeddings::kRunningMax);
  for (RequestId id = 1; id <= 2048; ++id) embed(test.sink(id), {1.0f});
  const auto body = json_of(client.answer().body);
  EXPECT_EQ(body.at("data").as_array().size(), 2048u);
  EXPECT_EQ(body.at_pointer("/usage/total_tokens").as_int64(), 8192);
}

TEST(Embeddings, ADeadlineHoldsForEachInputFromItsStart) {
  ApiServer test;
  Client client = test.connect();
  std::string inputs = R"("a")";
  for (size_t i = 1; i <= Embeddings::kRunningMax; ++i) inputs += R"(, "a")";
  ASSERT_TRUE(client.send(embeddings("\"input\": [" + inputs + "]", "X-Deepserve-Deadline-Ms: 5000\r\n")));
  test.sink(1);
  EXPECT_LE(test.spec(1).deadline_ns, monotonic_ns() + 5 * kSecond_ns);
  EXPECT_GT(test.spec(1).deadline_ns, monotonic_ns());
  const uint64_t ended_ns = monotonic_ns();
  embed(test.sink(1), {1.0f});
  test.sink(Embeddings::kRunningMax + 1);
  EXPECT_GE(test.spec(Embeddings::kRunningMax + 1).deadline_ns, ended_ns + 4900 * kMillisecond_ns);
  EXPECT_GT(test.spec(Embeddings::kRunningMax + 1).deadline_ns, test.spec(2).deadline_ns);
}

TEST(Embeddings, TheRefusalOfOneInputIsTheAnswer) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(embeddings(R"("input": ["a", "b", "c"])")));
  embed(test.sink(1), {1.0f});
  test.sink(2).on_refused(refusal(500, ipc::Class::kNormal));
  EXPECT_EQ(client.answer().status, 503);
  EXPECT_EQ(test.serving.forgotten, std::vector<RequestId>{3});
}

TEST(Embeddings, AFailureHasItsStatus) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(embeddings(R"("input": "a")")));
  test.sink().on_failed({Code::kContextLength, "5000 tokens are more than the context's 1024"});
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(json_of(answer.body).at_pointer("/error/code").as_string(), "context_length_exceeded");
}

TEST(Embeddings, AHangUpForgetsWhatRuns) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(embeddings(R"("input": ["a", "b"])")));
  test.sink(2);
  client.hang_up();
  EXPECT_TRUE(pump_until(test.loop, [&] { return test.serving.forgotten == std::vector<RequestId>{1, 2}; }));
}

TEST(Embeddings, ABadFieldIsRefusedByItsName) {
  std::string inputs = "\"a\"";
  for (int i = 0; i < 2048; ++i) inputs += ",\"a\"";
  const std::pair<std::string, const char*> bads[] = {
      {R"("model": "tiny")", "input"},
      {R"("input": "")", "input"},
      {R"("input": [])", "input"},
      {R"("input": ["a", ""])", "input"},
      {R"("input": [[1], []])", "input"},
      {R"("input": {"a": 1})", "input"},
      {R"("input": ["a", [1]])", "input"},
      {R"("input": [1.5])", "input"},
      {"\"input\": [" + inputs + "]", "input"},
      {R"("input": "a", "dimensions": 0)", "dimensions"},
      {R"("input": "a", "dimensions": "2")", "dimensions"},
      {R"("input": "a", "encoding_format": "int8")", "encoding_format"},
      {R"("input": "a", "encoding_format": 1)", "encoding_format"},
      {R"("input": "a", "user": 1)", "user"},
      {R"("input": "a", "priority": "urgent")", "priority"},
      {R"("input": "a", "stream": true)", "stream"},
      {R"("input": "a", "input_type": "query")", "input_type"},
  };
  ApiServer test;
  for (const auto& [members, param] : bads) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(embeddings(members)));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 400) << members;
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/param").as_string(), param) << members;
  }
  Client client = test.connect();
  ASSERT_TRUE(client.send(embeddings(R"("input": "a", "model": "huge")")));
  EXPECT_EQ(client.answer().status, 404);
  EXPECT_TRUE(test.serving.started.empty());
}

TEST(EmbeddingText, ReadsBackAsTheSameFloats) {
  const std::vector<float> values = {0.1f, -1e-20f, 3.4028235e38f, 0.0f, -0.33333334f};
  std::string text;
  append_embedding(text, values, false);
  const auto list = json_of(text);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(static_cast<float>(list.at(i).to_number<double>()), values[i]) << text;
  }
}

TEST(EmbeddingText, Base64EndsWithTheRightPadding) {
  const auto encoded = [](size_t floats) {
    std::string text;
    append_embedding(text, std::vector<float>(floats, 0.0f), true);
    return text;
  };
  EXPECT_EQ(encoded(0), "\"\"");
  EXPECT_EQ(encoded(1), "\"AAAAAA==\"");
  EXPECT_EQ(encoded(2), "\"AAAAAAAAAAA=\"");
  EXPECT_EQ(encoded(3), "\"AAAAAAAAAAAAAAAA\"");
}

TEST(EmbeddingText, ZerosStayZeros) {
  std::vector<float> values = {0.0f, 0.0f, 1.0f};
  shorten_embedding(values, 2);
  EXPECT_EQ(values, (std::vector<float>{0.0f, 0.0f}));
}

}  // namespace
}  // namespace deepserve::daemon
