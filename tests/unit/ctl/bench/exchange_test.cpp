// Requests as they go out and answers as they come in, without a socket.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "ctl/bench/answer_reader.h"
#include "ctl/bench/request_text.h"

namespace deepserve::ctl::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using State = AnswerReader::State;

constexpr std::string_view kStream_head =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    "Transfer-Encoding: chunked\r\nX-Deepserve-Degraded: max_tokens\r\n\r\n";

std::string chunk(const std::string& event) {
  return fmt::format("{:x}\r\n{}\r\n", event.size(), event);
}

std::string whole_stream() {
  return std::string(kStream_head) +
         chunk("data: {\"choices\":[{\"text\":\"\",\"finish_reason\":null}],\"usage\":null}\n\n") +
         chunk(
             "data: {\"choices\":[{\"text\":\"a \\\"usage\\\":{\",\"finish_reason\":null}]}\n\n"
             "data: {\"choices\":[{\"text\":\"b\",\"finish_reason\":null}]}\n\n") +
         chunk(": alive\n\n") +
         chunk("data: {\"choices\":[{\"delta\":{\"content\":\"c\"},\"finish_reason\":\"length\"}]}\n\n") +
         chunk("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n") +
         chunk("data: [DONE]\n\n") + "0\r\n\r\n";
}

TEST(AnswerReader, ReadsAStreamInPiecesOfAnySize) {
  const std::string bytes = whole_stream();
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{50}, bytes.size()}) {
    AnswerReader reader;
    unsigned events = 0;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const State state = reader.feed(std::string_view(bytes).substr(at, piece));
      ASSERT_NE(state, State::kBroken);
      events += reader.take_text_events();
    }
    EXPECT_EQ(reader.state(), State::kDone) << piece;
    EXPECT_EQ(events, 3u);
    EXPECT_TRUE(reader.is_whole());
    EXPECT_TRUE(reader.keeps_connection());
    EXPECT_EQ(reader.status(), 200u);
    EXPECT_EQ(reader.degradation(), "max_tokens");
    EXPECT_EQ(reader.prompt_tokens(), 7u);
    EXPECT_EQ(reader.completion_tokens(), 3u);
  }
}

TEST(AnswerReader, AStreamWithAnErrorOrWithoutItsEndIsNotWhole) {
  AnswerReader failed;
  failed.feed(std::string(kStream_head) +
              chunk("event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":\"runner_lost\"}}\n\n") +
              "0\r\n\r\n");
  EXPECT_EQ(failed.state(), State::kDone);
  EXPECT_FALSE(failed.is_whole());
  EXPECT_EQ(failed.reason(), "runner_lost");
  AnswerReader cut;
  cut.feed(std::string(kStream_head) + chunk("data: {\"choices\":[{\"text\":\"a\"}]}\n\n") + "0\r\n\r\n");
  EXPECT_FALSE(cut.is_whole());
  EXPECT_EQ(cut.reason(), "stream_cut_off");
  AnswerReader lost;
  lost.feed(std::string(kStream_head) + chunk("data: {}\n\n"));
  EXPECT_EQ(lost.end_of_connection(), State::kBroken);
}

std::string refusal(const std::string& headers, const std::string& error) {
  const std::string body = fmt::format("{{\"error\":{}}}", error);
  return fmt::format("HTTP/1.1 503 X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n{}",
                     body.size(), headers, body);
}

TEST(AnswerReader, ARefusalSaysItsReasonInstantAndTicket) {
  AnswerReader reader;
  reader.feed(refusal("Retry-After: 2\r\nretry-after-ms: 1234\r\nX-Deepserve-Ticket: t1\r\n",
                      R"({"code":"server_overloaded","reason":"queue_full"})"));
  EXPECT_EQ(reader.state(), State::kDone);
  EXPECT_EQ(reader.reason(), "queue_full");
  EXPECT_EQ(reader.retry_after_ms(), 1234u);
  EXPECT_EQ(reader.ticket(), "t1");
}

TEST(AnswerReader, OtherServersRefusalsAreReadToo) {
  AnswerReader reader;
  reader.feed(refusal("Retry-After: 3\r\n", R"({"code":503,"type":"unavailable_error"})"));
  EXPECT_EQ(reader.retry_after_ms(), 3000u);
  EXPECT_EQ(reader.reason(), "503");
  reader.restart();
  reader.feed("HTTP/1.1 429 X\r\nContent-Length: 4\r\nRetry-After: Fri\r\n\r\nbusy");
  EXPECT_EQ(reader.reason(), "http_429");
  EXPECT_EQ(reader.retry_after_ms(), std::nullopt);
}

