#include "daemon/api/control.h"

#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

boost::json::value get_json(ApiServer& test, const std::string& path, int status = 200) {
  Client client = test.connect();
  EXPECT_TRUE(client.send(get(path)));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, status) << path;
  return json_of(answer.body);
}

TEST(Control, TellsTheStatus) {
  ApiServer test;
  const auto status = get_json(test, "/ctl/status");
  EXPECT_EQ(status.at("version").as_string(), DEEPSERVE_VERSION);
  EXPECT_EQ(status.at("pid").as_int64(), ::getpid());
  EXPECT_TRUE(status.at("ready").as_bool());
  EXPECT_FALSE(status.at("stopping").as_bool());
  EXPECT_EQ(status.at("runtime_dir").as_string(), "/run/x");
  EXPECT_EQ(status.at_pointer("/models/0/name").as_string(), "tiny");
  EXPECT_EQ(status.at_pointer("/runners/0/id").as_string(), "tiny@cpu0");
  EXPECT_EQ(status.at_pointer("/classes/normal/waiting").as_int64(), 2);
  EXPECT_EQ(status.at_pointer("/requests/running").as_int64(), 4);
  EXPECT_EQ(status.at_pointer("/requests/waiting").as_int64(), 6);
}

TEST(Control, ShowsModelsAndTheirFactsOnceKnown) {
  ApiServer test;
  EXPECT_EQ(get_json(test, "/ctl/models").at_pointer("/0/architecture").as_string(), "llama");
  EXPECT_EQ(get_json(test, "/ctl/models/small").at("name").as_string(), "tiny");
  EXPECT_EQ(get_json(test, "/ctl/models/none", 404).at_pointer("/error/code").as_string(), "model_not_found");
  test.serving.model_rows[0].facts.reset();
  EXPECT_TRUE(get_json(test, "/ctl/models").at_pointer("/0/architecture").is_null());
}

TEST(Control, ShowsRunners) {
  ApiServer test;
  EXPECT_EQ(get_json(test, "/ctl/runners").at_pointer("/0/kv_blocks_free").as_int64(), 6);
  EXPECT_EQ(get_json(test, "/ctl/runners/tiny@cpu0").at("state").as_string(), "ready");
  EXPECT_EQ(get_json(test, "/ctl/runners/tiny%40cpu0").at("state").as_string(), "ready");
  const auto error = get_json(test, "/ctl/runners/other@cpu0", 404);
  EXPECT_NE(error.at_pointer("/error/message").as_string().find("tiny@cpu0"), std::string::npos);
}

TEST(Control, ShowsTheGpusOfTheHostAndOfARunner) {
  ApiServer test;
  EXPECT_TRUE(get_json(test, "/ctl/status").at("gpus").as_array().empty());
  test.serving.gpu_rows = {
      {.identity = {.index = 0, .uuid = "GPU-a", .name = "NVIDIA H200", .memory_bytes = 8, .capability = 90},
       .reading = {.utilization = 0.5, .memory_used_bytes = 3},
       .read_ns = monotonic_ns(),
       .xids = {{79, 1}, {GpuState::kOtherXids, 2}}},
      {.identity = {.index = 1, .uuid = "GPU-b"},
       .reading = {.trouble = "GPU is lost"},
       .read_ns = monotonic_ns()},
      {.identity = {.index = 2, .uuid = "GPU-c"}, .read_ns = monotonic_ns() - GpuState::kStale_ns}};
  test.serving.runner_rows[0].gpus = {test.serving.gpu_rows[0]};
  const auto status = get_json(test, "/ctl/status");
  const auto gpu = status.at_pointer("/gpus/0");
  EXPECT_EQ(gpu.at("uuid").as_string(), "GPU-a");
  EXPECT_EQ(gpu.at("compute_capability").as_string(), "9.0");
  EXPECT_EQ(gpu.at("state").as_string(), "ready");
  EXPECT_EQ(gpu.at("memory_used_bytes").as_int64(), 3);
  EXPECT_TRUE(gpu.at("power_watts").is_null());
  EXPECT_EQ(gpu.at("xids").at("79").as_int64(), 1);
  EXPECT_EQ(gpu.at("xids").at("other").as_int64(), 2);
  EXPECT_EQ(status.at_pointer("/gpus/1/state").as_string(), "failed");
  EXPECT_EQ(status.at_pointer("/gpus/1/trouble").as_string(), "GPU is lost");
  EXPECT_EQ(status.at_pointer("/gpus/2/trouble").as_string(), "its driver does not answer");
  EXPECT_EQ(get_json(test, "/ctl/runners/tiny@cpu0").at_pointer("/gpus/0/uuid").as_string(), "GPU-a");
}

