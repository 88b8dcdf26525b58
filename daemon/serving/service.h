// What serves: Serving on top of the queue, the runners and their lanes.
//
// Split by subject: service.cpp (requests come and go), service_canary.cpp (which of them a canary gets, and
// how it is judged), service_configuration.cpp (the configuration changes: models come, go and change),
// service_demand.cpp (models that are loaded while they are wanted), service_drain.cpp
// (what an operator drains and resets), service_fallback.cpp (who answers for a model that only fails, what
// is refused at a glance), service_generations.cpp (one generation of a model takes another's place),
// service_messages.cpp (what runners say), service_restore.cpp (what an earlier dsd left),
// service_runners.cpp (runners come and go, dispatch, stop), service_rows.cpp (what can be seen of it),
// service_shadow.cpp (copies of requests, for a shadow),
// service_trace.cpp (what a request has been through), service_upgrade.cpp (what another dsd gets of it).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/admission/admission.h"
#include "daemon/admission/fallback.h"
#include "daemon/config/config.h"
#include "daemon/dispatch/drain_marks.h"
#include "daemon/dispatch/request_progress.h"
#include "daemon/dispatch/request_state.h"
#include "daemon/gpu/gpu_monitor.h"
#include "daemon/loop/loop.h"
#include "daemon/rollout/canary_judge.h"
#include "daemon/rollout/demand_history.h"
#include "daemon/rollout/rollout.h"
#include "daemon/rollout/shadow_tally.h"
#include "daemon/serving/generation_file.h"
#include "daemon/serving/gpu_shares.h"
#include "daemon/serving/kept_request.h"
#include "daemon/serving/runner_link.h"
#include "daemon/serving/serving.h"
#include "daemon/serving/shadow_copy.h"

namespace deepserve::daemon {

struct ServiceOptions {
  std::string runner_binary;
  // Where the sockets lie by which a next dsd finds the runners, and this one those of the last; empty: none.
  std::string rendezvous_dir = {};
  std::string generations_file = {};  // what a next dsd has to know of the models; empty: nothing
  RequestId first_request = 1;        // ids go up from here: a random start keeps two lives of dsd apart
  std::function<void(const std::string& reason)> on_runner_restart;  // may be empty
  // A request of an earlier dsd came back with its runner: who hears of it, from its first token on as of any
  // other, until its end or forget(). The spec is as that dsd had it, RequestSpec::opaque included. Null, or
  // empty: nobody wants it, it is cancelled. It must not call the service.
  std::function<ResponseSink*(RequestId id, const RequestSpec& spec)> adopt = {};
  TicketKey ticket_key = {};   // what signs the tickets of refused requests
  uint64_t ticket_epoch = 0;   // see TicketOffice
  GpuMonitor* gpus = nullptr;  // outlives the service; null: nothing is known of GPUs
  // Where the MPS daemons of shared GPUs have their files, and those of the last dsd's are found; empty: no
  // GPU's use is arranged.
  std::string mps_dir = {};
};

// Where a request lies between 0 and 1: below so many of a hundred it is the canary's.
double canary_part(const RequestSpec& spec);

// One more word of how an answer is not what was asked for.
void add_degraded(Degraded& degraded, std::string_view how);

class Service final : public Serving, private RunnerOwner {
 public:
  static constexpr size_t kQueriesMax = 1024;
  // Names of models that one life of dsd, with all its configurations, may know.
  static constexpr size_t kModelsMax = 256;
  static constexpr uint64_t kWaitingBytesMax = 256u << 20;  // of all that wait, over all classes and models
  // How long the requests of an earlier dsd may take to come back with its runners.
  static constexpr uint64_t kReturnMax_ns = 5 * kSecond_ns;

  // Starts a runner for each model on each of its groups of devices. `loop` and `config` must outlive the
  // service.
  Service(Loop& loop, const Config& config, ServiceOptions options);
  ~Service() override;

