#include "daemon/observe/metrics.h"

#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

std::string scrape(ApiServer& test) {
  Client client = test.connect();
  EXPECT_TRUE(client.send(get("/metrics")));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.fields.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  return answer.body;
}

void expect_line(const std::string& text, const std::string& line) {
  EXPECT_NE(text.find("\n" + line + "\n"), std::string::npos) << line << "\nin\n" << text;
}

TEST(Metrics, TellWhatHappenedToRequests) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a"})")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({.request = 1, .prompt_tokens = 5, .cached_tokens = 0});
  sink.on_delta(delta("a"));
  sink.on_delta(delta("b", {1, 2}));
  sink.on_finished(finished());
  ASSERT_EQ(client.answer().status, 200);
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a"})")));
  test.sink(2).on_refused(refusal(1, ipc::Class::kNormal));
  ASSERT_EQ(client.answer().status, 503);
  test.metrics.count_runner_restart("hung");
  for (int i = 0; i < 2; ++i) {  // a second scrape counts nothing twice
    const std::string text = scrape(test);
    expect_line(text, "deepserve_num_requests_running 4");
    expect_line(text, R"(deepserve_num_requests_waiting{class="batch"} 3)");
    expect_line(text, R"(deepserve_kv_cache_usage_perc{runner="tiny@cpu0"} 0.25)");
    expect_line(text, "deepserve_prompt_tokens_total 5");
    expect_line(text, "deepserve_generation_tokens_total 3");
    expect_line(text, R"(deepserve_request_success_total{finished_reason="stop"} 1)");
    expect_line(text, R"(deepserve_admission_total{class="normal",outcome="accepted",reason=""} 1)");
    expect_line(text, R"(deepserve_admission_total{class="normal",outcome="refused",reason="queue_full"} 1)");
    expect_line(text, R"(deepserve_time_to_first_token_seconds_count{class="normal"} 1)");
    expect_line(text, "deepserve_inter_token_latency_seconds_count 2");
    expect_line(text, "deepserve_e2e_request_latency_seconds_count 1");
    expect_line(text, "deepserve_request_queue_time_seconds_count 1");
    expect_line(text, R"(deepserve_runner_restarts_total{reason="hung"} 1)");
    expect_line(text, R"(deepserve_http_responses_total{status="5xx"} 1)");
  }
}

TEST(Metrics, TellWhatIsKeptForThoseWhoComeBack) {
  ApiServer test;
  expect_line(scrape(test), "deepserve_kept_answers 0");
  expect_line(scrape(test), "deepserve_kept_answer_bytes 0");
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a"})", "X-Deepserve-Resume: 1\r\n")));
  test.sink().on_accepted({});
  test.sink().on_delta(delta(std::string(10'000, 'x')));
  const std::string text = scrape(test);
  expect_line(text, "deepserve_kept_answers 1");
  const std::string name = "\ndeepserve_kept_answer_bytes ";
  EXPECT_GT(std::stod(text.substr(text.find(name) + name.size())), 10'000);
}

TEST(Metrics, AtMostThirtyTwoClientsHaveALabel) {
  ApiServer test;
  for (int i = 0; i < 1000; ++i) {
    test.metrics.count_refused(ipc::Class::kNormal, "deadline", "client " + std::to_string(i));
    test.metrics.count_accepted({.client = "client 3", .queue_seconds = 0.1, .prompt_tokens = 1});
  }
  const std::string text = scrape(test);
  const std::string of_class = R"(deepserve_client_admission_total{class="normal",)";
  expect_line(text, of_class + R"(client="client 3",outcome="accepted",reason=""} 1000)");
  const auto refused = [](const std::string& client, int count) {
    return "deepserve_client_admission_total{class=\"normal\",client=\"" + client +
           "\",outcome=\"refused\",reason=\"deadline\"} " + std::to_string(count);
  };
  expect_line(text, refused("client 31", 1));
  expect_line(text, refused("other", 968));
  expect_line(text, R"(deepserve_admission_total{class="normal",outcome="refused",reason="deadline"} 1000)");
  EXPECT_EQ(text.find("client 32"), std::string::npos);
}

TEST(Metrics, PredictionsAndPromisesAreHeldAgainstWhatCame) {
  ApiServer test;
  RequestRow row;
  row.id = 1;
  row.service_class = ipc::Class::kNormal;
  row.predicted_ttft_s = 100;
  row.booked = true;
  test.serving.request_rows = {row};
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a"})")));
  ResponseSink& sink = test.sink();
  sink.on_degraded({"truncated_context, cap_tokens", 700});
  sink.on_accepted({});
  sink.on_delta(delta("a"));
  sink.on_finished(finished());
  ASSERT_EQ(client.answer().status, 200);
  const std::string text = scrape(test);
  expect_line(text, "deepserve_retry_after_error_seconds_count 1");
  expect_line(text, R"(deepserve_ttft_prediction_error_seconds_bucket{le="-30"} 1)");
  expect_line(text, R"(deepserve_degraded_answers_total{how="cap_tokens"} 1)");
  expect_line(text, R"(deepserve_degraded_answers_total{how="truncated_context"} 1)");
  expect_line(text, "deepserve_truncated_prompt_bytes_total 700");
  expect_line(text, R"(deepserve_admission_total{class="normal",outcome="degraded",reason=""} 1)");
  EXPECT_EQ(text.find(R"(outcome="accepted")"), std::string::npos) << "it is counted apart from full answers";
}

