// What the bodies of requests may say, and what is refused by name.
#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

const std::string kMessages = R"("messages": [{"role": "user", "content": "hi"}])";

struct Bad {
  std::string members;
  std::string param;
  int status = 400;
};

// So many members of an object.
std::string pairs(size_t count) {
  std::string members;
  for (size_t i = 0; i < count; ++i) {
    members += (i == 0 ? "\"k" : ", \"k") + std::to_string(i) + R"(": "v")";
  }
  return members;
}

// Sends the request; the error's param, or what came instead.
std::string param_of(ApiServer& test, const std::string& path, const std::string& body, int status) {
  Client client = test.connect();
  EXPECT_TRUE(client.send(post(path, body)));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, status) << body << "\n" << answer.body;
  if (answer.status != status) return "status";
  const auto error = json_of(answer.body).at("error");
  const auto& param = error.at("param");
  if (param.is_string()) {
    EXPECT_NE(error.at("message").as_string().find(param.as_string()), std::string::npos) << body;
  }
  return param.is_string() ? std::string(param.as_string()) : "null";
}

void expect_refused(const std::string& path, const std::string& needed, const std::vector<Bad>& bads) {
  ApiServer test;
  for (const Bad& bad : bads) {
    EXPECT_EQ(param_of(test, path, "{" + needed + ", " + bad.members + "}", bad.status), bad.param)
        << bad.members;
  }
  EXPECT_TRUE(test.serving.started.empty());
}

// Sends the request; what reached Serving.
RequestSpec spec_of(const std::string& path, const std::string& body, const std::string& fields = "") {
  ApiServer test;
  Client client = test.connect();
  EXPECT_TRUE(client.send(post(path, body, fields)));
  test.sink();
  return test.spec();
}

TEST(Fields, ABadFieldOfAChatIsRefusedByItsName) {
  expect_refused(
      "/v1/chat/completions", kMessages,
      {
          {R"("temperature": 2.1)", "temperature"},
          {R"("temperature": -0.1)", "temperature"},
          {R"("temperature": "hot")", "temperature"},
          {R"("temperature": 1e999)", "temperature"},
          {R"("top_p": 0)", "top_p"},
          {R"("top_p": 1.5)", "top_p"},
          {R"("top_k": -2)", "top_k"},
          {R"("top_k": 1.5)", "top_k"},
          {R"("min_p": 2)", "min_p"},
          {R"("presence_penalty": 2.5)", "presence_penalty"},
          {R"("frequency_penalty": -3)", "frequency_penalty"},
          {R"("repetition_penalty": 0)", "repetition_penalty"},
          {R"("repetition_penalty": 1e-38)", "repetition_penalty"},
          {R"("max_tokens": -1)", "max_tokens"},
          {R"("max_tokens": 0)", "max_tokens"},
          {R"("max_tokens": 1e18)", "max_tokens"},
          {R"("max_tokens": 1000000000000000000)", "max_tokens"},
          {R"("max_tokens": 99999999999999999999999)", "max_tokens"},
          {R"("max_tokens": 1.5)", "max_tokens"},
          {R"("max_tokens": "5")", "max_tokens"},
          {R"("max_completion_tokens": 0)", "max_completion_tokens"},
          {R"("max_tokens": 5, "max_completion_tokens": 6)", "max_completion_tokens"},
          {R"("min_tokens": -1)", "min_tokens"},
          {R"("max_tokens": 5, "min_tokens": 6)", "min_tokens"},
          {R"("n": 0)", "n"},
          {R"("n": 129)", "n"},
          {R"("seed": 1.5)", "seed"},
          {R"("stop": "")", "stop"},
          {R"("stop": ["a", ""])", "stop"},
          {R"("stop": 5)", "stop"},
          {R"("stop": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])",
           "stop"},
          {R"("stop_token_ids": [1, -1])", "stop_token_ids"},
          {R"("logit_bias": {"x": 1})", "logit_bias"},
          {R"("logit_bias": {"5": 101})", "logit_bias"},
          {R"("logit_bias": {"5": "a"})", "logit_bias"},
          {R"("logprobs": 5)", "logprobs"},
          {R"("top_logprobs": 5)", "top_logprobs"},
          {R"("logprobs": true, "top_logprobs": 21)", "top_logprobs"},
          {R"("ignore_eos": 1)", "ignore_eos"},
      });
}

