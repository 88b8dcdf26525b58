// The admission core (DESIGN 7): who is served, by which runner, when; who is refused, and when to come back.
//
// Pure: `step(event, now_ns, actions)`, no clock, no random source, no I/O; the daemon and the simulator run
// the same code. Decisions are appended to the caller's vector, in the order in which they are to be done.
// A clock that jumps does no more harm than it must (forward_clock.h). All state is bounded: by what waits
// and runs, and by the caps of the parts.
//
// On arrival a request is priced in GPU-seconds (service_time.h, from what its prompt's bytes and its
// client's answers have been), its first token is predicted (ttft_prediction.h), and it is refused where nine
// of ten such would be too late. What waits is ordered by class_queue.h and is sent to a runner as late as
// possible: when there are seats, KV memory for its future peak (kv_forecast.h) and little prefill before it.
// It is tested again then, and never shed after that. Who is refused gets a slot on the calendar and a ticket
// (booking_desk.h); who comes back on time goes ahead of the fresh.
//
// Files: admission.cpp (events), admission_brownout.cpp (the ladder), admission_dispatch.cpp (who goes
// where), admission_hold.cpp (a swap without a runner), admission_prefix.cpp (which runner knows the
// beginning of a prompt), admission_refusal.cpp (predictions, refusals, bookings), admission_truncation.cpp
// (how much of a long prompt is served), admission_view.cpp (what can be seen of it).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/admission/admission_action.h"
#include "daemon/admission/admission_event.h"
#include "daemon/admission/booking_desk.h"
#include "daemon/admission/class_queue.h"
#include "daemon/admission/class_usage.h"
#include "daemon/admission/client_limits.h"
#include "daemon/admission/forward_clock.h"
#include "daemon/admission/output_length.h"
#include "daemon/admission/prefix_index.h"
#include "daemon/admission/runner_book.h"
#include "daemon/admission/throughput.h"
#include "daemon/admission/token_ratio.h"
#include "daemon/admission/ttft_prediction.h"
#include "daemon/admission/whole_requests.h"
#include "daemon/dispatch/suspect_trial.h"

namespace deepserve::daemon {

struct AdmissionOptions {
  struct OfClass {
    double share = 0;          // above 0
    uint32_t waiting_max = 0;  // of each model
    uint64_t deadline_ns = 0;  // for the first token, where the request names none
  };
  std::array<OfClass, ClassQueue::kClasses> classes = {
      {{0.70, 4000, kSecond_ns / 2}, {0.25, 4000, 5 * kSecond_ns}, {0.05, 4000, 600 * kSecond_ns}}};
  // Part of the KV blocks that the requests of a class leave free.
  std::array<double, ClassQueue::kClasses> kv_headroom = {0.02, 0.10, 0.25};
  uint32_t models = 1;
  uint32_t runners = 1;             // for a start: more may come
  BrownoutSteps brownout = {};      // those that some client agreed to
  uint64_t bytes_max = 256u << 20;  // of all that wait
  TicketKey ticket_key = {};        // secret; random
  uint64_t ticket_epoch = 0;        // tells boots of the host apart
  BookingSerial first_booking = 1;  // random: tells lives of the daemon apart
};

// Why a request waits.
enum class WaitReason : uint8_t {
  kNone,      // it does not
  kNoRunner,  // none of its model takes requests
  kAhead,     // others of its model are ahead
  kSeats,     // no runner has a seat for its choices
  kPrefill,   // the runners have enough to prefill
  kMemory,    // no runner will have the KV memory
  kLane,      // no runner's lane has room
  kBrownout,  // its class is paused
  kTrial,     // suspects are tried one at a time: it is one, or the runner with room tries them
  kCount,
};
std::string_view wait_reason_name(WaitReason value);

// What can be seen of a request, for `request show` and `queue ls`.
struct RequestView {
  ipc::RequestId request = 0;
  ipc::Class service_class = ipc::Class::kNormal;
  uint32_t model = 0;
  std::string_view client;         // lives as long as the request
  std::optional<uint32_t> runner;  // once it is dispatched
  WaitReason waits_for = WaitReason::kNone;
  bool booked = false;  // it came back for its slot
  uint64_t arrived_ns = 0;
  uint64_t deadline_ns = 0;        // an instant
  uint64_t predicted_ttft_ns = 0;  // when it arrived, 90 of 100 are within; 0: nothing was known
  double cost = 0;                 // expected GPU-seconds
  double cost_ahead = 0;           // while it waits: of its class, as if it had come now
  uint32_t prompt_tokens = 0;      // estimated until it is accepted
  uint32_t expected_tokens = 0;    // of each choice
};

class Admission {
 public:
  // VIP traffic is present for so long after the last of it.
  static constexpr double kVipPresent_s = 30;
  static constexpr double kExpectedQuantile = 0.65;  // of outputs: near the mean of what is seen
  static constexpr double kPeakQuantile = 0.75;      // of outputs, for the forecast of KV memory
  static constexpr uint32_t kRunnersMax = 4'096;
  // A deadline that was not named is at least so many times what an idle host needs for the prompt.
  static constexpr double kIdleStretch = 2.0;
  // Of the 90 % prediction of a start, what has to be within the deadline: holds_up() keeps those who come
  // later from making it true.
  static constexpr double kStartMargin = 0.85;
  static constexpr uint64_t kRetryAfterMin_ms = 1'000;
  static constexpr uint64_t kShedding_ns = kSecond_ns;  // that it sheds, after the last one that was refused