  RequestId start(RequestSpec spec, ResponseSink& sink) override;
  std::optional<Refusal> glance(const RequestSpec& spec) override;
  void forget(RequestId id) override;
  Result<void> cancel(RequestId id) override;
  uint64_t query(const std::string& model, ipc::Query query, QueryDone done) override;
  // The id that the next request gets.
  RequestId next_request() const { return next_id_; }
  void drop_query(uint64_t id) override { queries_.erase(id); }
  void restart_runner(const std::string& id, std::function<void(Result<void>)> done) override;
  void order(const ModelOrder& order, std::function<void(Result<void>)> done) override;
  std::vector<GenerationRow> generations(const std::string& model) const override;

  // Also of what its GPU was drained for, and with it the others that failed there for that.
  void reset_runner(const std::string& id, std::function<void(Result<void>)> done) override;
  // The driver has told of it.
  void on_xid(const XidEvent& event);
  void drain(const DrainTarget& target, DrainDone done) override;
  Result<void> resume(const DrainTarget& target) override;
  std::optional<RequestTrace> trace(RequestId id) const override;

  std::vector<ModelRow> models() const override;
  std::vector<RunnerRow> runners() const override;
  std::vector<RequestRow> requests() const override;
  std::optional<RequestRow> request(RequestId id) const override;
  std::vector<ClientRow> clients() const override;
  QueueCounts counts() const override;
  std::vector<GpuState> gpus() const override;
  bool ready() const override;
  bool stopping() const override { return stopping_; }

  bool may_hear_of_more() const override;

  // For an upgrade in place (upgrade/). What another dsd could not go on with now, in words; empty: nothing.
  // All that was sent to runners is published then.
  std::string stays();
  // What no runner has: the Submits of the requests that wait, in the order in which they came.
  std::vector<std::vector<std::byte>> hand_over() const;
  // What a runner has and will tell of, unless it dies meanwhile: then the next one goes on with it.
  struct RunningRequest {
    RequestId id = 0;
    std::string runner;
    std::optional<ipc::Accepted> accepted;
    std::vector<std::byte> submit;  // with what it has generated, where it `goes_on`
    // From there. Otherwise (what was told with the tokens cannot be told again; an older dsd) it begins
    // anew, and tells the same.
    bool goes_on = false;
  };
  std::vector<RunningRequest> running() const;
  // Before the loop runs. What comes back with its runner is forgotten here.
  void take_over(std::vector<RunningRequest> running);
  struct RunnerPast {
    std::string id;
    std::vector<int64_t> pids;  // of the processes that it has; children of this process
    SupervisionRecord record;
  };
  std::vector<RunnerPast> pasts() const;
  // What an operator has drained, and what a fault has.
  struct DrainedNames {
    bool host = false;
    std::vector<std::string> models;
    std::vector<std::string> runners;
    std::vector<DrainedGpu> gpus = {};
  };
  DrainedNames drained() const;
  void take_over(const DrainedNames& drained);
  // Before the loop runs: nothing is started yet. Processes that no runner here adopts are reaped.
  void take_over(const std::vector<RunnerPast>& pasts);
  // They wait again; ServiceOptions::adopt says who hears of them. What cannot be read or nobody wants is
  // logged and forgotten. Before the loop runs.
  void take_over(const std::vector<std::vector<std::byte>>& submits);
  // Which slots refused requests have booked, and which tickets are used up. kIo: it is malformed.
  std::vector<std::byte> bookings() const;
  Result<void> take_over_bookings(std::span<const std::byte> bookings);
  // Whether the models can become those of `next`: kConflict while an order for one that changes or goes is
  // carried out, kNotSupported where what changes has no room, or for more names than kModelsMax.
  Result<void> check_models(const Config& next) const;
  // The configuration has changed. A model that comes is loaded; one that goes takes no new requests and
  // serves those that it has. What of a model is its runners' is swapped in; if that fails, the generation
  // before serves on and the history says why.
  void reconfigure();

  // From here on nothing new is taken and what is queued is refused; running requests may end. `drained` once
  // no request is left, or `limit_ns` has passed.
  void begin_stop(uint64_t limit_ns, std::function<void()> drained);
  // Fails the requests that are left and ends the runners; `done` once all processes are gone.
  void stop_runners(std::function<void()> done);
  // SIGKILL to all runners, nothing else: dsd ends at once.
  void kill_runners();

