// A Serving whose every word the test says itself, and the API in front of it on a Unix socket.
#pragma once

#include <boost/json.hpp>
#include <deque>
#include <map>

#include "daemon/api/api.h"
#include "daemon/api/control.h"
#include "tests/unit/http/harness.h"

namespace deepserve::daemon {

class FakeServing final : public Serving {
 public:
  struct Started {
    RequestSpec spec;
    ResponseSink* sink;
  };
  std::map<RequestId, Started> started;  // and not forgotten
  std::vector<RequestId> forgotten;
  std::vector<RequestId> cancelled;
  std::deque<std::pair<ipc::Query, QueryDone>> queries;
  std::vector<uint64_t> dropped_queries;
  std::function<void(Result<void>)> restart_done;
  std::vector<DrainTarget> drained;
  std::vector<DrainTarget> resumed;
  DrainDone drain_done;
  std::optional<RequestTrace> traced;
  std::vector<ModelRow> model_rows;
  std::vector<RunnerRow> runner_rows;
  std::vector<RequestRow> request_rows;
  std::vector<ClientRow> client_rows;
  std::vector<GpuState> gpu_rows;
  std::vector<RequestSpec> glanced;
  std::optional<Refusal> refused_at_a_glance;
  uint32_t brownout_level = 0;
  bool is_ready = true;

  FakeServing() {
    ipc::RunnerState facts;
    facts.architecture = "llama";
    facts.context_tokens = 1024;
    facts.numerics_id = "fp-1";
    model_rows.push_back({.name = "tiny",
                          .aliases = {"small"},
                          .path = "/m",
                          .state = "ready",
                          .generation = 1,
                          .runners = {"tiny@cpu0"},
                          .bytes = 8,
                          .created_unix = 1700000000,
                          .facts = facts});
    RunnerRow runner;
    runner.id = "tiny@cpu0";
    runner.state = "ready";
    runner.model = "tiny";
    runner.gauges.kv_blocks_total = 8;
    runner.gauges.kv_blocks_free = 6;
    runner_rows.push_back(runner);
  }

  RequestId start(RequestSpec spec, ResponseSink& sink) override {
    const RequestId id = ++last_id_;
    started.insert({id, {std::move(spec), &sink}});
    return id;
  }
  std::optional<Refusal> glance(const RequestSpec& spec) override {
    glanced.push_back(spec);
    return refused_at_a_glance;
  }
  void forget(RequestId id) override {
    started.erase(id);
    forgotten.push_back(id);
  }
  Result<void> cancel(RequestId id) override {
    if (!started.contains(id)) return fail(Code::kNotFound, "no such request");
    cancelled.push_back(id);
    return {};
  }
  uint64_t query(const std::string&, ipc::Query query, QueryDone done) override {
    queries.emplace_back(std::move(query), std::move(done));
    return queries.size();
  }
  void drop_query(uint64_t id) override { dropped_queries.push_back(id); }
  void restart_runner(const std::string&, std::function<void(Result<void>)> done) override {
    restart_done = done;
  }
  void drain(const DrainTarget& target, DrainDone done) override {
    drained.push_back(target);
    drain_done = done;
  }
  Result<void> resume(const DrainTarget& target) override {
    resumed.push_back(target);
    return {};
  }
  std::optional<RequestTrace> trace(RequestId id) const override {
    return traced && traced->request == id ? traced : std::nullopt;
  }
  std::vector<ModelRow> models() const override { return model_rows; }
  std::vector<RunnerRow> runners() const override { return runner_rows; }
  std::vector<RequestRow> requests() const override { return request_rows; }
  std::optional<RequestRow> request(RequestId id) const override {
    for (const RequestRow& row : request_rows) {
      if (row.id == id) return row;
    }
    return std::nullopt;
  }
  std::vector<ClientRow> clients() const override { return client_rows; }
  std::vector<GpuState> gpus() const override { return gpu_rows; }
  QueueCounts counts() const override {
    return {.waiting = {1, 2, 3}, .running = 4, .brownout_level = brownout_level};
  }
  bool ready() const override { return is_ready; }
  bool stopping() const override { return false; }

 private:
  RequestId last_id_ = 0;
};

class ApiServer : public TestServer {
 public:
  explicit ApiServer(HttpLimits limits = {}, uint64_t keep_alive_ms = 10'000,
                     size_t answer_bytes_max = ApiOptions().answer_bytes_max, uint64_t request_timeout_ns = 0,
                     size_t kept_bytes_max = ApiOptions().kept_bytes_max, uint64_t return_until_ns = 0)
      : TestServer(limits),
        api(serving, metrics,
            {.client_name =
                 [this](const Peer& peer) {
                   return client.empty() ? "uid:" + std::to_string(peer.uid) : client;
                 },
             .is_trusted_proxy = [this](const Peer&) { return trusted_proxy; },
             .server = &server,
             .keep_alive_ms = keep_alive_ms,
             .answer_bytes_max = answer_bytes_max,
             .kept_bytes_max = kept_bytes_max,
             .return_until_ns = return_until_ns,
             .request_timeout_ns = request_timeout_ns}),
        control(serving, {.runtime_dir = "/run/x", .config_path = "/etc/x.toml", .config_json = [] {
                            return std::string("{\"server\":{}}");
                          }}) {
    api.add_routes(router);
    control.add_routes(router);
  }
  ~ApiServer() { server.close_all(); }  // running requests are forgotten while there is a Serving

  // Waits until the request has reached Serving.
  ResponseSink& sink(RequestId id = 1) {
    EXPECT_TRUE(pump_until(loop, [&] { return serving.started.contains(id); }));
    return *serving.started.at(id).sink;
  }
  const RequestSpec& spec(RequestId id = 1) { return serving.started.at(id).spec; }

  std::string client;  // whom every connection's requests are from; empty: their peers' uid
  bool trusted_proxy = false;
  FakeServing serving;
  Metrics metrics;
  Api api;
  Control control;
};

inline ipc::Delta delta(std::string text, std::vector<ipc::TokenId> tokens = {7}, uint16_t choice = 0) {
  ipc::Delta event;
  event.choice = choice;
  event.tokens = std::move(tokens);
  event.text = std::move(text);
  return event;
}

inline ipc::Finished finished(ipc::FinishReason reason = ipc::FinishReason::kStop, bool last = true,
                              uint16_t choice = 0) {
  ipc::Finished event;
  event.choice = choice;
  event.reason = reason;
  event.last = last;
  event.usage = {.prompt_tokens = 5,
                 .cached_tokens = 2,
                 .completion_tokens = 3,
                 .drafts_accepted = 1,
                 .drafts_rejected = 4};
  return event;
}

inline Refusal refusal(uint64_t retry_after_ms, ipc::Class service_class) {
  Refusal made;
  made.error = {Code::kServerOverloaded, "the queue is full"};
  made.retry_after_ms = retry_after_ms;
  made.reason = "queue_full";
  made.service_class = service_class;
  return made;
}

inline boost::json::value json_of(const std::string& text) {
  return boost::json::parse(text);
}

}  // namespace deepserve::daemon
