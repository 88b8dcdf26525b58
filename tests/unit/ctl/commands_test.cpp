#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <filesystem>
#include <fstream>

#include "tests/unit/ctl/dsctl_process.h"
#include "tests/unit/ctl/fake_daemon.h"

namespace deepserve::ctl {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kModel =
    R"({"name":"tiny","aliases":[],"path":"/models/tiny.gguf","generation":1,"state":"ready",)"
    R"("runners":["tiny@cpu0"],"bytes":7549747,"architecture":"llama","parameters":7300000,)"
    R"("breaker":"half_open",)"
    R"("weights_type":"Q8_0","context_tokens":1024,"context_tokens_model":1024,"vocabulary":4096,)"
    R"("chat_template":"chatml","numerics_id":"abc"})";
constexpr const char* kRunner =
    R"({"id":"tiny@cpu0","pid":77,"device":"cpu0","model":"tiny","generation":1,"state":"ready",)"
    R"("restarts":2,"uptime_s":12.5,"last_error":"","steps":1234,"bytes_loaded":1,"requests":0,)"
    R"("isa":"avx2","numerics_id":"abc","kv_blocks_total":64,"kv_blocks_free":60,"sequences_running":1,)"
    R"("sequences_waiting":0,"prefill_tokens_per_second":900.0})";
constexpr const char* kGpu =
    R"({"index":0,"uuid":"GPU-8f3a","name":"NVIDIA H200","memory_bytes":150000000000,)"
    R"("compute_capability":"9.0","state":"ready","trouble":"","age_s":0.4,"utilization":0.75,)"
    R"("memory_used_bytes":50000000000,"temperature_celsius":61,"power_watts":412.5,)"
    R"("ecc_corrected":3,"ecc_uncorrected":0,"xids":{"31":2,"79":1}})";
constexpr const char* kLostGpu =
    R"({"index":1,"uuid":"GPU-0000","name":"NVIDIA H200","memory_bytes":150000000000,"state":"failed",)"
    R"("trouble":"GPU is lost","age_s":0.4,"utilization":null,"memory_used_bytes":null,)"
    R"("temperature_celsius":null,"power_watts":null,"ecc_corrected":null,"xids":{}})";
constexpr const char* kGpuRunner =
    R"({"id":"large@gpu0","device":"half0","ranks":[{"rank":0,"pid":78,"device":"half0",)"
    R"("gpu":"GPU-8f3a0000-1111-2222-3333-44445555abcd","thread_percent":50,"sharing":"shared",)"
    R"("mps_pid":99}],"pid":78,"state":"ready","gpus":[{"index":0,"name":"NVIDIA H200",)"
    R"("state":"ready","power_watts":412.5}]})";
constexpr const char* kRequest =
    R"({"id":"00c0ffee00c0ffee","state":"streaming","client":"uid:0","peer":{"pid":5,"uid":0,"gid":0},)"
    R"("class":"vip","model":"tiny","runner":"tiny@cpu0","endpoint":"chat","age_s":1.5,)"
    R"("prompt_tokens":12,"generated_tokens":3})";

constexpr const char* kTrace =
    R"({"id":"00c0ffee00c0ffee","client":"uid:0","class":"vip","model":"tiny","endpoint":"chat",)"
    R"("dispatches":2,"deaths":1,"left_out":3,"events":[)"
    R"({"at_s":0.0,"event":"arrived","runner":"","pid":-1,"tokens":0,"text":""},)"
    R"({"at_s":1.25,"event":"runner_died","runner":"tiny@cpu0","pid":77,"tokens":12,"text":"SIGKILL"}]})";

FakeAnswer control_answer(const FakeRequest& request) {
  const std::string model = kModel;
  const std::string runner = kRunner;
  if (request.line == "GET /ctl/status") {
    return json_answer(200,
                       R"({"version":"9.9.9","pid":42,"uptime_s":3700.2,"ready":true,"stopping":false,)"
                       R"("runtime_dir":"/run/x","models":[)" +
                           model + R"(],"runners":[)" + runner + R"(],"gpus":[)" + kGpu + "," + kLostGpu +
                           R"(],"brownout":"cap_tokens",)"
                           R"("classes":{"vip":{"waiting":0},"normal":{"waiting":3},"batch":{"waiting":1}},)"
                           R"("requests":{"running":2,"waiting":4}})");
  }
  if (request.line == "GET /ctl/models") return json_answer(200, "[" + model + "]\n");
  if (request.line == "GET /ctl/models/tiny") return json_answer(200, model);
  if (request.line == "GET /ctl/runners") return json_answer(200, "[" + runner + "]");
  if (request.line == "GET /ctl/runners/tiny@cpu0") return json_answer(200, runner);
  if (request.line == "GET /ctl/runners/large@gpu0") return json_answer(200, kGpuRunner);
  for (const char* verb : {"restart", "reset"}) {
    if (request.line == std::string("POST /ctl/runners/tiny@cpu0/") + verb) return json_answer(200, runner);
  }
  for (const char* path : {"/ctl/drain", "/ctl/drain/tiny", "/ctl/runners/tiny@cpu0/drain"}) {
    if (request.line == std::string("POST ") + path) return json_answer(200, R"({"state":"drained"})");
  }
  for (const char* path : {"/ctl/resume", "/ctl/resume/tiny", "/ctl/runners/tiny@cpu0/resume"}) {
    if (request.line == std::string("POST ") + path) return json_answer(200, R"({"state":"resumed"})");
  }
  if (request.line == "GET /ctl/requests/00c0ffee00c0ffee/trace") return json_answer(200, kTrace);
  if (request.line == "POST /ctl/daemon/reexec") {
    return json_answer(200, R"({"pid":42,"version":"9.9.9","version_before":"9.9.8","pause_ms":12.5})");
  }
  if (request.line == "GET /ctl/requests") return json_answer(200, "[" + std::string(kRequest) + "]");
  if (request.line == "GET /ctl/requests/00c0ffee00c0ffee") return json_answer(200, kRequest);
  if (request.line == "POST /ctl/requests/00c0ffee00c0ffee/cancel") {
    return json_answer(200, R"({"id":"00c0ffee00c0ffee","state":"cancelled"})");
  }
  if (request.line == "GET /ctl/queue") {
    return json_answer(200, R"([{"id":"00c0ffee00c0ffef","class":"normal","client":"web","model":"tiny",)"
                            R"("age_s":0.5,"deadline_in_s":4.5,"predicted_ttft_s":3.2,"cost_s":0.9,)"
                            R"("ahead_s":2.1,"booked":true,"waits_for":"memory"}])");
  }
  if (request.line == "GET /ctl/clients") {
    return json_answer(200, R"([{"client":"web","running":3,"max_concurrent":8,"tokens_left":5200,)"
                            R"("tokens_per_minute":6000,"recent_requests":12,"recent_retries":1,)"
                            R"("denied_total":7,"seen_s":0.25}])");
  }
  if (request.line == "GET /ctl/config") {
    return json_answer(200, R"({"path":"/etc/x.toml","config":{"server":{"listen":["unix:api.sock"]}}})");
  }
  return error_answer(
      404, request.line.find("/ctl/models/") == std::string::npos ? "not_found" : "model_not_found");
}

class Commands : public ::testing::Test {
 protected:
  Outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--runtime-dir", daemon_.runtime_dir()});
    return run_dsctl(arguments);
  }