TEST(Fields, ABadLabelOrUnknownFieldOfAChatIsRefusedByItsName) {
  expect_refused(
      "/v1/chat/completions", kMessages,
      {
          {R"("stream": "yes")", "stream"},
          {R"("stream_options": {"include_usage": true})", "stream_options"},
          {R"("stream": true, "stream_options": {"include_usage": 1})", "stream_options.include_usage"},
          {R"("stream": true, "stream_options": {"other": 1})", "stream_options.other"},
          {R"("priority": "urgent")", "priority"},
          {R"("priority": 1.5)", "priority"},
          {R"("service_tier": "gold")", "service_tier"},
          {R"("user": 5)", "user"},
          {R"("metadata": [])", "metadata"},
          {R"("metadata": {"a": 1})", "metadata"},
          {R"("metadata": {"a": ")" + std::string(513, 'x') + R"("})", "metadata"},
          {R"("metadata": {")" + std::string(65, 'x') + R"(": "a"})", "metadata"},
          {R"("metadata": {)" + pairs(17) + "}", "metadata"},
          {R"("safety_identifier": [])", "safety_identifier"},
          {R"("store": true)", "store"},
          {R"("store": "no")", "store"},
          {R"("service_tier": "")", "service_tier"},
          {R"("service_tier": 1)", "service_tier"},
          {R"("stream": true, "stream_options": {"include_obfuscation": true})",
           "stream_options.include_obfuscation"},
          {R"("stream": true, "stream_options": [])", "stream_options"},
          {R"("model": 5)", "model"},
          {R"("model": "huge")", "model", 404},
          {R"("tools": [{"type": "function"}])", "tools[0].function"},
          {R"("tool_choice": "auto")", "tool_choice"},
          {R"("functions": [{}])", "functions"},
          {R"("modalities": ["text", "audio"])", "modalities"},
          {R"("audio": {"voice": "x"})", "audio"},
          {R"("reasoning_effort": "low")", "reasoning_effort"},
          {R"("prompt_logprobs": 1)", "prompt_logprobs"},
          {R"("prompt": "hi")", "prompt"},
          {R"("echo": true)", "echo"},
          {R"("web_search_options": {})", "web_search_options"},
          {R"("no_such_field": 1)", "no_such_field"},
      });
}

TEST(Fields, ABadFieldOfACompletionIsRefusedByItsName) {
  expect_refused("/v1/completions", R"("prompt": "hi")",
                 {
                     {R"("max_tokens": 0)", "max_tokens"},
                     {R"("logprobs": true)", "logprobs"},
                     {R"("logprobs": 21)", "logprobs"},
                     {R"("logprobs": -1)", "logprobs"},
                     {R"("echo": 1)", "echo"},
                     {R"("echo": true, "max_tokens": -1)", "max_tokens"},
                     {R"("suffix": "x")", "suffix"},
                     {R"("best_of": 0)", "best_of"},
                     {R"("best_of": 129)", "best_of"},
                     {R"("n": 3, "best_of": 2)", "best_of"},
                     {R"("stream": true, "best_of": 2)", "best_of"},
                     {R"("top_logprobs": 2)", "top_logprobs"},
                     {R"("messages": [])", "messages"},
                     {R"("max_completion_tokens": 5)", "max_completion_tokens"},
                 });
}

TEST(Fields, ABadPromptIsRefused) {
  ApiServer test;
  const std::pair<const char*, const char*> bads[] = {
      {R"({})", "prompt"},
      {R"({"prompt": 5})", "prompt"},
      {R"({"prompt": []})", "prompt"},
      {R"({"prompt": [[]]})", "prompt"},
      {R"({"prompt": ["a", [1]]})", "prompt"},
      {R"({"prompt": ["a", 1]})", "prompt"},
      {R"({"prompt": [[1], []]})", "prompt"},
      {R"({"prompt": [[1], ["a"]]})", "prompt"},
      {R"({"prompt": {}})", "prompt"},
      {R"({"prompt": [null]})", "prompt"},
      {R"({"prompt": ["a", "b"], "n": 65})", "prompt"},
      {R"({"prompt": ["a", "b"], "n": 1, "best_of": 65})", "prompt"},
      {R"({"prompt": [1, "b"]})", "prompt"},
      {R"({"prompt": [1, -5]})", "prompt"},
      {R"({"prompt": [1, 4294967296]})", "prompt"},
  };
  for (const auto& [body, param] : bads)
    EXPECT_EQ(param_of(test, "/v1/completions", body, 400), param) << body;
}

