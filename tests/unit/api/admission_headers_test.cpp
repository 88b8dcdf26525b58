// What requests and refusals say in headers about when to come, for whom, and what was given up.
#include "daemon/admission/ticket.h"
#include "daemon/api/client_identity.h"
#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

const std::string kBody = R"({"prompt": "hi"})";

std::string text_with(const std::string& fields) {
  return post("/v1/completions", kBody, fields);
}

// What reaches Serving of a completion with these header fields.
RequestSpec spec_with(const std::string& fields, const std::string& body = kBody,
                      bool trusted_proxy = false) {
  ApiServer test;
  test.trusted_proxy = trusted_proxy;
  test.client = "proxy";
  Client client = test.connect();
  EXPECT_TRUE(client.send(post("/v1/completions", body, fields)));
  test.sink();
  return test.spec();
}

Refusal booked_refusal() {
  Refusal made = refusal(8'250, ipc::Class::kNormal);
  made.reason = "deadline";
  made.predicted_ttft_ns = 9'800 * kMillisecond_ns;
  made.deadline_ns = 5 * kSecond_ns;
  made.booked = true;
  made.ticket = std::string(TicketOffice::kTextBytes, 'T');
  made.degraded = "pause_batch";
  return made;
}

TEST(AdmissionHeaders, ATicketAndTheBodyItIsForReachServing) {
  const RequestSpec spec = spec_with("X-Deepserve-Ticket: abc-123\r\n");
  EXPECT_EQ(spec.ticket, "abc-123");
  EXPECT_EQ(spec.body_bytes, kBody.size());
  EXPECT_EQ(spec.body_hash, short_hash(kBody));
  EXPECT_NE(spec_with("", R"({"prompt": "ho"})").body_hash, spec.body_hash);
  EXPECT_EQ(spec_with("").ticket, "");
}

TEST(AdmissionHeaders, LongBodiesThatDifferInLengthOrEndAreNotAlike) {
  const auto body = [](size_t spaces, char last) {
    return R"({"prompt": ")" + std::string(spaces, ' ') + last + "\"}";
  };
  const uint64_t hash = spec_with("", body(200'000, 'a')).body_hash;
  EXPECT_EQ(spec_with("", body(200'000, 'a')).body_hash, hash);
  EXPECT_NE(spec_with("", body(200'001, 'a')).body_hash, hash);
  EXPECT_NE(spec_with("", body(200'000, 'b')).body_hash, hash);
}

TEST(AdmissionHeaders, AnEndlessTicketIsCutAndSoIsNone) {
  const RequestSpec spec = spec_with("X-Deepserve-Ticket: " + std::string(8'000, 'A') + "\r\n");
  EXPECT_EQ(spec.ticket.size(), TicketOffice::kTextBytes + 1);
}

TEST(AdmissionHeaders, ALibrarysOwnRepetitionIsKnownAsOne) {
  EXPECT_FALSE(spec_with("").is_retry);
  EXPECT_FALSE(spec_with("x-stainless-retry-count: 0\r\n").is_retry);
  EXPECT_TRUE(spec_with("x-stainless-retry-count: 2\r\n").is_retry);
}

TEST(AdmissionHeaders, ARefusalSaysEverythingThatIsKnownOfIt) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text_with("")));
  test.sink().on_refused(booked_refusal());
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.fields.at("retry-after"), "9");
  EXPECT_EQ(answer.fields.at("retry-after-ms"), "8250");
  EXPECT_EQ(answer.fields.at("x-deepserve-ticket"), std::string(TicketOffice::kTextBytes, 'T'));
  EXPECT_EQ(answer.fields.at("x-deepserve-degraded"), "pause_batch");
  const auto error = json_of(answer.body).at("error");
  EXPECT_EQ(error.at("reason").as_string(), "deadline");
  EXPECT_EQ(error.at("class").as_string(), "normal");
  EXPECT_EQ(error.at("predicted_ttft_ms").as_int64(), 9'800);
  EXPECT_EQ(error.at("deadline_ms").as_int64(), 5'000);
  EXPECT_EQ(error.at("retry_after_ms").as_int64(), 8'250);
  EXPECT_TRUE(error.at("booked").as_bool());
}

TEST(AdmissionHeaders, ARefusalWithoutASlotSaysSo) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text_with("")));
  test.sink().on_refused(refusal(40'000, ipc::Class::kNormal));
  const Answer answer = client.answer();
  EXPECT_FALSE(answer.fields.contains("x-deepserve-ticket"));
  EXPECT_FALSE(json_of(answer.body).at_pointer("/error/booked").as_bool());
}

TEST(AdmissionHeaders, AClientsOwnLimitIsA429WithItsOwnTime) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text_with("")));
  Refusal limited = refusal(1'500, ipc::Class::kNormal);
  limited.error = {Code::kRateLimited, "the client has 8 requests at once"};
  limited.reason = "client_requests";
  test.sink().on_refused(limited);
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.fields.at("retry-after-ms"), "1500");
  const auto error = json_of(answer.body).at("error");
  EXPECT_EQ(error.at("code").as_string(), "rate_limited");
  EXPECT_EQ(error.at("type").as_string(), "rate_limit_error");
  EXPECT_EQ(error.at("reason").as_string(), "client_requests");
}

TEST(AdmissionHeaders, ADegradedAnswerIsAnnouncedInOnePieceAndAsAStream) {
  for (const std::string stream : {"", R"(, "stream": true)"}) {
    ApiServer test;
    Client client = test.connect();
    ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "hi")" + stream + "}")));
    ResponseSink& sink = test.sink();
    sink.on_degraded({"cap_tokens"});
    sink.on_accepted({});
    sink.on_delta(delta("a"));
    sink.on_finished(finished());
    EXPECT_EQ(client.answer().fields.at("x-deepserve-degraded"), "cap_tokens");
  }
}

TEST(AdmissionHeaders, WhatIsAgreedToReachesServing) {
  EXPECT_FALSE(spec_with("").agreed);
  EXPECT_FALSE(spec_with("").truncates);
  const auto both = spec_with("X-Deepserve-Accept-Degraded: smaller_model,truncated_context\r\n").agreed;
  EXPECT_EQ(both, (Agreement{.truncated_context = true, .smaller_model = true}));
  EXPECT_EQ(spec_with("X-Deepserve-Accept-Degraded:\r\n").agreed, Agreement{});
  EXPECT_EQ(spec_with("", R"({"prompt": "hi", "truncation": "auto"})").truncates, true);
  EXPECT_EQ(spec_with("", R"({"prompt": "hi", "truncation": "disabled"})").truncates, false);
}

TEST(AdmissionHeaders, NobodyAgreesToWhatThereIsNot) {
  ApiServer test;
  for (const auto& [fields, body] :
       {std::pair<std::string, std::string>{"X-Deepserve-Accept-Degraded: silence\r\n", kBody},
        {"", R"({"prompt": "hi", "truncation": "some"})"},
        {"", R"({"prompt": "hi", "truncation": true})"}}) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(post("/v1/completions", body, fields)));
    EXPECT_EQ(client.answer().status, 400) << fields << body;
  }
  EXPECT_TRUE(test.serving.started.empty());
}

TEST(AdmissionHeaders, WhatWasLeftOutOfAPromptIsSaidInTheUsage) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text_with("")));
  ResponseSink& sink = test.sink();
  sink.on_degraded({"truncated_context", 1'234});
  sink.on_accepted({});
  sink.on_finished(finished());
  const Answer answer = client.answer();
  EXPECT_EQ(answer.fields.at("x-deepserve-degraded"), "truncated_context");
  EXPECT_EQ(json_of(answer.body).at_pointer("/usage/prompt_tokens_details/truncated_bytes").as_int64(),
            1'234);
}

TEST(AdmissionHeaders, AnAnswerInFullIsNotAnnounced) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text_with("")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_finished(finished());
  EXPECT_FALSE(client.answer().fields.contains("x-deepserve-degraded"));
}

TEST(EndUsers, OfATrustedProxyAreClientsOfTheirOwn) {
  EXPECT_EQ(spec_with("X-Deepserve-Client: alice@example\r\n", kBody, true).client, "proxy#alice@example");
  EXPECT_EQ(spec_with("", kBody, true).client, "proxy");
}

TEST(EndUsers, NamedByAnybodyElseAreRefusedByTheFieldsName) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text_with("X-Deepserve-Client: root\r\n")));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(json_of(answer.body).at_pointer("/error/param").as_string(), "X-Deepserve-Client");
  EXPECT_TRUE(test.serving.started.empty());
}

