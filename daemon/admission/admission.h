// The admission core (DESIGN 7): who is served, by which runner, when; who is refused, and when to come back.
//
// Pure: `step(event, now_ns, actions)`, no clock, no random source, no I/O; the daemon and the simulator run
// the same code. Decisions are appended to the caller's vector, in the order in which they are to be done.
// Time that goes backwards counts as standing still. All state is bounded: by what waits and runs, and by the
// caps of the parts.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/admission/admission_action.h"
#include "daemon/admission/admission_event.h"
#include "daemon/admission/class_queue.h"
#include "daemon/admission/completion_rate.h"

namespace deepserve::daemon {

struct AdmissionOptions {
  struct OfClass {
    double share = 0;          // above 0
    uint32_t waiting_max = 0;  // of each model
    uint64_t deadline_ns = 0;  // for the first token, where the request names none
  };
  std::array<OfClass, ClassQueue::kClasses> classes;
  uint32_t models = 1;
  uint32_t runners = 1;
  uint64_t bytes_max = 256u << 20;  // of all that wait
};

// Why a request waits.
enum class WaitReason : uint8_t {
  kNone,      // it does not
  kNoRunner,  // none of its model takes requests
  kAhead,     // others of its model are ahead
  kSeats,     // no runner has a seat for its choices
  kLane,      // no runner's lane has room
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
  uint64_t arrived_ns = 0;
  uint64_t deadline_ns = 0;        // an instant
  uint64_t predicted_ttft_ns = 0;  // when it arrived, 90 of 100 are within; 0: nothing was known
};

class Admission {
 public:
  explicit Admission(const AdmissionOptions& options);

  void step(const Arrived& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Accepted& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const FirstToken& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const TokensCame& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Ended& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Returned& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const RunnerUp& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const RunnerTold& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const RunnerDown& event, uint64_t now_ns, AdmissionActions& actions);
  void step(const Tick& event, uint64_t now_ns, AdmissionActions& actions);

  // When something is to be decided without any event: a Tick at this instant is enough. 0: never.
  uint64_t next_ns() const { return queue_.next_deadline_ns(); }

  uint32_t waiting(ipc::Class service_class) const { return queue_.waiting(service_class); }
  uint32_t waiting_total() const { return queue_.waiting_total(); }
  bool waits(ipc::RequestId request) const { return queue_.waits(request); }
  // All that wait for this model, in no order.
  std::vector<ipc::RequestId> waiting_for(uint32_t model) const;
  uint32_t running() const { return static_cast<uint32_t>(requests_.size()) - queue_.waiting_total(); }
  std::optional<RequestView> view(ipc::RequestId request) const;
  BrownoutLevel brownout() const { return BrownoutLevel::kNone; }

 private:
  struct Request {
    ipc::Class service_class = ipc::Class::kNormal;
    uint32_t model = 0;
    std::string client;
    double client_weight = 1.0;
    uint32_t choices = 1;
    uint32_t tokens_max = 0;
    uint64_t bytes = 0;
    uint64_t arrived_ns = 0;
    uint64_t deadline_ns = 0;
    std::optional<uint32_t> runner;
  };
  struct Runner {
    bool up = false;
    bool has_room = true;
    uint32_t model = 0;
    uint32_t sequences = 0;
    RunnerCapacity capacity;
    ipc::Gauges gauges;
  };

  uint64_t advance(uint64_t now_ns);
  void shed_expired(uint64_t now_ns, AdmissionActions& actions);
  void pump(uint32_t model, AdmissionActions& actions);
  std::optional<uint32_t> choose(const Request& request) const;
  void leave_runner(Request& request);
  void refuse(ipc::RequestId id, RefusalReason reason, uint64_t now_ns, AdmissionActions& actions);
  WaitingRequest waiting_of(ipc::RequestId id, const Request& request, uint64_t deadline_ns) const;

  const AdmissionOptions options_;
  ClassQueue queue_;
  CompletionRate rate_;
  std::vector<Runner> runners_;
  std::unordered_map<ipc::RequestId, Request> requests_;
  uint64_t now_ns_ = 0;
};

}  // namespace deepserve::daemon