TEST(Fields, BadMessagesAreRefusedByTheirPlace) {
  ApiServer test;
  const std::pair<const char*, const char*> bads[] = {
      {R"({})", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": "hi"})", "messages"},
      {R"({"messages": ["hi"]})", "messages[0]"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content"},
      {R"({"messages": [{"content": "hi"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]})",
       "messages[1].tool_call_id"},
      {R"({"messages": [{"role": "robot", "content": "b"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]})",
       "messages[0].content.type"},
      {R"({"messages": [{"role": "user", "content": "a", "name": "bob"}]})", "messages[0].name"},
      {R"({"messages": [{"role": "user", "content": "a", "mood": "good"}]})", "messages[0].mood"},
      {R"({"messages": [{"role": "assistant", "content": "a", "tool_calls": [{}]}]})",
       "messages[0].tool_calls[0].id"},
      {R"({"messages": [{"role": "assistant", "content": "a", "prefix": true}, )"
       R"({"role": "user", "content": "b"}]})",
       "messages[0].prefix"},
      {R"({"mess\u0061ges": [{"role": "user", "content": "a"}]})", "messages"},
  };
  for (const auto& [body, param] : bads)
    EXPECT_EQ(param_of(test, "/v1/chat/completions", body, 400), param) << body;
}

TEST(Fields, SwitchesOfTheTemplateAreNotDroppedForTheSpellingOfTheirName) {
  const std::string escaped = R"("chat_template\u005fkwargs": {"thinking": false})";
  const std::string prefix = R"("messages": [{"role": "assistant", "content": "a", "prefix": true}])";
  for (const std::string& messages : {kMessages, prefix}) {
    expect_refused("/v1/chat/completions", messages, {{escaped, "chat_template_kwargs"}});
  }
}

TEST(Fields, AnUnknownModelListsWhatThereIs) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "x", "model": "huge"})")));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 404);
  EXPECT_NE(answer.body.find("model_not_found"), std::string::npos);
  EXPECT_NE(answer.body.find("tiny"), std::string::npos);
}

