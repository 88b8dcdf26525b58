// Answers that another dsd began. Two API servers are two lives of dsd: what one gave its runners to keep
// comes back to the other.
#include "daemon/api/answer_blob.h"
#include "tests/unit/api/resume_helpers.h"

namespace deepserve::daemon {
namespace {

std::string completion(const std::string& more = "", const std::string& fields = "") {
  return post("/v1/completions", R"({"prompt": "a", "stream": true)" + more + "}", fields);
}

// What came of a request before its dsd died, and what its runner has kept of it.
struct BeforeDeath {
  std::map<RequestId, RequestSpec> specs;
  std::string body;
};

BeforeDeath live_and_die(const std::string& request, size_t requests,
                         const std::function<void(ApiServer&)>& live) {
  ApiServer test;
  Client client = test.connect();
  EXPECT_TRUE(client.send(request));
  test.sink(requests);
  live(test);
  BeforeDeath before;
  before.body = body_so_far(client);
  RequestId whole = 0;
  for (const auto& [id, started] : test.serving.started) {
    before.specs[id] = started.spec;
    if (whole != 0) before.specs[id].whole = whole;
    whole = whole != 0 ? whole : id;
  }
  return before;
}

TEST(Adoption, AnOrdinaryStreamGoesOnFromWhereItsClientWas) {
  const auto before = live_and_die(completion(), 1, [](ApiServer& test) {
    test.sink().on_accepted({});
    test.sink().on_delta(delta("one"));
    test.sink().on_delta(delta(" two"));
  });
  StreamSoFar told;
  told.take(before.body);
  ASSERT_EQ(told.choices[0].text, "one two");
  ApiServer test;
  ResponseSink* sink = test.api.adopt(1, before.specs.at(1));
  ASSERT_NE(sink, nullptr);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get_events(told.last_id)));  // before its runner has told it all again
  pump_some(test.loop);
  sink->on_accepted({});
  sink->on_delta(delta("one"));
  sink->on_delta(delta(" two"));
  sink->on_delta(delta(" three"));
  sink->on_finished(finished());
  told.take(client.answer().body);
  EXPECT_EQ(told.choices[0].text, "one two three");
  EXPECT_EQ(told.dones, 1);
}

TEST(Adoption, WhoDoesNotComeBackIsCancelledUnlessItAsked) {
  for (const bool asked : {false, true}) {
    const auto before = live_and_die(completion("", asked ? kResumable : ""), 1,
                                     [](ApiServer& test) { test.sink().on_accepted({}); });
    ApiServer test;
    ASSERT_NE(test.api.adopt(1, before.specs.at(1)), nullptr);
    const uint64_t now_ns = monotonic_ns();
    test.api.tick(now_ns + 20 * kSecond_ns);
    EXPECT_TRUE(test.serving.forgotten.empty());
    test.api.tick(now_ns + 31 * kSecond_ns);
    EXPECT_EQ(test.serving.forgotten.size(), asked ? 0u : 1u);
  }
}

TEST(Adoption, AnIdempotencyKeyFindsItsAnswerAgain) {
  const std::string request = post("/v1/completions", R"({"prompt": "a"})", "Idempotency-Key: k\r\n");
  const auto before = live_and_die(request, 1, [](ApiServer& test) { test.sink().on_accepted({}); });
  ApiServer test;
  ResponseSink* sink = test.api.adopt(1, before.specs.at(1));
  Client client = test.connect(), other = test.connect();
  ASSERT_TRUE(client.send(request));
  ASSERT_TRUE(other.send(post("/v1/completions", R"({"prompt": "b"})", "Idempotency-Key: k\r\n")));
  EXPECT_EQ(other.answer().status, 422);
  sink->on_accepted({});
  sink->on_delta(delta("text"));
  sink->on_finished(finished());
  const Answer answer = client.answer();
  EXPECT_EQ(answer.fields.at("x-request-id"), "0000000000000001");
  EXPECT_EQ(json_of(answer.body).at_pointer("/choices/0/text").as_string(), "text");
  EXPECT_TRUE(test.serving.started.empty());
}

