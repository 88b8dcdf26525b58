// The seam inside dsd: the API side (http/, api/) hands requests to the serving side (admission/, dispatch/,
// supervise/) through these two interfaces and hears what becomes of them.
//
// All calls are on the loop's thread. A ResponseSink is never called from inside the Serving call that it
// made, so a sink may start, cancel or forget requests from its own callbacks.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config/agreement.h"
#include "daemon/dispatch/request_trace.h"
#include "daemon/gpu/gpu_state.h"
#include "daemon/http/peer.h"
#include "ipc/base/result.h"
#include "ipc/lane/gauges.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

using ipc::RequestId;

struct RequestSpec {
  Peer peer;
  std::string client;    // the configured client's name, or "uid:1000"
  std::string endpoint;  // "chat", "completions": for `request ls`
  ipc::Class service_class = ipc::Class::kNormal;
  bool class_named = true;  // by a header; glance() alone asks: a body may name another one
  std::string model;        // as the client wrote it; empty: the default model
  ipc::Work work = ipc::Work::kGenerate;
  ipc::Prompt prompt;
  ipc::Generation generation;       // kEmbed: nothing of it counts
  uint64_t deadline_ns = 0;         // for the first token, CLOCK_MONOTONIC; 0: the class's default
  uint64_t prompt_bytes = 0;        // of the prompt as received, for estimates
  std::string ticket;               // of an earlier refusal, as the client showed it; empty: none
  uint64_t body_hash = 0;           // of the body as received; 0: none
  uint64_t body_bytes = 0;          // its length
  bool is_retry = false;            // the client says that it asked before
  std::optional<Agreement> agreed;  // nothing: what its client's configuration says
  std::optional<bool> truncates;    // over `agreed`: whether a long prompt may be cut
  // Of what a client asked for as one request of several prompts: each comes by itself, in a row, and they
  // are taken or refused together (admission_event.h).
  RequestId whole = 0;       // the first one's id; 0: this is the first
  uint32_t whole_parts = 1;  // 1: there are no others
  uint64_t whole_prompt_bytes = 0;
  // The API's own: what it needs to go on with the answer in another life of dsd. Its runner keeps it with
  // the request, and it comes back with it (ServiceOptions::adopt).
  std::vector<std::byte> opaque = {};
};

// A refusal: the error, and when to come back where that is known.
struct Refusal {
  Error error;
  uint64_t retry_after_ms = 0;  // 0: none
  std::string reason;           // "queue_full", "draining", ...; empty where the code says it all
  ipc::Class service_class = ipc::Class::kNormal;
  uint64_t predicted_ttft_ns = 0;  // 90 of 100 first tokens would have come within; 0: not known
  uint64_t deadline_ns = 0;        // of the first token, from the request on; 0: not known
  bool booked = false;             // there is a slot at retry_after_ms, and `ticket` is for it
  std::string ticket = {};
  std::string degraded = {};  // what is given up at present; empty: nothing
};

// How an answer is not what was asked for.
struct Degraded {
  std::string how;               // a few words without a line's end, one after another with ", "
  uint64_t truncated_bytes = 0;  // of the prompt, that were left out
};

// Hears of one request. Exactly one of on_refused, on_failed, or an on_finished with `last` is the end of it;
// after that, and after Serving::forget, nothing more is called. on_accepted comes before any delta. Of a
// choice with an echo, the deltas of the whole prompt come before the first of the answer.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // Once at most, before on_accepted: the answer is not what was asked for.
  virtual void on_degraded(const Degraded& /*degraded*/) {}
  virtual void on_accepted(const ipc::Accepted& event) = 0;
  virtual void on_delta(const ipc::Delta& event) = 0;
  // Once, before on_finished, of a request whose work is kEmbed; such a request has no deltas. All values are
  // finite.
  virtual void on_embedding(const ipc::Embedding& /*event*/) {}
  virtual void on_finished(const ipc::Finished& event) = 0;
  virtual void on_refused(
      const Refusal& refusal) = 0;                 // before acceptance: an HTTP status can still be chosen
  virtual void on_failed(const Error& error) = 0;  // before or after acceptance
};