 private:
  struct Runner {
    std::unique_ptr<const ModelConfig> settings;  // its generation's; outlives the link
    std::unique_ptr<RunnerLink> link;
    uint32_t model = 0;  // index of what is served
    uint32_t generation = 0;
    uint32_t line = 0;                       // admission's name for what it serves
    bool routed = false;                     // requests of that line may come here
    bool ending = false;                     // it goes for good once its process has ended
    std::unordered_set<RequestId> requests;  // dispatched and not confirmed as ended
    uint32_t index = 0;                      // admission's name for it
    bool taking = false;                     // admission takes it for up
  };
  struct Fallback {
    bool is_probe = false;   // its end decides over its model's breaker
    Degraded degraded = {};  // how its answer is not what was asked for; empty: it is
  };
  struct Record {
    RequestId id = 0;
    RequestSpec spec;
    uint32_t model = 0;  // index of what is served
    uint32_t line = 0;   // live_line or canary_line of it
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
    RequestTrace trace = {};
    uint32_t tried = 0;  // the canary that was tried out when it came; 0: none
    uint32_t cached_tokens = 0;
    uint64_t first_ns = 0;  // of its tokens; 0: there was none
    uint64_t last_ns = 0;
    bool is_copy = false;  // of another one, for a shadow
  };
  struct Copy {
    uint32_t model = 0;
    std::unique_ptr<ShadowCopy> sink;
  };
  struct DrainWaiter {
    DrainTarget target;
    DrainDone done;
  };
  // A model and its generations, as they are carried out. Its index stays, also where it goes: it is its name
  // for admission, in bookings and in tickets.
  struct Served {
    Rollout rollout;
    ModelConfig config = {};    // or what it was last, where it goes
    bool configured = true;     // false: it goes, or is gone
    ModelConfig followed = {};  // the configuration that it was last brought to, or tried to
    std::map<uint32_t, ModelConfig> settings = {};        // by generation
    std::function<void(Result<void>)> ordered = nullptr;  // who waits for the order's end
    std::string order = {};                               // what it is
    bool on_demand = false;                  // it was unloaded for want of requests: one loads it again
    bool wanted = false;                     // one has come
    bool demanded = false;                   // it is loaded because one has come, and has never been ready
    std::string failure = {};                // why that came to nothing; empty: it did not
    uint64_t retry_ns = 0;                   // then: when it is tried again
    uint64_t used_ns = 0;                    // when a request came or ended last
    DemandHistory pauses = {};               // of those in which it would be unloaded
    bool paused = false;                     // since used_ns, and one had ended then
    bool was_ahead = false;                  // and it was loaded ahead of the request that ends the pause
    uint64_t ahead_until_ns = 0;             // it waits for that request so long; 0: it does not
    std::optional<CanaryJudge> judge = {};   // while a canary is tried out
    uint32_t tried = 0;                      // the canary, or the shadow
    std::optional<ShadowTally> shadow = {};  // while one has its copies
    bool judged = false;                     // and the judge's word counts
    std::map<uint32_t, std::string> evidence = {};  // by generation that was a canary
    uint64_t load_ns = 0;                           // what the last load took; 0: none yet
    uint64_t spawned_ns = 0;                        // when that began
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
  ipc::PrefixSalt salt_of(const Record& record) const;
  static Agreement agreement_of(const RequestSpec& spec, const ClientMatch& client);
  std::string refusal_text(const Refuse& refused, const Record& record) const;
  Refusal refusal_of(const Refuse& refused, const Record& record) const;
  void refuse_later(RequestId id, ResponseSink& sink, Refusal refusal);
  void fail_later(RequestId id, ResponseSink& sink, Error error);
  void end_refused(Record& record, Refusal refusal);
  void end_failed(Record& record, Error error);
  void tell_later(RequestId id, LateOutcome outcome);
  void let_go(Record& record);
  void erase(Record& record, EndKind how = EndKind::kCancelled);

  AdmissionOptions admission_options() const;
  std::optional<uint32_t> find_model(std::string_view name) const;
  std::optional<uint32_t> known_model(std::string_view name) const;