TEST(EndUsers, HaveNamesOfBoundedLengthAndVisibleCharacters) {
  ApiServer test;
  test.trusted_proxy = true;
  for (const std::string& name : {std::string(), std::string("two words"), std::string("caf\xc3\xa9"),
                                  std::string(kEndUserBytesMax + 1, 'a')}) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(text_with("X-Deepserve-Client: " + name + "\r\n")));
    EXPECT_EQ(client.answer().status, 400) << name;
  }
  EXPECT_TRUE(test.serving.started.empty());
}

TEST(EndUsers, SeeTheirOwnRequestsAlone) {
  ApiServer test;
  test.trusted_proxy = true;
  Client client = test.connect();
  ASSERT_TRUE(client.send(text_with("X-Deepserve-Client: alice\r\n")));
  test.sink();
  const auto status_as = [&](const std::string& name) {
    Client asking = test.connect();
    EXPECT_TRUE(asking.send(
        "GET /v1/requests/0000000000000001 HTTP/1.1\r\nHost: x\r\nX-Deepserve-Client: " + name + "\r\n\r\n"));
    return asking.answer().status;
  };
  EXPECT_EQ(status_as("alice"), 200);
  EXPECT_EQ(status_as("bob"), 404);
}

}  // namespace
}  // namespace deepserve::daemon