struct ModelRow {
  std::string name;
  std::vector<std::string> aliases;
  std::string path;
  std::string state;        // "loading", "ready", "failed": the best of its runners; "unloaded": it has none
  bool leaves = false;      // it is configured no longer, and serves what it has ("leaving")
  uint64_t generation = 1;  // that serves, or is to serve; 0: it is unloaded
  uint64_t canary = 0;      // the generation that is tried out beside it; 0: none
  double canary_percent = 0;
  uint64_t shadow = 0;  // the generation that has copies of its requests; 0: none
  double shadow_percent = 0;
  std::string rollout = {};  // the order that is being carried out: "swap", "canary", ...; empty: none
  std::vector<std::string> runners;
  uint64_t bytes = 0;
  uint64_t created_unix = 0;
  std::optional<ipc::RunnerState> facts;  // of a runner that is ready
  std::string breaker = "closed";         // its circuit breaker: "closed", "half_open", "open"
  uint64_t breaker_opened_total = 0;
};

// One process of a runner.
struct RankRow {
  uint32_t rank = 0;
  int64_t pid = -1;  // -1: none
  std::string device;
  std::string gpu = {};         // its number or UUID, as configured; empty: the device is none
  uint32_t thread_percent = 0;  // of it
  std::string sharing = {};     // share_state_name(): "alone", "shared", "time-sliced", ...
  int64_t mps_pid = -1;         // of that GPU's MPS daemon
};

struct RunnerRow {
  std::string id;                   // "tiny@cpu0"; "large@cpu0+cpu1" where a model is spread over devices
  int64_t pid = -1;                 // of rank 0
  std::string device;               // "cpu0", "cpu0+cpu1"
  std::vector<RankRow> ranks;       // one for each device
  std::vector<GpuState> gpus = {};  // that it has, as far as the driver tells; each once
  std::string model;
  uint64_t generation = 1;
  std::string state;  // starting, loading, ready, draining, hung, backoff, failed
  uint32_t restarts = 0;
  double uptime_s = 0;
  std::string last_error;  // why the last one died, or why it failed; empty: it never did
  uint64_t steps = 0;
  uint64_t bytes_loaded = 0;
  uint32_t requests = 0;  // dispatched to it and not ended
  ipc::Gauges gauges;
  std::optional<ipc::RunnerState> facts;
};

struct RequestRow {
  RequestId id = 0;
  std::string state;  // queued, dispatched, accepted, streaming, cancelling
  std::string client;
  Peer peer;
  ipc::Class service_class = ipc::Class::kNormal;
  std::string model;
  std::string runner;  // empty while queued
  std::string endpoint;
  double age_s = 0;
  uint32_t prompt_tokens = 0;  // 0 until the runner has counted
  uint32_t generated_tokens = 0;
  // What admission thinks of it; 0 where it does not know.
  std::string waits_for;         // "seats", "memory", "ahead", ...; empty: it does not wait
  bool booked = false;           // it came back for its slot
  double deadline_in_s = 0;      // of the first token; negative: it is late
  double predicted_ttft_s = 0;   // when it came: 90 of 100 such are within
  double cost_s = 0;             // of a runner's time
  double ahead_s = 0;            // of work that goes first, while it waits
  uint32_t expected_tokens = 0;  // of each choice
};

// A client that asked lately.
struct ClientRow {
  std::string client;
  uint32_t running = 0;  // that wait or run
  uint32_t concurrent_max = 0;
  double tokens_left = 0;  // of this minute
  uint64_t tokens_per_minute = 0;
  double recent_requests = 0;  // fading within some ten seconds
  double recent_retries = 0;
  uint64_t denied_total = 0;  // 429
  double seen_s = 0;          // ago
};

// What an operator drains: no new work goes there, what is there ends.
struct DrainTarget {
  enum class What : uint8_t { kHost, kModel, kRunner };
  What what = What::kHost;
  std::string name = {};  // of a model, as configured; id of a runner
};
std::string drain_target_text(const DrainTarget& target);  // "the host", "model 'tiny'"

// One generation of a model (DESIGN 9).
struct GenerationRow {
  uint32_t generation = 0;
  std::string state;
  std::string path;
  std::string reason;  // why it failed, or what ended it
  std::vector<std::string> runners;
  uint32_t requests = 0;  // that run there
  double begun_ago_s = 0;
  double load_s = 0;        // until it was ready; 0: it never was
  double live_ago_s = -1;   // below 0: it never was
  double ended_ago_s = -1;  // below 0: it is not over
  std::string evidence;     // of a canary: what it was judged by, in words; of a shadow: how it compares
};

// What an operator wants of a model's generations.
enum class ModelVerb : uint8_t { kLoad, kSwap, kUnload, kRollback, kCanary, kShadow, kPromote, kCount };
inline std::string_view model_verb_name(ModelVerb verb) {
  constexpr std::array<std::string_view, static_cast<size_t>(ModelVerb::kCount)> kNames = {
      "load", "swap", "unload", "rollback", "canary", "shadow", "promote"};
  return kNames.at(static_cast<size_t>(verb));
}

