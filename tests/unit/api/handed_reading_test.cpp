// Who reads an answer, from one life of dsd to the next by an upgrade in place: two API servers are the two.
#include "daemon/api/handed_reading.h"

#include "daemon/api/adoption.h"
#include "daemon/api/routes.h"
#include "ipc/base/clock.h"
#include "tests/unit/api/resume_helpers.h"

namespace deepserve::daemon {
namespace {

const std::string kStream = post("/v1/completions", R"({"prompt": "a", "stream": true})", kResumable);
const std::string kKeyed = post("/v1/completions", R"({"prompt": "a"})", "Idempotency-Key: k\r\n");

std::vector<HandedConnection> handed_by(ApiServer& old_life) {
  old_life.server.hold();
  EXPECT_EQ(old_life.server.stays(), "");
  auto handed = old_life.server.hand_over();
  for (auto& one : handed) one.fd = ::dup(one.fd);  // the old life ends otherwise than by execve
  return handed;
}

// What a request's runner has kept of it.
RequestSpec begun(const std::string& request) {
  ApiServer test;
  Client client = test.connect();
  EXPECT_TRUE(client.send(request));
  test.sink().on_accepted({});
  return test.spec();
}

ApiServer& listening_for(std::optional<ApiServer>& server, uint64_t return_until_ns) {
  HttpLimits limits;
  limits.sweep_ms = 5;
  return server.emplace(limits, 10'000, 1 << 20, 0, 1 << 20, return_until_ns);
}

TEST(HandedReading, IsReadAsItWasWritten) {
  for (const HandedReading& reading :
       {HandedReading{.request = 7}, HandedReading{.request = 7, .streams = true},
        HandedReading{.request = 7, .streams = true, .head_told = true, .position = "0000000000000007:5+2.-"},
        HandedReading{.request = 7, .streams = true, .position = "0000000000000007:-"}}) {
    const auto read = parse_handed(handed_text(reading));
    ASSERT_TRUE(read) << handed_text(reading);
    EXPECT_EQ(*read, reading);
  }
  for (const char* text : {"", "whole", "whole ", "whole x", "stream 1:2", "stream 0000000000000007:x",
                           "resume 0000000000000007", "resume ", "whole 0000000000000007:3", "other 7"}) {
    EXPECT_FALSE(parse_handed(text)) << text;
  }
}

// A client came back for the rest to a dsd that is upgraded before its answer has.
TEST(HandedReading, AStreamThatHasNotBegunAgainGoesOnFromItsPlace) {
  const RequestSpec spec = begun(kStream);
  ApiServer old_life;
  ASSERT_NE(old_life.api.adopt(1, spec), nullptr);
  Client client = old_life.connect();
  ASSERT_TRUE(client.send(get_events("0000000000000001:1")));
  pump_some(old_life.loop);
  const auto handed = handed_by(old_life);
  ASSERT_EQ(handed.size(), 1u);

  ApiServer test;
  ASSERT_TRUE(test.server.take_over(handed));
  ResponseSink* sink = test.api.adopt(1, spec);
  sink->on_accepted({});
  sink->on_delta(delta("one"));
  sink->on_delta(delta(" two", {8}));
  sink->on_finished(finished());
  pump_some(test.loop);
  StreamSoFar told;
  told.take(body_so_far(client));
  EXPECT_EQ(told.choices[0].text, " two");
  EXPECT_EQ(told.dones, 1);
}

TEST(HandedReading, ARefusalInTheMiddleOfAStreamIsNoCleanEnd) {
  const RequestSpec spec = begun(kStream);
  ApiServer old_life;
  Client client = old_life.connect();
  ASSERT_TRUE(client.send(kStream));
  old_life.sink().on_accepted({});
  ASSERT_TRUE(
      pump_until(old_life.loop, [&] { return client.received().find("200 OK") != std::string::npos; }));
  const auto handed = handed_by(old_life);

  ApiServer test;
  ASSERT_TRUE(test.server.take_over(handed));
  test.api.adopt(1, spec)->on_refused(refusal(1'000, ipc::Class::kNormal));
  pump_some(test.loop);
  EXPECT_NE(client.received().find("event: error"), std::string::npos);
  EXPECT_EQ(client.received().find("[DONE]"), std::string::npos);
}

TEST(HandedReading, WhoWaitsForAnAnswerAsksTheNextDsdForIt) {
  const RequestSpec spec = begun(kKeyed);
  std::optional<ApiServer> first, second;
  ApiServer& old_life = listening_for(first, monotonic_ns() + 60 * kSecond_ns);
  Client by_key = old_life.connect(), by_id = old_life.connect();
  ASSERT_TRUE(by_key.send(kKeyed));
  ASSERT_TRUE(by_id.send(get_events("0000000000000001:1")));
  pump_some(old_life.loop);
  EXPECT_TRUE(old_life.serving.started.empty());
  const auto handed = handed_by(old_life);

  ApiServer& test = listening_for(second, monotonic_ns() + 60 * kSecond_ns);
  ASSERT_TRUE(test.server.take_over(handed));
  pump_some(test.loop);
  EXPECT_TRUE(test.serving.started.empty());
  ResponseSink* sink = test.api.adopt(1, spec);
  sink->on_accepted({});
  sink->on_delta(delta("one"));
  sink->on_delta(delta(" two", {8}));
  sink->on_finished(finished());
  pump_some(test.loop);
  EXPECT_NE(by_key.received().find("\"one two\""), std::string::npos);
  StreamSoFar rest;
  rest.take(body_so_far(by_id));
  EXPECT_EQ(rest.choices[0].text, " two");
  EXPECT_EQ(rest.dones, 1);
}

TEST(HandedReading, WhatWaitsForAnswersTakesNoMoreThanTheyMay) {
  ApiServer test({}, 10'000, 1 << 20, 0, 100'000, monotonic_ns() + 60 * kSecond_ns);
  const auto large = [](const std::string& key) {
    const std::string body = R"({"prompt": ")" + std::string(60'000, 'x') + R"("})";
    return post("/v1/completions", body, "Idempotency-Key: " + key + "\r\n");
  };
  Client first = test.connect(), second = test.connect(), small = test.connect();
  ASSERT_TRUE(first.send(large("l")));
  pump_some(test.loop);
  ASSERT_TRUE(second.send(large("m")));
  const Answer refused = second.answer();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.fields.at("retry-after"), "1");
  ASSERT_TRUE(small.send(kKeyed));
  pump_some(test.loop);
  EXPECT_EQ(first.received() + small.received(), "");  // they wait
  EXPECT_TRUE(test.serving.started.empty());
  first.hang_up();
  pump_some(test.loop);
  ASSERT_TRUE(second.send(large("m")));
  pump_some(test.loop);
  EXPECT_EQ(second.received(), "");
}

TEST(HandedReading, ANewKeyWaitsForNothingThatTheDsdBeforeDidNotHave) {
  std::optional<ApiServer> server;
  ApiServer& test = listening_for(server, monotonic_ns() + 60 * kSecond_ns);
  test.client = "web";
  test.api.expect({{7, "web", "another"}, {8, "other", "k"}});
  Client by_key = test.connect(), by_id = test.connect(), expected = test.connect();
  ASSERT_TRUE(by_key.send(kKeyed));
  ASSERT_TRUE(by_id.send(get_events("0000000000000008:1", 8)));
  ASSERT_TRUE(expected.send(get_events("0000000000000007:1", 7)));
  test.sink();
  EXPECT_EQ(by_id.answer().status, 410);
  pump_some(test.loop);
  EXPECT_EQ(expected.received(), "");
}

TEST(HandedReading, WhatWillReturnIsKnownFromOneDsdToTheNext) {
  const RequestSpec spec = begun(kKeyed);
  std::optional<ApiServer> server;
  ApiServer& test = listening_for(server, monotonic_ns() + 60 * kSecond_ns);
  EXPECT_FALSE(test.api.expected_next());  // the one before died and has told nobody
  test.api.expect({{1, spec.client, "k"}, {7, "web", ""}});
  ASSERT_TRUE(test.api.expected_next());
  EXPECT_EQ(test.api.expected_next()->size(), 2u);
  ASSERT_NE(test.api.adopt(1, spec), nullptr);
  auto next = *test.api.expected_next();
  std::sort(next.begin(), next.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  EXPECT_EQ(next, (std::vector<ExpectedAnswer>{{1, spec.client, "k"}, {7, "web", ""}}));
  EXPECT_TRUE(ApiServer().api.expected_next()->empty());
}

// A connection's view of one exchange, without a connection.
class OneExchange final : public Exchange {
 public:
  std::vector<HttpResponse> responses;

  const HttpRequest& request() const override { return request_; }
  uint64_t request_id() const override { return 1; }
  void set_request_id(uint64_t) override {}
  void respond(HttpResponse response) override { responses.push_back(std::move(response)); }
  void start_stream(HttpResponse head) override { responses.push_back(std::move(head)); }
  void wake() override {}
  void close_after() override {}

 private:
  HttpRequest request_;
};

// The connection stays while its client takes what it was told.
TEST(HandedReading, AnAnswerThatComesTooLateIsNotToldAfterTheError) {
  const RequestSpec spec = begun(kKeyed);
  FakeServing serving;
  Metrics metrics;
  AnswerLog log;
  const ApiOptions options;
  KeptAnswers kept({});
  const ApiParts parts{serving, metrics, log, kept, options};
  OneExchange exchange;
  const auto reader = resume_reading(exchange, parts, "whole 0000000000000001");
  ASSERT_NE(reader, nullptr);
  reader->tick(monotonic_ns() + 6 * kSecond_ns);
  ASSERT_EQ(exchange.responses.size(), 1u);
  EXPECT_EQ(exchange.responses[0].status, 502);
  ResponseSink* sink = adopt_request(parts, 1, spec);
  ASSERT_NE(sink, nullptr);
  sink->on_accepted({});
  sink->on_delta(delta("late"));
  sink->on_finished(finished());
  EXPECT_EQ(exchange.responses.size(), 1u);
}

}  // namespace
}  // namespace deepserve::daemon