  // service_fallback.cpp
  std::vector<Fallbacks::OfModel> fallbacks_of_models() const;
  std::vector<bool> who_may_serve() const;
  bool fall_back(RequestId id, RequestSpec& spec, const Agreement& agreed, ResponseSink& sink,
                 Fallback& taken);
  std::optional<Arrived> surely_late(const Record& record, const ClientMatch& client, uint64_t now_ns) const;
  void truncate(Record& record, const ClientMatch& client);
  void reply_later(RequestId id, ResponseSink& sink, const std::string& text, uint16_t choices);
  void reply(RequestId id, const std::string& text, uint16_t choices);
  void judge_model(const Record& record, EndKind how);

  // service_drain.cpp
  void restart_neighbours(const Runner& reset);
  Result<void> check_target(const DrainTarget& target) const;
  const Runner* find_runner(const std::string& id) const;
  uint32_t model_of(const DrainTarget& target) const;
  void mark(const DrainTarget& target, bool drained);
  bool is_marked(const DrainTarget& target) const;
  bool is_empty(const DrainTarget& target) const;
  void answer_drains();
  std::optional<Refusal> drained_refusal(uint32_t model, ipc::Class service_class) const;

  // service_trace.cpp
  void begin_trace(Record& record);
  void note(Record& record, TraceKind kind, uint32_t tokens = 0, std::string text = {});
  void end_trace(Record& record, EndKind how);

  // service_generations.cpp
  // Admission's names for what a model's live generation serves, and its canary.
  static uint32_t live_line(uint32_t model) { return 2 * model; }
  static uint32_t canary_line(uint32_t model) { return 2 * model + 1; }
  Result<void> begin_order(uint32_t model, const ModelOrder& order, RolloutActions& actions);
  uint64_t room_of(const DeviceConfig& device) const;
  static bool takes_room(const Runner& runner, const DeviceConfig& device);
  Result<SwapWay> way_to_swap(uint32_t model, const ModelConfig& settings) const;
  void carry_out(uint32_t model, RolloutActions actions);
  void spawn_generation(uint32_t model, uint32_t number, const std::vector<std::string>& ids = {});
  void route(uint32_t model, uint32_t generation);
  void route_canary(uint32_t model, uint32_t generation);
  void set_route(Runner& runner, bool routed, uint32_t line);
  void stop_generation(uint32_t model, uint32_t number);
  void hold(uint32_t model, bool drains);
  void look_at_generations();
  void remove_ended_runners();
  GenerationTally tally_of(uint32_t model, uint32_t number) const;
  uint64_t expected_load_ns(uint32_t model) const;
  std::string free_runner_id(const ModelConfig& settings, const DeviceGroup& devices) const;
  uint32_t free_runner_index() const;

  // service_restore.cpp
  void begin_generations();
  void place_models(const std::vector<KeptModel>& models);
  bool restore_generations(uint32_t model, const std::vector<KeptModel>& models);
  bool is_wanted(const Runner& runner) const;
  void forget_what_is_gone();
  Result<void> keep_generations();
  void forget_generations() const;

  // service_configuration.cpp
  Served& add_model(const ModelConfig& config);
  std::vector<uint32_t> follow_models();
  void begin_model(uint32_t model);
  void follow_configuration(uint32_t model);
  void let_leave(uint32_t model);

  // service_demand.cpp
  void demand(uint32_t model);
  void end_pause(uint32_t model);
  bool is_idle(uint32_t model) const;
  void unload_idle(uint32_t model, const std::string& why);
  bool has_room_beside_others(uint32_t model) const;
  const ModelConfig& settings_of(uint32_t model) const;
  void make_room(uint32_t model);
  std::optional<uint64_t> ahead_until(uint32_t model, uint64_t now_ns) const;
  void unload_unwanted(uint32_t model, uint64_t now_ns);
  void load_on_demand(uint32_t model, uint64_t now_ns);
  void look_at_demand();
  void give_up_load(uint32_t model);
  uint64_t retry_after_ms(uint32_t model) const;

  // service_canary.cpp
  uint32_t line_of(uint32_t model, const RequestSpec& spec) const;
  void judge_canary(const Record& record, EndKind how);
  void heed_judge(uint32_t model, RolloutActions& actions);
  static std::string trial_evidence(const Served& served);
  void keep_evidence(uint32_t model);
  std::string evidence_of(uint32_t model, uint32_t generation) const;

