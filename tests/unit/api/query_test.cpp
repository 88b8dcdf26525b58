// Models, tokenizing, health.
#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

TEST(Models, ListsNamesAndAliases) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/v1/models")));
  const auto body = json_of(client.answer().body);
  EXPECT_EQ(body.at("object").as_string(), "list");
  EXPECT_EQ(body.at_pointer("/data/0/id").as_string(), "tiny");
  EXPECT_EQ(body.at_pointer("/data/0/object").as_string(), "model");
  EXPECT_EQ(body.at_pointer("/data/0/max_model_len").as_int64(), 1024);
  EXPECT_EQ(body.at_pointer("/data/1/id").as_string(), "small");
  ASSERT_TRUE(client.send(get("/v1/models/small")));
  EXPECT_EQ(json_of(client.answer().body).at("root").as_string(), "tiny");
  ASSERT_TRUE(client.send(get("/v1/models/org/huge")));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 404);
  EXPECT_NE(answer.body.find("org/huge"), std::string::npos);
}

TEST(Tokenize, AnswersWithTheTokens) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/tokenize", R"({"prompt": "hi", "add_special_tokens": false})")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return !test.serving.queries.empty(); }));
  auto [query, done] = test.serving.queries.front();
  EXPECT_EQ(query.kind, ipc::QueryKind::kTokenize);
  EXPECT_EQ(query.prompt.text, "hi");
  EXPECT_FALSE(query.add_special);
  ipc::Answer answer;
  answer.tokens = {1, 2, 3};
  done(answer);
  EXPECT_EQ(client.answer().body, R"({"count":3,"max_model_len":1024,"tokens":[1,2,3]})");
  EXPECT_TRUE(test.serving.dropped_queries.empty());
}

TEST(Tokenize, TakesAChatToo) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/tokenize", R"({"messages": [{"role": "user", "content": "hi"}]})")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return !test.serving.queries.empty(); }));
  EXPECT_EQ(test.serving.queries.front().first.prompt.kind, ipc::PromptKind::kChat);
}

TEST(Tokenize, DetokenizesAndTellsFailures) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/detokenize", R"({"tokens": [1, 2]})")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return !test.serving.queries.empty(); }));
  ipc::Answer answer;
  answer.text = "hi \"you\"";
  test.serving.queries.front().second(answer);
  EXPECT_EQ(client.answer().body, R"({"prompt":"hi \"you\""})");
  ASSERT_TRUE(client.send(post("/detokenize", R"({"tokens": [99999]})")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.serving.queries.size() == 2; }));
  answer.failed = true;
  answer.code = Code::kInvalidRequest;
  test.serving.queries.back().second(answer);
  EXPECT_EQ(client.answer().status, 400);
}

TEST(Tokenize, RefusesBadBodiesByName) {
  ApiServer test;
  const std::tuple<const char*, const char*, const char*> bads[] = {
      {"/tokenize", "{}", "prompt"},
      {"/tokenize", R"({"prompt": 5})", "prompt"},
      {"/tokenize", R"({"prompt": "a", "messages": []})", "prompt"},
      {"/tokenize", R"({"prompt": "a", "other": 1})", "other"},
      {"/detokenize", "{}", "tokens"},
      {"/detokenize", R"({"tokens": ["a"]})", "tokens"},
  };
  for (const auto& [path, body, param] : bads) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(post(path, body)));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/param").as_string(), param) << body;
  }
}

TEST(Tokenize, AHangUpDropsTheQuestion) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/tokenize", R"({"prompt": "hi"})")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return !test.serving.queries.empty(); }));
  client.hang_up();
  EXPECT_TRUE(
      pump_until(test.loop, [&] { return test.serving.dropped_queries == std::vector<uint64_t>{1}; }));
}

TEST(Health, TellsLivingFromReady) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/healthz") + get("/readyz")));
  EXPECT_EQ(client.answer().body, "ok\n");
  EXPECT_EQ(client.answer().status, 200);
  test.serving.is_ready = false;
  ASSERT_TRUE(client.send(get("/healthz") + get("/readyz")));
  EXPECT_EQ(client.answer().status, 200);
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.fields.at("retry-after"), "1");
}

}  // namespace
}  // namespace deepserve::daemon