  FakeDaemon daemon_{control_answer};
};

const std::vector<std::vector<std::string>> kAllThatAsk = {{"status"},
                                                           {"version"},
                                                           {"model", "ls"},
                                                           {"model", "show", "tiny"},
                                                           {"runner", "ls"},
                                                           {"runner", "show", "tiny@cpu0"},
                                                           {"runner", "restart", "tiny@cpu0"},
                                                           {"runner", "reset", "tiny@cpu0"},
                                                           {"runner", "drain", "tiny@cpu0"},
                                                           {"runner", "resume", "tiny@cpu0"},
                                                           {"model", "drain", "tiny"},
                                                           {"model", "resume", "tiny"},
                                                           {"drain"},
                                                           {"resume"},
                                                           {"request", "trace", "00c0ffee00c0ffee"},
                                                           {"daemon", "reexec"},
                                                           {"daemon", "reexec", "--binary", "dsd"},
                                                           {"request", "ls"},
                                                           {"request", "show", "00c0ffee00c0ffee"},
                                                           {"request", "cancel", "00c0ffee00c0ffee"},
                                                           {"queue", "ls"},
                                                           {"client", "ls"},
                                                           {"config", "show"},
                                                           {"completion", "bash"}};

TEST_F(Commands, StatusHasALineForEachGpu) {
  const std::string text = run({"status"}).out;
  EXPECT_THAT(text, ContainsRegex("0 +NVIDIA H200 +ready +46.6 GiB +139.7 GiB +75 % +61 C +412 W +3\\+0 "
                                  "+31 \\(2\\), 79 +-"));
  EXPECT_THAT(text, ContainsRegex("1 +NVIDIA H200 +failed +- +139.7 GiB +- +- +- +- +- +GPU is lost"));
}

