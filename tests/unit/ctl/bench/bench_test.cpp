// The real `dsctl bench` against a daemon that a test scripts.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <boost/json/parse.hpp>
#include <filesystem>
#include <fstream>

#include "tests/unit/ctl/dsctl_process.h"
#include "tests/unit/ctl/fake_daemon.h"

namespace deepserve::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

FakeAnswer whole_answer() {
  return stream_answer_of(
      {completion_event("one"), completion_event(" two"),
       "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n",
       "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n", kDone});
}

FakeAnswer refusal(const std::string& ticket) {
  return json_answer(
      503, R"({"error":{"message":"full","code":"server_overloaded","reason":"queue_full"}})",
      fmt::format("Retry-After: 1\r\nretry-after-ms: 100\r\nX-Deepserve-Ticket: {}\r\n", ticket));
}

std::vector<std::string> bench(const std::string& runtime_dir, std::vector<std::string> more) {
  std::vector<std::string> arguments = {"--runtime-dir", runtime_dir, "bench", "--warmup", "0",
                                        "--seed",        "3",         "--mix", "normal=1", "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

boost::json::object point_of(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return boost::json::parse(outcome.out).at("points").at(0).as_object();
}

TEST(Bench, FullAnswersAreGoodput) {
  FakeDaemon daemon([](const FakeRequest&) { return whole_answer(); });
  const auto point =
      point_of(run_dsctl(bench(daemon.runtime_dir(), {"--rate", "40", "--duration", "500ms"})));
  const auto& all = point.at("all");
  EXPECT_GT(all.at("arrived").as_int64(), 5);
  EXPECT_EQ(all.at("within_slo"), all.at("arrived"));
  EXPECT_EQ(all.at("completion_tokens").as_int64(), 2 * all.at("arrived").as_int64());
  EXPECT_EQ(all.at("ttft_ms").at("count"), all.at("arrived"));
  // One more: the first request, which shows that the daemon takes such ones.
  EXPECT_EQ(static_cast<int64_t>(daemon.requests().size()), all.at("arrived").as_int64() + 1);
}

TEST(Bench, ARefusedRequestComesBackOnTimeWithItsTicketAndTheSameBody) {
  std::atomic<int> count{0};
  FakeDaemon daemon([&](const FakeRequest&) { return ++count == 2 ? refusal("ticket-2") : whole_answer(); });
  const auto point =
      point_of(run_dsctl(bench(daemon.runtime_dir(), {"--rate", "20", "--duration", "500ms"})));
  const auto& honesty = point.at("retry_after");
  EXPECT_EQ(honesty.at("booked").as_int64(), 1);
  EXPECT_EQ(honesty.at("ticketed").as_int64(), 1);
  EXPECT_EQ(honesty.at("came_back").as_int64(), 1);
  EXPECT_EQ(honesty.at("ticketed_served").as_int64(), 1);
  EXPECT_LT(honesty.at("error_ms").at("max").to_number<double>(), 5000);
  EXPECT_EQ(honesty.at("ticket_error_ms").at("count").as_int64(), 1);
  const auto& all = point.at("all");
  EXPECT_EQ(all.at("refused").as_int64(), 0);
  EXPECT_EQ(all.at("refusals").at(0).at("reason").as_string(), "queue_full");
  const auto requests = daemon.requests();
  size_t with_ticket = 0;
  for (const FakeRequest& request : requests) {
    if (request.head.find("X-Deepserve-Ticket: ticket-2") == std::string::npos) continue;
    ++with_ticket;
    EXPECT_EQ(request.body, requests[1].body);
  }
  EXPECT_EQ(with_ticket, 1u);
}

TEST(Bench, WithoutRetriesARefusalIsTheEnd) {
  std::atomic<int> count{0};
  FakeDaemon daemon([&](const FakeRequest&) { return ++count == 1 ? whole_answer() : refusal("t"); });
  const auto point = point_of(
      run_dsctl(bench(daemon.runtime_dir(), {"--rate", "40", "--duration", "500ms", "--retries", "none"})));
  const auto& all = point.at("all");
  EXPECT_EQ(all.at("refused"), all.at("arrived"));
  EXPECT_EQ(all.at("goodput_per_s").to_number<double>(), 0);
}

TEST(Bench, DegradedAnswersAreCountedApart) {
  FakeDaemon daemon([](const FakeRequest&) {
    FakeAnswer answer = whole_answer();
    answer.bytes.insert(answer.bytes.find("\r\n") + 2, "X-Deepserve-Degraded: max_tokens\r\n");
    return answer;
  });
  const auto point =
      point_of(run_dsctl(bench(daemon.runtime_dir(), {"--rate", "40", "--duration", "500ms"})));
  const auto& all = point.at("all");
  EXPECT_EQ(all.at("degraded"), all.at("arrived"));
  EXPECT_EQ(all.at("degradations").at("max_tokens"), all.at("arrived"));
  EXPECT_EQ(all.at("within_slo").as_int64(), 0);
}

TEST(Bench, WhatFindsNoFreeConnectionInTimeIsUnsentAndSaid) {
  std::atomic<int> count{0};
  FakeDaemon daemon([&](const FakeRequest&) {
    FakeAnswer answer = whole_answer();
    if (++count > 1) answer = {"", true};  // it takes the request and says nothing
    return answer;
  });
  std::vector<std::string> arguments =
      bench(daemon.runtime_dir(), {"--rate", "40", "--duration", "1s", "--connections", "1", "--unsent-after",
                                   "100ms", "--drain", "500ms"});
  const auto point = point_of(run_dsctl(arguments));
  const auto& all = point.at("all");
  EXPECT_EQ(all.at("unfinished").as_int64(), 1);
  EXPECT_EQ(all.at("unsent").as_int64(), all.at("arrived").as_int64() - 1);
}

TEST(Bench, ATraceIsSentAsRecorded) {
  FakeDaemon daemon([](const FakeRequest&) { return whole_answer(); });
  const auto path = std::filesystem::path(daemon.runtime_dir()) / "trace.jsonl";
  std::ofstream(path) << R"({"at_ms": 0, "class": "vip", "prompt_tokens": 3, "max_tokens": 2})"
                         "\n"
                      << R"({"at_ms": 50, "class": "batch", "prompt_tokens": 3, "max_tokens": 7})"
                         "\n";
  const auto outcome = run_dsctl({"--runtime-dir", daemon.runtime_dir(), "bench", "--trace", path, "--json"});
  EXPECT_EQ(point_of(outcome).at("all").at("arrived").as_int64(), 2);
  EXPECT_THAT(daemon.requests().back().head, HasSubstr("X-Deepserve-Class: batch\r\n"));
  EXPECT_THAT(daemon.requests().back().body, HasSubstr("\"max_tokens\":7"));
}

TEST(Bench, PeopleGetTablesAndTheDaemonGetsNoProgressOnAPipe) {
  FakeDaemon daemon([](const FakeRequest&) { return whole_answer(); });
  const auto svg = std::filesystem::path(daemon.runtime_dir()) / "plot.svg";
  const Outcome outcome = run_dsctl({"--runtime-dir", daemon.runtime_dir(), "bench", "--rate", "20,40",
                                     "--duration", "300ms", "--warmup", "0", "--svg", svg});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, HasSubstr("GOODPUT/s"));
  EXPECT_THAT(outcome.out, HasSubstr("sent late by p50"));
  EXPECT_THAT(outcome.out, HasSubstr("HELD TO A BAR"));
  EXPECT_GT(std::filesystem::file_size(svg), 500u);
}

TEST(Bench, ATerminalSeesHowItGoesAndCtrlCPrintsWhatWasMeasured) {
  FakeDaemon daemon([](const FakeRequest&) { return whole_answer(); });
  TerminalDsctl dsctl(
      {"--runtime-dir", daemon.runtime_dir(), "bench", "--rate", "50", "--duration", "60s", "--warmup", "0"});
  EXPECT_TRUE(dsctl.wait_for("in flight"));
  dsctl.type("\x03");
  EXPECT_TRUE(dsctl.wait_for("GOODPUT/s"));
  EXPECT_TRUE(dsctl.wait_for("interrupted"));
  EXPECT_EQ(dsctl.wait_for_end(), 0);
}

TEST(Bench, ExitCodesAreThoseOfEveryCommand) {
  EXPECT_EQ(run_dsctl(bench("/nowhere", {"--rate", "5"})).exit_code, 3);
  EXPECT_EQ(run_dsctl({"bench", "--url", "http://127.0.0.1:1", "--rate", "5"}).exit_code, 3);
  EXPECT_EQ(run_dsctl({"bench", "--url", "https://127.0.0.1:1", "--rate", "5"}).exit_code, 2);
  EXPECT_EQ(run_dsctl({"bench", "--rate", "0"}).exit_code, 2);
  EXPECT_EQ(run_dsctl({"bench"}).exit_code, 2);
  FakeDaemon daemon([](const FakeRequest&) { return error_answer(404, "model_not_found"); });
  const Outcome outcome = run_dsctl(bench(daemon.runtime_dir(), {"--rate", "5"}));
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("model_not_found"));
}

}  // namespace
}  // namespace deepserve::ctl
