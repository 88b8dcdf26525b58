// What serves: Serving on top of the queue, the runners and their lanes.
//
// Split by subject: service.cpp (requests come and go), service_fallback.cpp (who answers for a model that
// only fails, what is refused at a glance), service_messages.cpp (what runners say), service_runners.cpp
// (runners come and go, dispatch, stop), service_rows.cpp (what can be seen of it).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/admission/admission.h"
#include "daemon/admission/fallback.h"
#include "daemon/config/config.h"
#include "daemon/dispatch/request_progress.h"
#include "daemon/dispatch/request_state.h"
#include "daemon/loop/loop.h"
#include "daemon/serving/runner_link.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct ServiceOptions {
  std::string runner_binary;
  RequestId first_request = 1;  // ids go up from here: a random start keeps two lives of dsd apart
  std::function<void(const std::string& reason)> on_runner_restart;  // may be empty
  TicketKey ticket_key = {};  // what signs the tickets of refused requests
  uint64_t ticket_epoch = 0;  // see TicketOffice
};

class Service final : public Serving, private RunnerOwner {
 public:
  static constexpr size_t kQueriesMax = 1024;
  static constexpr uint64_t kWaitingBytesMax = 256u << 20;  // of all that wait, over all classes and models

  // Starts a runner for each model on each of its groups of devices. `loop` and `config` must outlive the
  // service.
  Service(Loop& loop, const Config& config, ServiceOptions options);
  ~Service() override;

  RequestId start(RequestSpec spec, ResponseSink& sink) override;
  std::optional<Refusal> glance(const RequestSpec& spec) override;
  void forget(RequestId id) override;
  Result<void> cancel(RequestId id) override;
  uint64_t query(const std::string& model, ipc::Query query, QueryDone done) override;
  void drop_query(uint64_t id) override { queries_.erase(id); }
  void restart_runner(const std::string& id, std::function<void(Result<void>)> done) override;

  std::vector<ModelRow> models() const override;
  std::vector<RunnerRow> runners() const override;
  std::vector<RequestRow> requests() const override;
  std::optional<RequestRow> request(RequestId id) const override;
  std::vector<ClientRow> clients() const override;
  QueueCounts counts() const override;
  bool ready() const override;
  bool stopping() const override { return stopping_; }

  // From here on nothing new is taken and what is queued is refused; running requests may end. `drained` once
  // no request is left, or `limit_ns` has passed.
  void begin_stop(uint64_t limit_ns, std::function<void()> drained);
  // Fails the requests that are left and ends the runners; `done` once all processes are gone.
  void stop_runners(std::function<void()> done);
  // SIGKILL to all runners, nothing else: dsd ends at once.
  void kill_runners();

 private:
  struct Runner {
    std::unique_ptr<RunnerLink> link;
    uint32_t model = 0;                      // index in the configuration
    std::unordered_set<RequestId> requests;  // dispatched and not confirmed as ended
    uint32_t index = 0;                      // admission's name for it
    bool taking = false;                     // admission takes it for up
  };
  struct Fallback {
    bool is_probe = false;  // its end decides over its model's breaker
    std::string degraded;   // how its answer is not what was asked for; empty: it is
  };
  struct Record {
    RequestId id = 0;
    RequestSpec spec;
    uint32_t model = 0;
    uint64_t started_ns = 0;
    uint64_t deadline_ns = 0;
    ResponseSink* sink = nullptr;  // none once nobody listens
    RequestState state = RequestState::kQueued;
    Runner* runner = nullptr;  // from kDispatched on
    RequestProgress progress;
    bool in_admission = true;  // it has not ended there
    bool first_told = false;   // admission knows of its first token at the runner that it has now
    std::string trouble;       // what its runner said before it died; empty: nothing
    Fallback fallback = {};
    bool model_failed = false;  // it failed, and neither its client nor an operator is to blame
  };
  struct LateOutcome {
    ResponseSink* sink;
    Refusal refusal;
    bool failed;  // the sink hears on_failed with the refusal's error
  };
  struct PendingQuery {
    Runner* runner;
    QueryDone done;
  };