TEST(Fields, EverythingHonouredReachesServing) {
  const RequestSpec spec = spec_of("/v1/chat/completions", R"({
      "model": "small", "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1,
      "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.1, "max_completion_tokens": 33,
      "min_tokens": 2, "n": 3,
      "seed": -7, "stop": ["a", "b"], "stop_token_ids": [5], "logit_bias": {"12": -100}, "ignore_eos": true,
      "user": "me", "metadata": {"a": "b"}, "tools": [], "tool_choice": "none",
      "response_format": {"type": "text"},
      "store": false, "parallel_tool_calls": null, "service_tier": "flex",
      "messages": [{"role": "developer", "content": "be \u0000 brief"},
                   {"role": "assistant", "content": "x", "refusal": null, "tool_calls": null},
                   {"role": "user",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})");
  const ipc::Generation& g = spec.generation;
  EXPECT_EQ(spec.model, "tiny");
  EXPECT_EQ(spec.endpoint, "chat");
  EXPECT_EQ(spec.client, "uid:" + std::to_string(::getuid()));
  EXPECT_EQ(spec.peer.pid, ::getpid());
  EXPECT_EQ(spec.service_class, ipc::Class::kBatch);
  EXPECT_EQ(g.temperature, 0.5f);
  EXPECT_EQ(g.top_p, 0.9f);
  EXPECT_EQ(g.top_k, 40u);
  EXPECT_EQ(g.min_p, 0.1f);
  EXPECT_EQ(g.presence_penalty, 1.0f);
  EXPECT_EQ(g.frequency_penalty, -1.0f);
  EXPECT_EQ(g.repetition_penalty, 1.1f);
  EXPECT_EQ(g.tokens_max, 33u);
  EXPECT_EQ(g.tokens_min, 2u);
  EXPECT_EQ(g.choices, 3);
  EXPECT_EQ(g.seed, static_cast<uint64_t>(-7));
  EXPECT_EQ(g.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(g.stop_tokens, std::vector<ipc::TokenId>{5});
  EXPECT_EQ(g.logit_bias[0], (std::pair<ipc::TokenId, float>{12, -100.0f}));
  EXPECT_EQ(g.logprobs, ipc::kNoLogprobs);
  EXPECT_TRUE(g.ignore_eos);
  ASSERT_EQ(spec.prompt.chat.size(), 3u);
  EXPECT_EQ(spec.prompt.chat[0].content, std::string("be \0 brief", 10));
  EXPECT_EQ(spec.prompt.chat[2].content, "ab");
  EXPECT_EQ(spec.prompt_bytes, 13u);
}

TEST(Fields, PromptsAreTextOrTokens) {
  const RequestSpec text =
      spec_of("/v1/completions", R"({"prompt": ["abc"], "max_tokens": 0, "echo": true})");
  EXPECT_EQ(text.prompt.text, "abc");
  EXPECT_EQ(text.generation.tokens_max, 0u);
  EXPECT_TRUE(text.generation.echo);
  for (const char* prompt : {"[1, 2]", "[[1, 2]]"}) {
    const RequestSpec tokens = spec_of("/v1/completions", std::string(R"({"prompt": )") + prompt + "}");
    EXPECT_EQ(tokens.prompt.kind, ipc::PromptKind::kTokens);
    EXPECT_EQ(tokens.prompt.tokens, (std::vector<ipc::TokenId>{1, 2}));
  }
}

TEST(Fields, WithoutALimitTheAnswerMayTakeTheRestOfTheContext) {
  EXPECT_EQ(spec_of("/v1/completions", R"({"prompt": ""})").generation.tokens_max, ipc::kRestOfContext);
  EXPECT_EQ(spec_of("/v1/chat/completions", "{" + kMessages + "}").generation.tokens_max,
            ipc::kRestOfContext);
}

TEST(Fields, LabelsAtTheirLimitsAreTaken) {
  const std::string body = R"({"prompt": "a", "user": "u", "safety_identifier": "s", "prompt_cache_key": "p",
      "store": false, "stream": true,
      "stream_options": {"include_obfuscation": false, "include_usage": true}, "metadata": {)" +
                           pairs(15) + R"(, ")" + std::string(64, 'k') + R"(": ")" +
                           [] {
                             std::string value;
                             for (int i = 0; i < 512; ++i) value += "\u20ac";
                             return value;
                           }() +
                           "\"}}";
  EXPECT_EQ(spec_of("/v1/completions", body).prompt.text, "a");
}

TEST(Fields, AStopStringIsAtMostAsLongAsTheRunnerTakesIt) {
  const auto body = [](size_t stop_bytes) {
    return R"({"prompt": "a", "stop": ")" + std::string(stop_bytes, 'x') + "\"}";
  };
  EXPECT_EQ(spec_of("/v1/completions", body(512)).generation.stop.at(0).size(), 512u);
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", body(513))));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("longer than 512 bytes"), std::string::npos) << answer.body;
}

TEST(Fields, AMissingSeedIsRandom) {
  const std::string body = R"({"prompt": "a"})";
  EXPECT_NE(spec_of("/v1/completions", body).generation.seed,
            spec_of("/v1/completions", body).generation.seed);
}

TEST(Fields, WhatAsksForAnAnswerThatOutlivesItsConnectionIsChecked) {
  const std::string body = R"({"prompt": "a"})";
  const auto param_of = [&](const std::string& fields) {
    ApiServer test;
    Client client = test.connect();
    EXPECT_TRUE(client.send(post("/v1/completions", body, fields)));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 400);
    EXPECT_TRUE(test.serving.started.empty());
    return std::string(json_of(answer.body).at_pointer("/error/param").as_string());
  };
  EXPECT_EQ(param_of("X-Deepserve-Resume: yes\r\n"), "X-Deepserve-Resume");
  EXPECT_EQ(param_of("Idempotency-Key: a b\r\n"), "Idempotency-Key");
  EXPECT_EQ(param_of("Idempotency-Key: " + std::string(256, 'k') + "\r\n"), "Idempotency-Key");
  EXPECT_EQ(spec_of("/v1/completions", body, "Idempotency-Key: stainless-1\r\n").prompt.text, "a");
}