  explicit Admission(const AdmissionOptions& options);

  void step(const Arrived& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Accepted& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const FirstToken& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const TokensCame& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Ended& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Returned& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const TakenOver& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Adopted& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const RunnerUp& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const RunnerTold& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const RunnerDown& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Held& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Reopened& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Rerouted& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Tick& event, uint64_t now_ns, AdmissionActions& actions);

  // Stage 0: of a request whose body is still to come (no body_hash; prompt_bytes as good as the head tells
  // it). The refusal that it would get, with its slot booked; nothing: step(Arrived) is to decide.
  std::optional<Refuse> glance(const Arrived& event, uint64_t now_ns);
  // The same without booking anything: when its first token would come if it were refused for that, in
  // seconds; nothing: it would not be.
  std::optional<double> too_late_by_glance(const Arrived& event, uint64_t now_ns) const;

  // The part of its prompt (0..1] with which a request is to be served whose client agreed to a shorter one;
  // 1: all of it, or no shorter one would help. Less where the ladder is at kTruncate, where the prompt is
  // more than the context, and where the whole would be refused for its deadline and so much would not.
  double prompt_part(const Arrived& event, uint64_t now_ns) const;

  // Other shares, limits and deadlines of the classes, another ladder, and more models behind those that
  // there are, from now on: what waits keeps its deadline. Of `options` the rest must be as before.
  void reconfigure(const AdmissionOptions& options);

  // When something is to be decided without any event: a Tick at this instant is enough. 0: never.
  uint64_t next_ns() const {
    const uint64_t expiry_ns = queue_.next_expiry_ns();
    return expiry_ns == 0 ? 0 : std::max(clock_.to_reading(expiry_ns), uint64_t{1});
  }

  uint32_t waiting(ipc::Class service_class) const { return queue_.waiting(service_class); }
  uint32_t waiting(ipc::Class service_class, uint32_t model) const {
    return queue_.waiting(service_class, model);
  }
  uint32_t waiting_total() const { return queue_.waiting_total(); }
  uint64_t waiting_bytes() const { return queue_.waiting_bytes(); }
  bool waits(ipc::RequestId request) const { return queue_.waits(request); }
  // All that wait for this model, by number.
  std::vector<ipc::RequestId> waiting_for(uint32_t model) const;
  uint32_t running() const { return static_cast<uint32_t>(requests_.size()) - queue_.waiting_total(); }
  std::optional<RequestView> view(ipc::RequestId request) const;
  // Whether it was on trial at the runner that it has, or had when that went down.
  bool was_tried(ipc::RequestId request) const;
  BrownoutLevel brownout() const { return ladder_.level(); }
  const BookingDesk& bookings() const { return desk_; }
  // What the daemon before wrote of its own (BookingDesk::encode). Before any step.
  void take_over_bookings(ByteReader& in, uint64_t now_ns) { desk_.take_over(in, advance(now_ns)); }
  const ClassQueue& queue() const { return queue_; }
  const ClientLimits& clients() const { return clients_; }