TEST(Control, TheQueueIsWhatWaitsAndWhy) {
  ApiServer test;
  RequestRow runs;
  runs.id = 1;
  runs.state = "streaming";
  RequestRow waits;
  waits.id = 2;
  waits.state = "queued";
  waits.waits_for = "memory";
  waits.deadline_in_s = 4.5;
  waits.predicted_ttft_s = 3.25;
  waits.ahead_s = 2;
  waits.booked = true;
  test.serving.request_rows = {runs, waits};
  const auto queue = get_json(test, "/ctl/queue");
  ASSERT_EQ(queue.as_array().size(), 1u);
  EXPECT_EQ(queue.at_pointer("/0/id").as_string(), "0000000000000002");
  EXPECT_EQ(queue.at_pointer("/0/waits_for").as_string(), "memory");
  EXPECT_EQ(queue.at_pointer("/0/deadline_in_s").as_double(), 4.5);
  EXPECT_EQ(queue.at_pointer("/0/predicted_ttft_s").as_double(), 3.25);
  EXPECT_TRUE(queue.at_pointer("/0/booked").as_bool());
  EXPECT_TRUE(get_json(test, "/ctl/requests/0000000000000001").at("waits_for").is_null());
}

TEST(Control, ClientsAreShownWithTheLimitsThatTheyHave) {
  ApiServer test;
  ClientRow limited;
  limited.client = "web";
  limited.running = 3;
  limited.concurrent_max = 8;
  limited.tokens_per_minute = 6'000;
  limited.tokens_left = 5'200.5;
  limited.denied_total = 7;
  ClientRow free;
  free.client = "uid:0";
  test.serving.client_rows = {limited, free};
  const auto clients = get_json(test, "/ctl/clients");
  EXPECT_EQ(clients.at_pointer("/0/client").as_string(), "web");
  EXPECT_EQ(clients.at_pointer("/0/max_concurrent").as_int64(), 8);
  EXPECT_EQ(clients.at_pointer("/0/tokens_left").to_number<double>(), 5'200);
  EXPECT_EQ(clients.at_pointer("/0/denied_total").as_int64(), 7);
  EXPECT_TRUE(clients.at_pointer("/1/max_concurrent").is_null());
  EXPECT_TRUE(clients.at_pointer("/1/tokens_per_minute").is_null());
}

TEST(Control, ARestartAnswersWhenItsEffectHolds) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /ctl/runners/tiny@cpu0/restart HTTP/1.1\r\nHost: x\r\n\r\n"));
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.serving.restart_done != nullptr; }));
  EXPECT_EQ(client.received(), "");
  test.serving.runner_rows[0].restarts = 1;
  test.serving.restart_done({});
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json_of(answer.body).at("restarts").as_int64(), 1);
}

TEST(Control, ARestartThatFailsSaysWhy) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /ctl/runners/tiny@cpu0/restart HTTP/1.1\r\nHost: x\r\n\r\n"));
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.serving.restart_done != nullptr; }));
  test.serving.restart_done(fail(Code::kBadModelFile, "tensor x lies outside of the file"));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 500);
  EXPECT_NE(answer.body.find("tensor x"), std::string::npos);
}

TEST(Control, ARestartSurvivesItsClient) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /ctl/runners/tiny@cpu0/restart HTTP/1.1\r\nHost: x\r\n\r\n"));
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.serving.restart_done != nullptr; }));
  client.hang_up();
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.server.connections() == 0; }));
  test.serving.restart_done({});  // nobody is left to hear it
}

