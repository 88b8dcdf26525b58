#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "tests/unit/ctl/dsctl_process.h"
#include "tests/unit/ctl/fake_daemon.h"

namespace deepserve::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Answers the first request with the first answer and so on; the last one for all that follow.
FakeDaemon::Handler in_turn(std::vector<FakeAnswer> answers) {
  return [answers = std::move(answers), next = size_t{0}](const FakeRequest&) mutable {
    return answers[std::min(next++, answers.size() - 1)];
  };
}

Outcome run_at(FakeDaemon& daemon, std::vector<std::string> arguments, const std::string& input = "") {
  arguments.insert(arguments.begin(), {"--runtime-dir", daemon.runtime_dir()});
  return run_dsctl(arguments, input);
}

const std::string kSoon = "Retry-After: 1\r\nretry-after-ms: 20\r\n";

TEST(Chat, StreamsTheAnswerAndEndsItWithANewline) {
  FakeDaemon daemon(
      in_turn({stream_answer_of({chat_event("Hel"), ": still here\n\n", chat_event("lo"), kDone})}));
  const Outcome outcome = run_at(daemon, {"chat", "say", "hello"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "Hello\n");
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(daemon.requests().at(0).line, "POST /v1/chat/completions");
  EXPECT_EQ(daemon.requests().at(0).socket, "api.sock");
}

TEST(Chat, AnAnswerInOnePieceWhoseDaemonDiedIsAskedForOnceMore) {
  const FakeAnswer whole = json_answer(200, R"({"choices": []})");
  const FakeAnswer cut{whole.bytes.substr(0, whole.bytes.size() - 1)};
  for (const FakeAnswer& lost : {FakeAnswer{""}, cut}) {
    FakeDaemon daemon(in_turn({lost, whole}));
    const Outcome outcome = run_at(daemon, {"chat", "--json", "hi"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("choices"));
    ASSERT_EQ(daemon.requests().size(), 2u);
    EXPECT_EQ(daemon.requests().at(0).body, daemon.requests().at(1).body);

    FakeDaemon dying(in_turn({lost}));
    EXPECT_NE(run_at(dying, {"chat", "--json", "hi"}).exit_code, 0);
    EXPECT_EQ(dying.requests().size(), 2u);
  }
}

TEST(Chat, OptionsBecomeTheFieldsAndHeadersOfTheRequest) {
  FakeDaemon daemon(in_turn({stream_answer_of({kDone})}));
  const Outcome outcome = run_at(
      daemon, {"chat", "--model", "m",  "--max-tokens", "7",         "--temperature", "0.5", "--top-p",
               "0.9",  "--top-k", "40", "--min-p",      "0.05",      "--seed",        "-3",  "--stop",
               "a",    "--stop",  "b",  "--system",     "Be brief.", "--class",       "vip", "--deadline-ms",
               "250",  "--usage", "hi"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const FakeRequest request = daemon.requests().at(0);
  EXPECT_EQ(boost::json::parse(request.body), boost::json::parse(R"({
    "model": "m", "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": -3,
    "stop": ["a", "b"], "stream": true, "stream_options": {"include_usage": true},
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]})"));
  EXPECT_THAT(request.head, HasSubstr("X-Deepserve-Class: vip\r\n"));
  EXPECT_THAT(request.head, HasSubstr("X-Deepserve-Deadline-Ms: 250"));
}

TEST(Chat, ANumberThatJsonCannotSayIsAMistakeOfUsage) {
  for (const char* option : {"--temperature", "--top-p", "--min-p"}) {
    for (const char* number : {"nan", "inf", "-Infinity", "1e999", "warm"}) {
      const Outcome outcome = run_dsctl({"chat", option, number, "hi"});
      EXPECT_EQ(outcome.exit_code, 2) << option << " " << number;
      EXPECT_THAT(outcome.err, HasSubstr(option)) << number;
    }
  }
}

TEST(Chat, WhatIsNotSaidIsNotSent) {
  FakeDaemon daemon(in_turn({stream_answer_of({kDone})}));
  run_at(daemon, {"chat"}, "piped\nmessage\n");
  EXPECT_EQ(
      boost::json::parse(daemon.requests().at(0).body),
      boost::json::parse(R"({"stream": true, "messages": [{"role": "user", "content": "piped\nmessage"}]})"));
  EXPECT_THAT(daemon.requests().at(0).head, Not(HasSubstr("X-Deepserve")));
}

TEST(Chat, UsageTellsTokensAndSpeedOnStderr) {
  const std::string usage =
      "data: "
      "{\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":2,\"total_tokens\":14}}\n\n";
  FakeDaemon daemon(in_turn({stream_answer_of({chat_event("ok"), usage, kDone})}));
  const Outcome outcome = run_at(daemon, {"chat", "-v", "hi"});
  EXPECT_EQ(outcome.out, "ok\n");
  EXPECT_THAT(outcome.err, HasSubstr("12 prompt tokens, 2 tokens in"));
}

TEST(Generate, ContinuesAPromptFromStdin) {
  FakeDaemon daemon(in_turn({stream_answer_of({completion_event("upon a time\n"), kDone})}));
  const Outcome outcome = run_at(daemon, {"generate", "-"}, "Once ");
  EXPECT_EQ(outcome.out, "upon a time\n");
  EXPECT_EQ(daemon.requests().at(0).line, "POST /v1/completions");
  EXPECT_EQ(boost::json::parse(daemon.requests().at(0).body),
            boost::json::parse(R"({"prompt": "Once ", "stream": true})"));
}

TEST(Generate, JsonIsTheWholeAnswerAsOneObject) {
  FakeDaemon daemon(in_turn({json_answer(200, R"({"choices":[{"text":"x"}]})")}));
  const Outcome outcome = run_at(daemon, {"generate", "--json", "p"});
  EXPECT_EQ(outcome.out, "{\"choices\":[{\"text\":\"x\"}]}\n");
  EXPECT_FALSE(boost::json::parse(daemon.requests().at(0).body).at("stream").as_bool());
}

TEST(Generate, JsonWithStreamIsOneChunkALine) {
  FakeDaemon daemon(in_turn({stream_answer_of({completion_event("a"), completion_event("b"), kDone})}));
  const Outcome outcome = run_at(daemon, {"generate", "--json", "--stream", "p"});
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 2);
  EXPECT_THAT(outcome.out, HasSubstr("\"text\":\"b\""));
}

TEST(Streams, ThatEndWithAnErrorEventExitWithItsCode) {
  const std::string event =
      "event: error\ndata: {\"error\":{\"message\":\"the runner died\",\"code\":\"runner_lost\"}}\n\n";
  FakeDaemon daemon(in_turn({stream_answer_of({chat_event("Hel"), event})}));
  const Outcome outcome = run_at(daemon, {"chat", "hi"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.out, "Hel\n");
  EXPECT_THAT(outcome.err, HasSubstr("the runner died"));
  EXPECT_EQ(daemon.requests().size(), 1u) << "text was shown: a second try would repeat it";
}

TEST(Streams, ThatEndWithoutDoneExitWithOne) {
  FakeAnswer cut = stream_answer_of({chat_event("Hel")});
  const FakeAnswer clean_end = cut;
  cut.bytes.resize(cut.bytes.size() - 9);
  for (const FakeAnswer& answer : {clean_end, cut}) {
    FakeDaemon daemon(in_turn({answer}));
    const Outcome outcome = run_at(daemon, {"chat", "hi"});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("the stream ended early"));
  }
}

TEST(Refusals, AreRetriedWhenTheDaemonSaidAndThenAnswered) {
  FakeDaemon daemon(
      in_turn({error_answer(503, "server_overloaded", kSoon), error_answer(503, "model_not_ready", kSoon),
               stream_answer_of({chat_event("ok"), kDone})}));
  const Outcome outcome = run_at(daemon, {"chat", "hi"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, "ok\n");
  EXPECT_THAT(outcome.err, HasSubstr("try 2 of 5 in 0.0 s"));
  EXPECT_THAT(outcome.err, HasSubstr("try 3 of 5"));
  EXPECT_EQ(daemon.requests().size(), 3u);
}

TEST(Refusals, ExitWithFourAfterFiveTriesAndSayWhenToRetry) {
  FakeDaemon daemon(in_turn({error_answer(503, "server_overloaded", kSoon)}));
  for (const std::vector<std::string>& command : {std::vector<std::string>{"chat", "hi"},
                                                  {"generate", "--json", "hi"},
                                                  {"generate", "--json", "--stream", "hi"}}) {
    const size_t before = daemon.requests().size();
    const Outcome outcome = run_at(daemon, command);
    EXPECT_EQ(outcome.exit_code, 4);
    EXPECT_THAT(outcome.err, HasSubstr("try again in 0.0 s"));
    EXPECT_EQ(daemon.requests().size() - before, 5u);
  }
}

TEST(Refusals, WithNoRetryAreFinalAndTheirJsonSaysWhen) {
  FakeDaemon daemon(in_turn({error_answer(503, "server_overloaded", "Retry-After: 7\r\n")}));
  const Outcome outcome = run_at(daemon, {"chat", "--no-retry", "--json", "hi"});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_EQ(daemon.requests().size(), 1u);
  EXPECT_THAT(outcome.err, HasSubstr("try again in 7.0 s"));
  EXPECT_EQ(boost::json::parse(outcome.out).at("error").at("retry_after_ms").to_number<int>(), 7000);
}

TEST(Refusals, ThatCannotChangeAreNotRetried) {
  FakeDaemon daemon(in_turn({error_answer(404, "model_not_found")}));
  EXPECT_EQ(run_at(daemon, {"chat", "--model", "nope", "hi"}).exit_code, 5);
  EXPECT_EQ(daemon.requests().size(), 1u);
}

TEST(Refusals, ThatSayTooLateAreNotWaitedFor) {
  FakeDaemon daemon(in_turn({error_answer(503, "server_overloaded", "Retry-After: 100000\r\n")}));
  EXPECT_EQ(run_at(daemon, {"chat", "hi"}).exit_code, 4);
  EXPECT_EQ(daemon.requests().size(), 1u);
}

TEST(Output, GoesUnchangedIntoAPipe) {
  FakeDaemon daemon(in_turn({stream_answer_of({chat_event("a\x1b[31mb"), kDone})}));
  EXPECT_EQ(run_at(daemon, {"chat", "hi"}).out, "a\x1b[31mb\n");
}

TEST(Output, AReaderThatHasGoneEndsTheStreamQuietly) {
  FakeAnswer endless = stream_answer_of({chat_event("a")});
  endless.bytes.resize(endless.bytes.size() - 5);
  endless.stays_open = true;
  FakeDaemon daemon(in_turn({endless}));
  const Outcome outcome = run_dsctl_without_reader({"--runtime-dir", daemon.runtime_dir(), "chat", "hi"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(daemon.wait_for_hang_ups(1));
}

}  // namespace
}  // namespace deepserve::ctl