  // service_shadow.cpp
  bool is_mirrored(const Record& record) const;
  void mirror(Record& record);
  void start_copy(uint32_t model, RequestSpec spec, AnswerTokens original);
  void end_copy(RequestId id, const ShadowCopy& copy, ShadowCopy::End how);
  void forget_copies(uint32_t model);

  // service_upgrade.cpp
  void reap_strays();
  void begin_again(Runner& runner);
  std::optional<RunningRequest> take_running(RequestId id);
  void recall(Record& record, const RunningRequest& before);
  void forget_running();

  // service_rows.cpp
  std::vector<GpuState> gpus_of(const RunnerLink& link) const;
  RankRow row_of_rank(const RunnerLink& link, uint32_t rank) const;
  RequestRow row_of(const Record& record, uint64_t now_ns) const;
  ModelRow row_of_model(uint32_t model) const;

  // service_messages.cpp
  Record* find(const Runner& runner, RequestId id);
  template <typename Event, typename Hear, typename Tell>
  bool on_progress(Runner& runner, std::span<const std::byte> body, RequestEvent kind, Hear hear, Tell tell);
  bool on_adopted(Runner& runner, std::span<const std::byte> body);
  Record& adopt(Runner& runner, KeptRequest kept);
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
  void begin_runners();
  void consider(RunnerCandidate candidate);
  Runner& runner_at(uint32_t index);  // admission's
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
  ipc::Submit submit_of(const Record& record) const;
  void dispatch(const Dispatch& chosen);
  void leave_runner(Record& record);
  bool takes(const Runner& runner) const;
  void replay_or_lose(Record& record, Blame blame, bool alone, const std::string& why);
  // Of a request that was accepted: it ends with an error.
  void lose(Record& record, std::string why);
  void lose_line(uint32_t model);
  bool model_may_serve(uint32_t model) const;
  Error model_trouble(uint32_t model) const;
  Refusal shutting_down(ipc::Class service_class) const;
  uint64_t tick_due_ns() const;
  void tell_time();
  void arrange_deadline_timer();
  void check_stopped();

  Loop& loop_;
  const Config& config_;
  const ServiceOptions options_;
  const uint64_t started_unix_;
  GpuShares gpus_;  // outlives the runners
  std::vector<std::unique_ptr<Runner>> runners_;
  std::vector<std::unique_ptr<Served>> served_;  // every model that there was
  std::unordered_map<RequestId, std::unique_ptr<Record>> records_;
  std::unordered_map<RequestId, LateOutcome>
      late_;  // told from the loop: a sink is never called from its own call
  std::unordered_map<RequestId, Copy> copies_;
  std::unordered_map<uint64_t, PendingQuery> queries_;
  std::unique_ptr<Adoption> adoption_;  // none: nobody is asked
  uint64_t restored_ns_ = 0;            // when what an earlier dsd has left was looked for
  bool begun_ = false;                  // runners start from here on, or are adopted first
  bool generations_kept_ = true;        // a next dsd would know what serves
  Admission admission_;
  AdmissionActions actions_;  // decided and not done
  DrainMarks drains_;
  std::vector<DrainWaiter> drain_waiters_;
  TraceShelf traces_;
  Fallbacks fallbacks_;
  std::vector<RunningRequest> running_before_;  // of another program; their runners have not told of them
  std::vector<int64_t> strays_;                 // children that another program started; some are adopted
  RequestId next_id_;
  uint64_t next_query_ = 0;
  bool stopping_ = false;
  bool runners_stopping_ = false;
  bool gpus_stopping_ = false;  // after all runners
  std::function<void()> drained_;
  std::function<void()> stopped_;
  uint64_t ticked_ns_ = 0;          // when admission heard of the time last
  uint64_t timer_deadline_ns_ = 0;  // what deadline_timer_ is set to
  Timer deadline_timer_;
  Timer tick_timer_;
  Timer stop_timer_;
  Prepare prepare_;
};

}  // namespace deepserve::daemon