struct ModelOrder {
  ModelVerb verb = ModelVerb::kSwap;
  std::string model;
  std::string path = {};  // absolute; empty: as before
  double percent = 10;    // kCanary, kShadow
  bool judged = false;    // kCanary: by itself, and the order ends with the verdict
};

struct QueueCounts {
  std::vector<uint32_t> waiting = std::vector<uint32_t>(static_cast<size_t>(ipc::Class::kCount));
  uint32_t running = 0;
  uint32_t brownout_level = 0;    // of the ladder; 0: none
  std::string brownout = "none";  // its name
  bool draining = false;          // the host is drained by an operator
};

class Serving {
 public:
  virtual ~Serving() = default;

  // Takes the request and gives its id; `sink` hears the rest and must live until its end or forget().
  virtual RequestId start(RequestSpec spec, ResponseSink& sink) = 0;
  // Whether start() would refuse a request of which only this is known: peer, client, deadline, ticket, the
  // length of its body, and the class where class_named. Nothing: it may well be taken.
  virtual std::optional<Refusal> glance(const RequestSpec& /*spec*/) { return std::nullopt; }
  // Nobody is to hear of it any more: cancels in the runner (within one step) and never calls the sink again.
  virtual void forget(RequestId id) = 0;
  // An operator's cancel: the sink hears on_failed(kCancelled). kNotFound when there is no such request.
  virtual Result<void> cancel(RequestId id) = 0;

  // Tokenize or detokenize on any ready runner of the model; `done` is called once, later, unless dropped.
  using QueryDone = std::function<void(Result<ipc::Answer>)>;
  virtual uint64_t query(const std::string& model, ipc::Query query, QueryDone done) = 0;
  virtual void drop_query(uint64_t id) = 0;

  // Restarts one runner: drains nothing, its requests are replayed as after any death. `done` when a new one
  // is ready or has failed. kNotFound names the runners there are.
  virtual void restart_runner(const std::string& id, std::function<void(Result<void>)> done) = 0;

  // Starts a runner that has failed or waits to be started, with a clean record; one that lives is left
  // alone. `done` and kNotFound as restart_runner's.
  virtual void reset_runner(const std::string& id, std::function<void(Result<void>)> done) {
    restart_runner(id, std::move(done));
  }

  // Drains, and says `done` once nothing is left there; kConflict when it was resumed before that. A model
  // and the host refuse new requests (503 with the reason "draining"), a runner gets none; what waits or runs
  // ends as it would. kNotFound, kModelNotFound.
  using DrainDone = std::function<void(Result<void>)>;
  virtual void drain(const DrainTarget& /*target*/, DrainDone done) { done({}); }
  virtual Result<void> resume(const DrainTarget& /*target*/) { return {}; }

  // What a request has been through: of one that runs, or ended lately.
  virtual std::optional<RequestTrace> trace(RequestId /*id*/) const { return std::nullopt; }
  // `done`, once, later: when it holds, or why it does not. kModelNotFound, kConflict (another order is being
  // carried out, or there is nothing to do it to), kNotSupported (there is no room for two beside each
  // other), kModelFailed (it could not be loaded: what served before serves on).
  virtual void order(const ModelOrder& order, std::function<void(Result<void>)> done) {
    (void)order;
    done(fail(Code::kNotSupported, "models are as they were configured"));
  }
  // Whether requests of an earlier dsd may still come back: their runners have not told of all that they
  // have.
  virtual bool may_hear_of_more() const { return false; }
  // Of the model, the oldest first.
  virtual std::vector<GenerationRow> generations(const std::string& /*model*/) const { return {}; }

  virtual std::vector<ModelRow> models() const = 0;
  virtual std::vector<RunnerRow> runners() const = 0;
  virtual std::vector<RequestRow> requests() const = 0;
  // One of them; nothing when it has ended or never was.
  virtual std::optional<RequestRow> request(RequestId id) const = 0;
  // Those that asked last, the last first.
  virtual std::vector<ClientRow> clients() const { return {}; }
  virtual QueueCounts counts() const = 0;
  // All of the host; none where no model uses one, or the driver tells of none.
  virtual std::vector<GpuState> gpus() const { return {}; }
  // Deep readiness: some runner is ready and its step counter moved within the last three seconds (an idle
  // one turns at least once a second).
  virtual bool ready() const = 0;
  virtual bool stopping() const = 0;
};

}  // namespace deepserve::daemon