TEST(Adoption, WhoComesBackTooEarlyWaits) {
  const std::string keyed = post("/v1/completions", R"({"prompt": "a"})", "Idempotency-Key: k\r\n");
  const auto before = live_and_die(keyed, 1, [](ApiServer& test) { test.sink().on_accepted({}); });
  HttpLimits limits;
  limits.sweep_ms = 5;
  ApiServer test(limits, 10'000, 1 << 20, 0, 1 << 20, monotonic_ns() + kSecond_ns);
  Client by_id = test.connect(), by_key = test.connect(), too_late = test.connect(), fresh = test.connect();
  ASSERT_TRUE(by_id.send(get_events("0000000000000001:0")));
  ASSERT_TRUE(by_key.send(keyed));
  ASSERT_TRUE(too_late.send(get_events("00000000000000ff:0", 0xff)));
  ASSERT_TRUE(fresh.send(post("/v1/completions", R"({"prompt": "b"})", "Idempotency-Key: l\r\n")));
  pump_some(test.loop);
  EXPECT_TRUE(test.serving.started.empty());
  ResponseSink* sink = test.api.adopt(1, before.specs.at(1));
  ASSERT_NE(sink, nullptr);
  sink->on_accepted({});
  sink->on_delta(delta("text"));
  sink->on_finished(finished());
  EXPECT_NE(by_id.answer().body.find("text"), std::string::npos);
  EXPECT_NE(by_key.answer().body.find("text"), std::string::npos);
  EXPECT_EQ(too_late.answer().status, 410);
  test.sink().on_accepted({});  // of nobody's earlier request
  EXPECT_EQ(test.spec().prompt.text, "b");
}

TEST(Adoption, SeveralPromptsComeBackTogetherInAnyOrder) {
  const auto before = live_and_die(post("/v1/completions", R"({"prompt": ["a", "b"], "stream": true})", ""),
                                   2, [](ApiServer& test) {
                                     test.sink(1).on_accepted({});
                                     test.sink(2).on_accepted({});
                                   });
  ApiServer test;
  ResponseSink* second = test.api.adopt(2, before.specs.at(2));
  ResponseSink* first = test.api.adopt(1, before.specs.at(1));
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(test.api.adopt(1, before.specs.at(1)), nullptr);  // it is there already
  Client client = test.connect();
  ASSERT_TRUE(client.send(get_events("")));
  second->on_accepted({});
  second->on_delta(delta("to b"));
  first->on_accepted({});
  first->on_delta(delta("to a"));
  first->on_finished(finished());
  second->on_finished(finished());
  StreamSoFar told;
  told.take(client.answer().body);
  EXPECT_EQ(told.choices[0].text, "to a");
  EXPECT_EQ(told.choices[1].text, "to b");
}

TEST(Adoption, OfWhichOnePartIsLostAllIsLostByName) {
  const auto before = live_and_die(post("/v1/completions", R"({"prompt": ["a", "b"], "stream": true})", ""),
                                   2, [](ApiServer& test) { test.sink(1).on_accepted({}); });
  ApiServer test;
  ResponseSink* first = test.api.adopt(1, before.specs.at(1));
  first->on_accepted({});
  Client client = test.connect();
  ASSERT_TRUE(client.send(get_events("")));
  pump_some(test.loop);
  test.api.tick(monotonic_ns() + 6 * kSecond_ns);
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 502);
  EXPECT_NE(answer.body.find("1 were lost"), std::string::npos);
  EXPECT_EQ(test.serving.forgotten, std::vector<RequestId>{1});
}

TEST(Adoption, EmbeddingsComeBack) {
  const std::string request = post("/v1/embeddings", R"({"input": ["a", "b"]})", "Idempotency-Key: k\r\n");
  const auto before = live_and_die(request, 2, [](ApiServer& test) { test.sink(1).on_accepted({}); });
  ApiServer test;
  std::vector<ResponseSink*> sinks = {test.api.adopt(1, before.specs.at(1)),
                                      test.api.adopt(2, before.specs.at(2))};
  Client client = test.connect();
  ASSERT_TRUE(client.send(request));
  pump_some(test.loop);
  for (ResponseSink* sink : sinks) {
    ASSERT_NE(sink, nullptr);
    sink->on_accepted({});
    ipc::Embedding embedding;
    embedding.values = {1, 0};
    sink->on_embedding(embedding);
    sink->on_finished(finished());
  }
  const Answer answer = client.answer();
  ASSERT_EQ(answer.status, 200);
  EXPECT_EQ(json_of(answer.body).at("data").as_array().size(), 2u);
}