TEST(Control, ADrainAnswersOnceNothingIsLeftThere) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /ctl/runners/tiny@cpu0/drain HTTP/1.1\r\nHost: x\r\n\r\n"));
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.serving.drain_done != nullptr; }));
  EXPECT_EQ(client.received(), "");
  EXPECT_EQ(test.serving.drained[0].what, DrainTarget::What::kRunner);
  EXPECT_EQ(test.serving.drained[0].name, "tiny@cpu0");
  test.serving.drain_done({});
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json_of(answer.body).at("state").as_string(), "drained");
}

TEST(Control, ADrainThatIsResumedSaysSo) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /ctl/drain HTTP/1.1\r\nHost: x\r\n\r\n"));
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.serving.drain_done != nullptr; }));
  EXPECT_EQ(test.serving.drained[0].what, DrainTarget::What::kHost);
  test.serving.drain_done(fail(Code::kConflict, "the host was resumed"));
  EXPECT_EQ(client.answer().status, 409);
}

TEST(Control, AModelIsResumedByItsName) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /ctl/resume/small HTTP/1.1\r\nHost: x\r\n\r\n"));  // an alias
  EXPECT_EQ(client.answer().status, 200);
  ASSERT_EQ(test.serving.resumed.size(), 1u);
  EXPECT_EQ(test.serving.resumed[0].what, DrainTarget::What::kModel);
  EXPECT_EQ(test.serving.resumed[0].name, "tiny");
  Client other = test.connect();
  ASSERT_TRUE(other.send("POST /ctl/resume/nope HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(other.answer().status, 404);
}

TEST(Control, ATraceTellsTimesSinceTheArrival) {
  ApiServer test;
  RequestTrace trace;
  trace.request = 0xab;
  trace.add({.kind = TraceKind::kArrived, .at_ns = 1'000'000'000});
  trace.add({.kind = TraceKind::kRunnerDied, .at_ns = 3'500'000'000, .runner = "tiny@cpu0", .pid = 7});
  test.serving.traced = trace;
  const auto json = get_json(test, "/ctl/requests/ab/trace");
  EXPECT_EQ(json.at("deaths").as_int64(), 1);
  EXPECT_EQ(json.at("events").at(1).at("event").as_string(), "runner_died");
  EXPECT_EQ(json.at("events").at(1).at("at_s").as_double(), 2.5);
  get_json(test, "/ctl/requests/ac/trace", 404);
}

TEST(Control, ShowsAndCancelsRequests) {
  ApiServer test;
  Client running = test.connect();
  ASSERT_TRUE(running.send(post("/v1/completions", R"({"prompt": "a"})")));
  test.sink();
  RequestRow row;
  row.id = 1;
  row.state = "streaming";
  row.service_class = ipc::Class::kVip;
  row.model = "tiny";
  test.serving.request_rows.push_back(row);
  EXPECT_EQ(get_json(test, "/ctl/requests").at_pointer("/0/id").as_string(), "0000000000000001");
  EXPECT_EQ(get_json(test, "/ctl/requests/0000000000000001").at("class").as_string(), "vip");
  EXPECT_EQ(get_json(test, "/ctl/requests/xyz", 404).at_pointer("/error/code").as_string(), "not_found");
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /ctl/requests/0000000000000001/cancel HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(client.answer().body, "{\"id\":\"0000000000000001\",\"state\":\"cancelled\"}\n");
  EXPECT_EQ(test.serving.cancelled, std::vector<RequestId>{1});
  ASSERT_TRUE(client.send("POST /ctl/requests/00000000000000ff/cancel HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(client.answer().status, 404);
  // The one whose request it was hears of it.
  test.serving.started.at(1).sink->on_failed({Code::kCancelled, "cancelled by the operator"});
  EXPECT_EQ(running.answer().status, 499);
}

TEST(Control, ShowsTheConfigInForce) {
  ApiServer test;
  const auto config = get_json(test, "/ctl/config");
  EXPECT_EQ(config.at("path").as_string(), "/etc/x.toml");
  EXPECT_TRUE(config.at_pointer("/config/server").is_object());
}

}  // namespace
}  // namespace deepserve::daemon