TEST(Fields, TheHeaderIsTheStrongestWordOnTheClass) {
  const auto class_of = [](const std::string& members, const std::string& fields = "") {
    return spec_of("/v1/completions", R"({"prompt": "a")" + members + "}", fields).service_class;
  };
  EXPECT_EQ(class_of(""), ipc::Class::kNormal);
  EXPECT_EQ(class_of(R"(, "service_tier": "priority")"), ipc::Class::kVip);
  EXPECT_EQ(class_of(R"(, "service_tier": "priority", "priority": 3)"), ipc::Class::kBatch);
  EXPECT_EQ(class_of(R"(, "priority": -1)"), ipc::Class::kVip);
  EXPECT_EQ(class_of(R"(, "priority": "batch")", "X-Deepserve-Class: vip\r\n"), ipc::Class::kVip);
}

TEST(Fields, ADeadlineIsAnIntegerOfMilliseconds) {
  const uint64_t before_ns = monotonic_ns();
  const RequestSpec spec =
      spec_of("/v1/completions", R"({"prompt": "a"})", "X-Deepserve-Deadline-Ms: 1500\r\n");
  EXPECT_GE(spec.deadline_ns, before_ns + 1500 * kMillisecond_ns);
  EXPECT_LE(spec.deadline_ns, monotonic_ns() + 1500 * kMillisecond_ns);
  ApiServer test;
  for (const std::string field :
       {"X-Deepserve-Deadline-Ms: soon", "X-Deepserve-Deadline-Ms: 0", "X-Deepserve-Deadline-Ms: -1",
        "X-Deepserve-Deadline-Ms: 86400001", "X-Deepserve-Deadline-Ms: 99999999999999999999999",
        "X-Deepserve-Deadline-Ms: 1e3", "X-Deepserve-Deadline-Ms: ", "X-Deepserve-Class: royal",
        "X-Deepserve-Class: VIP", "X-Deepserve-Class: "}) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a"})", field + "\r\n")));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/param").as_string(), field.substr(0, field.find(':')));
  }
}

TEST(Fields, ANumberThatIsRefusedIsToldAsItWasWritten) {
  ApiServer test;
  Client client = test.connect();
  EXPECT_TRUE(client.send(post("/v1/completions", R"({"prompt": "hi", "max_tokens": 1.5})")));
  const std::string message(json_of(client.answer().body).at_pointer("/error/message").as_string());
  EXPECT_TRUE(message.ends_with(", not 1.5")) << message;
}

TEST(Fields, TheServiceTierInForceIsToldToWhoNamesOne) {
  const auto tier_of = [](const std::string& member, ipc::Class in_force) {
    ApiServer test;
    RequestRow row;
    row.id = 1;
    row.service_class = in_force;
    test.serving.request_rows.push_back(row);
    Client client = test.connect();
    EXPECT_TRUE(client.send(post("/v1/chat/completions", "{" + kMessages + member + "}")));
    test.sink().on_accepted({});
    test.sink().on_finished(finished());
    const auto body = json_of(client.answer().body);
    const auto* tier = body.as_object().if_contains("service_tier");
    return tier == nullptr ? std::string("none") : std::string(tier->as_string());
  };
  EXPECT_EQ(tier_of("", ipc::Class::kVip), "none");
  EXPECT_EQ(tier_of(R"(, "service_tier": "priority")", ipc::Class::kVip), "priority");
  EXPECT_EQ(tier_of(R"(, "service_tier": "priority")", ipc::Class::kNormal), "default");  // its ceiling
  EXPECT_EQ(tier_of(R"(, "service_tier": "flex")", ipc::Class::kBatch), "flex");
  EXPECT_EQ(tier_of(R"(, "service_tier": "auto")", ipc::Class::kNormal), "default");
}

}  // namespace
}  // namespace deepserve::daemon