TEST(Adoption, WhatIsNoAnswerOfOursIsLeft) {
  ApiServer test;
  EXPECT_EQ(test.api.adopt(1, RequestSpec{}), nullptr);
  const auto before = live_and_die(completion(), 1, [](ApiServer&) {});
  const RequestSpec good = before.specs.at(1);
  for (size_t length = 0; length < good.opaque.size(); ++length) {
    RequestSpec cut = good;
    cut.opaque.resize(length);
    EXPECT_EQ(test.api.adopt(1, cut), nullptr) << length;
  }
  RequestSpec newer = good;
  newer.opaque[2] = std::byte{0xff};  // readable from version 255 on
  EXPECT_EQ(test.api.adopt(1, newer), nullptr);
  EXPECT_NE(test.api.adopt(1, good), nullptr);
}

TEST(AnswerBlob, IsReadAsItWasWritten) {
  AnswerBlob blob;
  blob.terms = {.outlives = true, .key = "k", .timeout_ns = 7, .created_unix = -5, .started_ns = 9};
  blob.terms.fingerprint[3] = 4;
  blob.member = 6;
  blob.shape.chat = blob.shape.include_usage = true;
  blob.shape.choices = 300;
  blob.shape.logprobs = 4;
  blob.shape.model = "tiny";
  auto bytes = encode_blob(blob);
  bytes.push_back(std::byte{1});  // a field of a newer dsd
  const auto read = decode_blob(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(encode_blob(*read), encode_blob(blob));
  EXPECT_EQ(read->terms.timeout_ns, 7u);
  EXPECT_EQ(read->shape.choices, 300);
}

// The connection of the first server is handed to the second as an upgrade in place does it.
TEST(Adoption, AConnectionIsHandedOverBetweenTwoTokens) {
  ApiServer old_life;
  Client client = old_life.connect();
  ASSERT_TRUE(client.send(completion()));
  old_life.sink().on_accepted({});
  old_life.sink().on_delta(delta("one"));
  ASSERT_EQ(client.part("one").status, 200);
  old_life.server.hold();
  auto handed = old_life.server.hand_over();
  ASSERT_EQ(handed.size(), 1u);
  handed[0].fd = ::dup(handed[0].fd);  // the old life ends here, not by execve
  const RequestSpec spec = old_life.spec();

  ApiServer test;
  ASSERT_TRUE(test.server.take_over(handed));
  pump_some(test.loop);
  ResponseSink* sink = test.api.adopt(1, spec);
  ASSERT_NE(sink, nullptr);
  sink->on_accepted({});
  sink->on_delta(delta("one"));
  sink->on_delta(delta(" two"));
  pump_some(test.loop);
  old_life.server.close_all();
  sink->on_finished(finished());
  pump_some(test.loop);
  StreamSoFar told;
  told.take(parse_answer(client.received()).body);
  EXPECT_EQ(told.choices[0].text, "one two");
  EXPECT_EQ(told.dones, 1);
}

TEST(Adoption, AConnectionThatWasHandedOverTakesItsAnswerAlongWhenItGoes) {
  for (const bool asked : {false, true}) {
    ApiServer old_life;
    Client client = old_life.connect();
    ASSERT_TRUE(client.send(completion("", asked ? kResumable : "")));
    old_life.sink().on_accepted({});
    ASSERT_TRUE(
        pump_until(old_life.loop, [&] { return client.received().find("200 OK") != std::string::npos; }));
    old_life.server.hold();
    auto handed = old_life.server.hand_over();
    ASSERT_EQ(handed.size(), 1u);
    handed[0].fd = ::dup(handed[0].fd);
    const RequestSpec spec = old_life.spec();

    ApiServer test;
    ASSERT_TRUE(test.server.take_over(handed));
    test.api.adopt(1, spec)->on_accepted({});
    pump_some(test.loop);
    test.api.tick(monotonic_ns());
    EXPECT_TRUE(test.serving.forgotten.empty());
    old_life.server.close_all();
    client.hang_up();
    pump_some(test.loop);
    test.api.tick(monotonic_ns());
    EXPECT_EQ(test.serving.forgotten.size(), asked ? 0u : 1u);
  }
}

}  // namespace
}  // namespace deepserve::daemon