TEST_F(Commands, ARunnersGpuFollowsWhatElseIsKnownOfIt) {
  const std::string text = run({"runner", "show", "large@gpu0"}).out;
  EXPECT_THAT(text, ContainsRegex("pid +78\nstate +ready\n\n"));
  EXPECT_THAT(text, ContainsRegex("device +half0 \\(GPU 8f3a0000, 50 %, shared\\)\n"));
  EXPECT_THAT(text, ContainsRegex("0 +NVIDIA H200 +ready .*412 W"));
  EXPECT_THAT(run({"runner", "show", "tiny@cpu0"}).out, Not(HasSubstr("GPU")));
}

TEST_F(Commands, EachSucceedsAndItsJsonIsOneValidLine) {
  for (const auto& command : kAllThatAsk) {
    SCOPED_TRACE(command.front() + (command.size() > 1 ? " " + command[1] : ""));
    const Outcome text = run(command);
    EXPECT_EQ(text.exit_code, 0) << text.err;
    EXPECT_FALSE(text.out.empty());
    EXPECT_THAT(text.out, Not(HasSubstr("\x1b")));
    auto with_json = command;
    with_json.emplace_back("--json");
    const Outcome json = run(with_json);
    EXPECT_EQ(json.exit_code, 0) << json.err;
    boost::system::error_code error;
    boost::json::parse(json.out, error);
    EXPECT_FALSE(error) << json.out;
    EXPECT_EQ(std::count(json.out.begin(), json.out.end(), '\n'), 1) << json.out;
  }
}