 private:
  struct Request {
    uint32_t model = 0;
    std::string client;
    double client_weight = 1.0;
    uint32_t tokens_max = 0;  // of each choice, within the context
    uint32_t tokens_max_asked = 0;
    uint64_t prompt_bytes = 0;
    uint64_t bytes = 0;
    uint64_t body_hash = 0;
    uint64_t body_bytes = 0;
    uint64_t client_hash = 0;
    uint64_t arrived_ns = 0;
    uint64_t deadline_ns = 0;
    bool deadline_named = false;
    std::optional<uint32_t> charged_in;  // the model in whose line; it may have been rerouted since
    bool accepted = false;
    bool held = false;           // it was promised to be served after a swap: it is shed no more
    bool returned = false;       // it had a runner before: nothing is learnt from it
    bool suspect = false;        // until it has stood its trial
    uint32_t trial_tokens = 0;   // that it has told of it
    bool capped = false;         // its answer was cut in a brownout: its length says nothing
    BookingDesk::Redeemed back;  // what it came back with
    bool booked = false;         // it came for its slot, on time
    bool any_model = false;
    bool any_class = false;
    ipc::RequestId whole = 0;  // see Arrived
    double whole_cost = 0;     // of all of it: what its slot takes
    uint64_t whole_tokens = 0;
    ClientRules rules;
    bool counted = false;  // among its client's
    uint64_t counted_tokens = 0;
    double cost = 0;
    double price = 0;  // what was charged
    double done = 0;   // of its cost, by tokens that came
    RequestLoad load;
    PromptPrefix prefix;
    double cached_part = 0;   // of its prompt, as its runner's index has it
    PredictedTtft predicted;  // on arrival
    PredictedTtft start;      // on dispatch
    uint64_t dispatched_ns = 0;
    std::optional<uint32_t> runner;
  };
  struct Model {
    TokenRatio ratio;
    TtftPrediction ttft;
    ClassUsage usage;
    Throughput throughput;
    MeasuredSpeed speed;    // of its runners together
    ServiceTime time;       // by that, of a runner like the one that told its figures last
    uint64_t opens_ns = 0;  // while it is held: when it is served again, about; 0: it is not held
    SuspectTrial trial;
  };
  struct Placement {
    std::optional<uint32_t> runner;  // the one where its first token comes first, of those that have room
    double start_s = 0;
    double cached_part = 0;  // of the prompt, as the runner's index has it
    bool behind = false;     // others of its class or a higher one, which are to be prefilled there
    WaitReason blocked = WaitReason::kNoRunner;
  };

  // admission.cpp
  uint64_t advance(uint64_t now_ns);
  RunnerBook& book_of(uint32_t runner);
  void share_speed(uint32_t model);
  Request make_request(const Arrived& event, uint64_t now_ns) const;
  void count_done(Request& request);
  void learn_start(Request& request, uint64_t now_ns);
  void settle(Request& request, EndKind how, uint64_t now_ns);
  WaitingRequest waiting_of(ipc::RequestId id, const Request& request, uint64_t expires_ns) const;

  // admission_dispatch.cpp
  void pump(uint32_t model, uint64_t now_ns, AdmissionActions& actions);
  Placement place(const Request& request, uint64_t now_ns) const;
  static double start_within_s(const Request& request);
  void dispatch(ipc::RequestId id, const Placement& placement, uint64_t now_ns, AdmissionActions& actions);
  void leave_runner(Request& request);
  void convene(uint32_t model, uint64_t now_ns);
  void hear_suspect(ipc::RequestId id, Request& request, uint32_t tokens);
  double runners_of(uint32_t model) const;  // that are up
  bool is_due(const Request& request, uint64_t now_ns) const;
  bool vip_present(const Model& model, uint64_t now_ns) const;

  // admission_truncation.cpp
  bool is_in_time(const Arrived& event, uint32_t prompt_tokens, uint64_t now_ns) const;

  // admission_prefix.cpp
  double cached_part(const Request& request, uint32_t runner) const;
  uint32_t uncached_tokens(const Request& request, uint32_t runner, double part) const;
  uint32_t least_uncached_tokens(const Request& request) const;
  void learn_prefix(const Request& request, const Accepted& event);

  // admission_hold.cpp
  double held_seconds(uint32_t model, uint64_t now_ns) const;
  double drain_seconds(uint32_t model) const;

  // admission_brownout.cpp
  void step_ladder(uint64_t now_ns, AdmissionActions& actions);
  bool vip_misses(uint64_t now_ns) const;
  bool is_paused(const Request& request) const;
  uint32_t capped_tokens(Request& request) const;

  // admission_refusal.cpp
  void shed_expired(uint64_t now_ns, AdmissionActions& actions);
  DrainState drain_of(uint32_t model, ipc::Class service_class, uint64_t now_ns) const;
  std::optional<PredictedTtft> predict(const Request& request, uint64_t now_ns) const;
  double first_room_seconds(uint32_t model) const;
  double slot_seconds(const Request& request) const;
  void refuse(ipc::RequestId id, Request&& request, RefusalReason reason, uint64_t now_ns,
              AdmissionActions& actions);
  std::optional<ClientDenial> ask_client(Request& request, bool is_retry, uint64_t now_ns);
  void deny(ipc::RequestId id, const Request& request, const ClientDenial& denial, AdmissionActions& actions);
  bool is_late_by_head(const Arrived& event, Request& request, uint64_t now_ns) const;
  static Claimant claimant_of(const Request& request);

  AdmissionOptions options_;
  ClassQueue queue_;
  BookingDesk desk_;
  ClientLimits clients_;
  OutputLength outputs_;
  std::vector<Model> models_;
  std::vector<RunnerBook> runners_;
  std::vector<PrefixIndex> prefixes_;  // of each runner
  std::unordered_map<ipc::RequestId, Request> requests_;
  BrownoutLadder ladder_;
  WholeRequests wholes_;
  uint64_t refused_ns_ = 0;  // when the last was refused for load; 0: never
  ForwardClock clock_;
};

}  // namespace deepserve::daemon