TEST(AnswerReader, WhatIsNotHttpIsBroken) {
  AnswerReader reader;
  EXPECT_EQ(reader.feed("SSH-2.0-OpenSSH\r\n\r\n"), State::kBroken);
}

TEST(AnswerReader, AnAnswerMayEndWithItsConnection) {
  AnswerReader reader;
  reader.feed("HTTP/1.0 503 X\r\n\r\nno");
  EXPECT_EQ(reader.end_of_connection(), State::kDone);
  EXPECT_FALSE(reader.keeps_connection());
}

boost::json::value body_of(const std::string& request) {
  return boost::json::parse(request.substr(request.find("\r\n\r\n") + 4));
}

RequestShape shape() {
  RequestShape made;
  made.slo = *Slo::parse("", "200ms");
  made.host = "localhost";
  return made;
}

const Planned kPlanned{
    .service_class = ServiceClass::kVip, .prompt_tokens = 5, .max_tokens = 9, .text_seed = 3};

TEST(RequestText, SaysClassDeadlineLengthAndThatItStreams) {
  const std::string text = request_text(shape(), kPlanned, "");
  EXPECT_THAT(text, HasSubstr("POST /v1/completions HTTP/1.1\r\n"));
  EXPECT_THAT(text, HasSubstr("X-Deepserve-Class: vip\r\nX-Deepserve-Deadline-Ms: 500\r\n"));
  EXPECT_THAT(text, Not(HasSubstr("X-Deepserve-Ticket")));
  const auto body = body_of(text);
  EXPECT_EQ(body.at("max_tokens").as_int64(), 9);
  EXPECT_TRUE(body.at("stream").as_bool());
  EXPECT_TRUE(body.at("ignore_eos").as_bool());
  EXPECT_THAT(text,
              HasSubstr(fmt::format("Content-Length: {}\r\n", text.size() - text.find("\r\n\r\n") - 4)));
}

TEST(RequestText, ARetryHasTheSameBodyAndTheTicket) {
  const std::string first = request_text(shape(), kPlanned, "");
  const std::string again = request_text(shape(), kPlanned, "t1");
  EXPECT_THAT(again, HasSubstr("X-Deepserve-Ticket: t1\r\n"));
  EXPECT_EQ(body_of(first), body_of(again));
  Planned other = kPlanned;
  other.text_seed = 4;
  EXPECT_NE(body_of(first), body_of(request_text(shape(), other, "")));
  RequestShape next_run = shape();
  next_run.text_salt = 1;
  EXPECT_NE(body_of(first), body_of(request_text(next_run, kPlanned, ""))) << "no cached prefix helps it";
}

TEST(RequestText, ClientsAreNamedInAHeaderOnlyAsAProxy) {
  RequestShape of_many = shape();
  of_many.clients = 5;
  Planned planned = kPlanned;
  planned.client = 3;
  EXPECT_THAT(request_text(of_many, planned, ""), Not(HasSubstr("X-Deepserve-Client")));
  EXPECT_EQ(body_of(request_text(of_many, planned, "")).at("user").as_string(), "bench-3");
  of_many.names_clients = true;
  EXPECT_THAT(request_text(of_many, planned, ""), HasSubstr("X-Deepserve-Client: bench-3\r\n"));
}

TEST(RequestText, AKeyWithAClassIsUsedForThatClassOnly) {
  RequestShape with_keys = shape();
  with_keys.keys = *parse_keys("keys", "# mine\nvip k1\nk2\n\nnormal k3\n");
  with_keys.clients = 100;
  Planned planned = kPlanned;
  for (planned.client = 0; planned.client < 10; ++planned.client) {
    EXPECT_THAT(request_text(with_keys, planned, ""), Not(HasSubstr("Bearer k3")));
    EXPECT_THAT(request_text(with_keys, planned, ""),
                HasSubstr(planned.client % 2 == 0 ? "Bearer k1" : "Bearer k2"));
  }
}

TEST(RequestText, AnUnreadableKeyIsNamedWithItsLine) {
  EXPECT_THAT(parse_keys("keys", "k1\nking k2\n").error().message, HasSubstr("keys: line 2: "));
  EXPECT_THAT(parse_keys("keys", "vip \n").error().message, HasSubstr("keys: line 1: "));
  EXPECT_FALSE(parse_keys("keys", "\n"));
}

}  // namespace
}  // namespace deepserve::ctl::bench