TEST_F(Commands, StatusShowsEverythingOnOneScreen) {
  const Outcome outcome = run({"status"});
  for (const char* part :
       {"deepserve 9.9.9", "pid 42", "1 h 1 min", "ready", "tiny@cpu0", "7.2 MiB", "60/64", "running 2",
        "waiting 4", "vip 0, normal 3, batch 1", "BROWNOUT  cap_tokens", "BREAKER  tiny half_open"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
  EXPECT_LE(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 24);
}

TEST_F(Commands, ATraceShowsDeathsAndWhatWasLeftOut) {
  const Outcome outcome = run({"request", "trace", "cmpl-00c0ffee00c0ffee"});
  for (const char* part :
       {"2 dispatches, 1 deaths", "1250.000 ms", "runner_died", "SIGKILL", "77", "(3 events"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
}

TEST_F(Commands, ADrainSaysOfWhat) {
  EXPECT_EQ(run({"drain"}).out, "the host is drained\n");
  EXPECT_EQ(run({"model", "drain", "tiny"}).out, "model tiny is drained\n");
  EXPECT_EQ(run({"runner", "resume", "tiny@cpu0"}).out, "runner tiny@cpu0 is resumed\n");
}

TEST_F(Commands, GlobalOptionsMayStandBeforeOrAfterTheCommand) {
  const std::string dir = daemon_.runtime_dir();
  const std::string expected = std::string("[").append(kModel).append("]\n");
  EXPECT_EQ(run_dsctl({"--json", "--runtime-dir", dir, "model", "ls"}).out, expected);
  EXPECT_EQ(run_dsctl({"model", "--json", "ls", "--runtime-dir", dir}).out, expected);
  EXPECT_EQ(run_dsctl({"model", "ls", "--runtime-dir=" + dir, "--json"}).out, expected);
}

TEST_F(Commands, WhatIsNotThereExitsWithFive) {
  const Outcome model = run({"model", "show", "nope"});
  EXPECT_EQ(model.exit_code, 5);
  EXPECT_EQ(model.err, "dsctl: it is model_not_found\n");
  EXPECT_EQ(run({"runner", "restart", "nope"}).exit_code, 5);
  EXPECT_EQ(run({"request", "cancel", "feed"}).exit_code, 5);
}

TEST_F(Commands, RequestsAreFoundByTheIdThatTheApiGaveThem) {
  EXPECT_EQ(run({"request", "cancel", "chatcmpl-00c0ffee00c0ffee"}).exit_code, 0);
}

TEST_F(Commands, NamesCannotLeaveTheirPlaceInThePath) {
  run({"model", "show", "../status?x"});
  EXPECT_EQ(daemon_.requests().at(0).line, "GET /ctl/models/..%2Fstatus%3Fx");
}

TEST_F(Commands, AFailureWithJsonIsJsonToo) {
  const Outcome outcome = run({"model", "show", "nope", "--json"});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_EQ(outcome.out,
            "{\"error\":{\"code\":\"model_not_found\",\"message\":\"it is model_not_found\"}}\n");
}

TEST_F(Commands, AReaderThatHasGoneIsNoFailure) {
  const Outcome outcome = run_dsctl_without_reader({"--runtime-dir", daemon_.runtime_dir(), "model", "ls"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
}

TEST(Usage, WrongLinesExitWithTwo) {
  for (const auto& line : std::vector<std::vector<std::string>>{{},
                                                                {"frob"},
                                                                {"model"},
                                                                {"model", "show"},
                                                                {"status", "--frob"},
                                                                {"chat", "--class", "x", "hi"},
                                                                {"chat", "--max-tokens", "many", "hi"},
                                                                {"completion", "tcsh"},
                                                                {"generate"}}) {
    const Outcome outcome = run_dsctl(line);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_FALSE(outcome.err.empty());
  }
  EXPECT_THAT(run_dsctl({"frob"}).err, HasSubstr("\"frob\""));
}

TEST(Usage, HelpAndVersionExitWithZero) {
  EXPECT_THAT(run_dsctl({"--help"}).out, HasSubstr("status"));
  EXPECT_EQ(run_dsctl({"model", "--help"}).exit_code, 0);
  EXPECT_THAT(run_dsctl({"--version"}).out, HasSubstr("dsctl "));
}

TEST(Unreachable, ExitsWithThreeAtOnceAndNamesTheSocket) {
  for (const char* command : {"status", "chat"}) {
    const Outcome outcome = run_dsctl({"--runtime-dir", "/nowhere", command, "--json"}, "hello");
    EXPECT_EQ(outcome.exit_code, 3);
    EXPECT_THAT(outcome.err, HasSubstr("/nowhere/"));
    EXPECT_THAT(outcome.out, HasSubstr("daemon_unreachable"));
  }
}

TEST(Unreachable, ADaemonThatHangsUpWithoutAnAnswerCountsAsGone) {
  FakeDaemon daemon([](const FakeRequest&) { return FakeAnswer{}; });
  EXPECT_EQ(run_dsctl({"--runtime-dir", daemon.runtime_dir(), "status"}).exit_code, 3);
}

TEST(Unreachable, VersionStillTellsItsOwn) {
  const Outcome outcome = run_dsctl({"--runtime-dir", "/nowhere", "version", "--json"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("\"dsd\":null"));
}

TEST(BadAnswers, ThatAreNoHttpOrNoJsonOrCutShortExitWithOne) {
  for (const char* bytes : {"garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[]"}) {
    FakeDaemon daemon([&](const FakeRequest&) { return FakeAnswer{bytes}; });
    const Outcome outcome = run_dsctl({"--runtime-dir", daemon.runtime_dir(), "model", "ls"});
    EXPECT_EQ(outcome.exit_code, 1) << bytes;
    EXPECT_FALSE(outcome.err.empty());
  }
}

TEST(ConfigCheck, RunsTheDaemonBesideItAndPassesItsVerdictOn) {
  FakeDaemon directory([](const FakeRequest&) { return FakeAnswer{}; });
  const std::filesystem::path bin = directory.runtime_dir();
  std::filesystem::copy_file(DSCTL_BINARY, bin / "dsctl");
  std::ofstream(bin / "dsd") << "#!/bin/sh\necho \"$@\"\necho complaint >&2\n[ \"$2\" = good.toml ]\n";
  std::filesystem::permissions(bin / "dsd", std::filesystem::perms::owner_all);
  const Outcome good = run_binary(bin / "dsctl", {"config", "check", "good.toml", "--json"});
  EXPECT_EQ(good.exit_code, 0);
  EXPECT_EQ(good.out, "--config good.toml --check --json\n");
  const Outcome bad = run_binary(bin / "dsctl", {"config", "check"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_EQ(bad.out, "--config /etc/deepserve/deepserve.toml --check\n");
  EXPECT_EQ(bad.err, "complaint\n");
}

}  // namespace
}  // namespace deepserve::ctl