  // RunnerOwner
  bool on_message(RunnerLink& link, ipc::MessageType type, std::span<const std::byte> body) override;
  void on_ready(RunnerLink& link) override;
  void on_died(RunnerLink& link, Blame blame) override;
  void on_restart(RunnerLink& link, const std::string& reason) override;
  void on_drained(RunnerLink& link) override;

  // service.cpp
  std::optional<Refusal> reason_to_refuse(const RequestSpec& spec) const;
  Arrived arrival_of(const Record& record, const ClientMatch& client, uint64_t bytes) const;
  std::string refusal_text(const Refuse& refused, const Record& record) const;
  Refusal refusal_of(const Refuse& refused, const Record& record) const;
  void refuse_later(RequestId id, ResponseSink& sink, Refusal refusal);
  void fail_later(RequestId id, ResponseSink& sink, Error error);
  void end_refused(Record& record, Refusal refusal);
  void end_failed(Record& record, Error error);
  void tell_later(RequestId id, LateOutcome outcome);
  void let_go(Record& record);
  void erase(Record& record, EndKind how = EndKind::kCancelled);

  // service_fallback.cpp
  static Fallbacks fallbacks_of(const Config& config);
  bool fall_back(RequestId id, RequestSpec& spec, ResponseSink& sink, Fallback& taken);
  void reply_later(RequestId id, ResponseSink& sink, const std::string& text, uint16_t choices);
  void reply(RequestId id, const std::string& text, uint16_t choices);
  void judge_model(const Record& record, EndKind how);

  // service_rows.cpp
  RequestRow row_of(const Record& record, uint64_t now_ns) const;

  // service_messages.cpp
  Record* find(const Runner& runner, RequestId id);
  template <typename Event, typename Hear, typename Tell>
  bool on_progress(Runner& runner, std::span<const std::byte> body, RequestEvent kind, Hear hear, Tell tell);
  bool on_finished(Runner& runner, std::span<const std::byte> body);
  bool on_failed(Runner& runner, std::span<const std::byte> body);
  bool on_answer(Runner& runner, std::span<const std::byte> body);
  void acknowledge(Runner& runner, RequestId id);
  std::string told_text(const Runner& runner, const std::string& text) const;
  void complete(Record& record, bool runner_is_done, EndKind how);
  void tell_admission(Record& record, const ipc::Accepted& event);
  void tell_admission(Record& record, const ipc::Delta& event);
  void tell_admission(Record& record, const ipc::Embedding& event);

  // service_runners.cpp
  Runner& runner_of(const RunnerLink& link);
  void turn();
  void tick();
  // Tells admission of what has happened; what it decides is done in act(), at the latest before the loop
  // sleeps.
  template <typename Event>
  void tell(const Event& event) {
    admission_.step(event, monotonic_ns(), actions_);
  }
  void act();
  void tell_runner(Runner& runner);
  void dispatch(const Dispatch& chosen);
  void leave_runner(Record& record);
  void replay_or_lose(Record& record, Blame blame);
  void lose_model(uint32_t model);
  bool model_may_serve(uint32_t model) const;
  std::string model_trouble(uint32_t model) const;
  Refusal shutting_down(ipc::Class service_class) const;
  void arrange_deadline_timer();
  void check_stopped();

  Loop& loop_;
  const Config& config_;
  const ServiceOptions options_;
  const uint64_t started_unix_;
  std::vector<std::unique_ptr<Runner>> runners_;
  std::unordered_map<RequestId, std::unique_ptr<Record>> records_;
  std::unordered_map<RequestId, LateOutcome>
      late_;  // told from the loop: a sink is never called from its own call
  std::unordered_map<uint64_t, PendingQuery> queries_;
  Admission admission_;
  AdmissionActions actions_;  // decided and not done
  Fallbacks fallbacks_;
  RequestId next_id_;
  uint64_t next_query_ = 0;
  bool stopping_ = false;
  bool runners_stopping_ = false;
  std::function<void()> drained_;
  std::function<void()> stopped_;
  uint64_t timer_deadline_ns_ = 0;  // what deadline_timer_ is set to
  Timer deadline_timer_;
  Timer tick_timer_;
  Timer stop_timer_;
  Prepare prepare_;
};

}  // namespace deepserve::daemon