TEST(Metrics, APromiseThatIsBrokenCountsWithWhatHasToBeWaitedStill) {
  ApiServer test;
  RequestRow row;
  row.id = 1;
  row.booked = true;
  test.serving.request_rows = {row};
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a"})")));
  test.sink().on_refused(refusal(20'000, ipc::Class::kNormal));
  ASSERT_EQ(client.answer().status, 503);
  const std::string text = scrape(test);
  expect_line(text, R"(deepserve_retry_after_error_seconds_bucket{le="10"} 0)");
  expect_line(text, R"(deepserve_retry_after_error_seconds_bucket{le="30"} 1)");
}

TEST(Metrics, TellOfBreakersAndOfTheBrownoutLadder) {
  ApiServer test;
  expect_line(scrape(test), R"(deepserve_breaker_state{model="tiny"} 0)");
  test.serving.model_rows[0].breaker = "open";
  test.serving.model_rows[0].breaker_opened_total = 3;
  test.serving.brownout_level = 2;
  const std::string text = scrape(test);
  expect_line(text, R"(deepserve_breaker_state{model="tiny"} 2)");
  expect_line(text, R"(deepserve_breaker_opened_total{model="tiny"} 3)");
  expect_line(text, "deepserve_brownout_level 2");
}

GpuState gpu_that_answers() {
  return {.identity = {.index = 1, .uuid = "GPU-8f3a", .memory_bytes = 150'000'000'000},
          .reading = {.utilization = 0.75,
                      .memory_used_bytes = 50'000'000'000,
                      .temperature_celsius = 61,
                      .power_watts = 412.5,
                      .ecc_corrected = 3,
                      .ecc_uncorrected = 0},
          .read_ns = monotonic_ns(),
          .xids = {{31, 2}, {GpuState::kOtherXids, 5}}};
}

TEST(Metrics, TellWhatTheGpusDo) {
  ApiServer test;
  test.serving.gpu_rows = {gpu_that_answers()};
  for (int i = 0; i < 2; ++i) {  // a second scrape counts nothing twice
    const std::string text = scrape(test);
    const std::string labels = R"({gpu="1",uuid="GPU-8f3a")";
    expect_line(text, "deepserve_gpu_answers" + labels + "} 1");
    expect_line(text, "deepserve_gpu_utilization_ratio" + labels + "} 0.75");
    expect_line(text, "deepserve_gpu_memory_used_bytes" + labels + "} 50000000000");
    expect_line(text, "deepserve_gpu_memory_total_bytes" + labels + "} 150000000000");
    expect_line(text, "deepserve_gpu_temperature_celsius" + labels + "} 61");
    expect_line(text, "deepserve_gpu_power_watts" + labels + "} 412.5");
    expect_line(text, R"(deepserve_gpu_ecc_errors_total{gpu="1",type="corrected",uuid="GPU-8f3a"} 3)");
    expect_line(text, R"(deepserve_gpu_ecc_errors_total{gpu="1",type="uncorrected",uuid="GPU-8f3a"} 0)");
    expect_line(text, R"(deepserve_gpu_xid_errors_total{gpu="1",uuid="GPU-8f3a",xid="31"} 2)");
    expect_line(text, R"(deepserve_gpu_xid_errors_total{gpu="1",uuid="GPU-8f3a",xid="other"} 5)");
    EXPECT_EQ(text.find("\ndeepserve_gpu_sm_clock_hertz{"), std::string::npos) << "nobody told";
  }
}

TEST(Metrics, SayNothingOfAGpuThatDoesNotAnswerButThat) {
  ApiServer test;
  test.serving.gpu_rows = {gpu_that_answers()};
  scrape(test);
  test.serving.gpu_rows[0].reading = {.trouble = "GPU is lost"};
  const std::string text = scrape(test);
  expect_line(text, R"(deepserve_gpu_answers{gpu="1",uuid="GPU-8f3a"} 0)");
  EXPECT_EQ(text.find("\ndeepserve_gpu_temperature_celsius{"), std::string::npos);
  expect_line(text, R"(deepserve_gpu_xid_errors_total{gpu="1",uuid="GPU-8f3a",xid="31"} 2)");
  test.serving.gpu_rows.clear();
  EXPECT_EQ(scrape(test).find("\ndeepserve_gpu_answers{"), std::string::npos);
}

TEST(Metrics, EccErrorsThatBeginAnewWithTheDriverAddUp) {
  ApiServer test;
  test.serving.gpu_rows = {gpu_that_answers()};
  scrape(test);
  test.serving.gpu_rows[0].reading.ecc_corrected = 1;
  expect_line(scrape(test), R"(deepserve_gpu_ecc_errors_total{gpu="1",type="corrected",uuid="GPU-8f3a"} 4)");
}

TEST(Metrics, ForgetRunnersThatAreNoMore) {
  ApiServer test;
  expect_line(scrape(test), R"(deepserve_runner_ready{runner="tiny@cpu0"} 1)");
  test.serving.runner_rows.clear();
  EXPECT_EQ(scrape(test).find("deepserve_runner_ready{"), std::string::npos);
}

TEST(Metrics, TotalsOfARunnerSurviveItsRestart) {
  ApiServer test;
  auto& gauges = test.serving.runner_rows[0].gauges;
  gauges.preemptions_total = 5;
  expect_line(scrape(test), R"(deepserve_num_preemptions_total{runner="tiny@cpu0"} 5)");
  gauges.draft_tokens_total = 30;
  gauges.draft_tokens_accepted_total = 20;
  expect_line(scrape(test), R"(deepserve_spec_decode_num_draft_tokens_total{runner="tiny@cpu0"} 30)");
  expect_line(scrape(test), R"(deepserve_spec_decode_num_accepted_tokens_total{runner="tiny@cpu0"} 20)");
  gauges.preemptions_total = 2;  // a new process
  expect_line(scrape(test), R"(deepserve_num_preemptions_total{runner="tiny@cpu0"} 7)");
}

}  // namespace
}  // namespace deepserve::daemon
