// The bounded queue in front of the runners: who waits, who is next, who has waited too long. Pure (DESIGN
// 3).
//
// One line per model and class; who is next within a line is ClientLine's to say. Between the classes of a
// model, by the cost that was served over the share: the highest class goes first as long as it is not ahead
// of any other that waits by more than kAhead_s; so vip goes first within its share, no class that waits gets
// less than its share, and what one does not use the others have. Replays are ahead of all lines. Suspects
// (dispatch/suspect_trial.h) are ahead of those, and hold up nobody while no runner may try them.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/admission/client_line.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

struct ClassLimits {
  double share = 0;          // above 0
  uint32_t waiting_max = 0;  // of each model: one that only loads must not fill the queue of the others
};

struct WaitingRequest {
  ipc::RequestId request = 0;
  ipc::Class service_class = ipc::Class::kNormal;
  uint32_t model = 0;
  std::string client;
  double client_weight = 1.0;  // above 0
  uint64_t expires_ns = 0;     // when it is shed; 0: never
  uint64_t bytes = 0;          // of memory that it holds while it waits
  double cost = 1.0;           // expected, GPU-seconds
  bool booked = false;         // it has come for its slot: ahead of the fresh ones of its class
  bool suspect = false;        // a replay that is to be tried by itself
  bool first = false;          // of the suspects
};

class ClassQueue {
 public:
  static constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);
  // GPU-seconds over share by which a class may run ahead of a lower one that waits.
  static constexpr double kAhead_s = 1.0;
  using Limits = std::array<ClassLimits, kClasses>;

  // `bytes_max`: of all that wait, over all models and classes.
  ClassQueue(const Limits& limits, uint32_t models, uint64_t bytes_max);

  // From now on; what waits stays, however much it is.
  void set_limits(const Limits& limits) { limits_ = limits; }
  // More of them, behind those that there are.
  void grow(uint32_t models) {
    while (models_.size() < models) models_.emplace_back();
  }

  // False: its class has waiting_max waiting for its model already, which does not keep out who has booked,
  // or its bytes are too many.
  [[nodiscard]] bool push(const WaitingRequest& request);
  // A request that a runner had before it died: no limit, ahead of all lines of its model, uncharged.
  void push_replay(const WaitingRequest& request);

  // Who is next for this model; stays until remove() or taken(). 0: nobody waits.
  ipc::RequestId next(uint32_t model) const;
  // The next of this model that `fits`, suspects and replays first, then one of each class in the order in
  // which the classes are to be served; the first of a line that does not fit holds up its line alone. 0:
  // none.
  template <typename Fits>
  ipc::RequestId next_that(uint32_t model, Fits fits) const {
    const auto& lines = models_.at(model);
    if (!lines.suspects.empty()) {
      const auto first = lines.suspects.begin()->second;
      if (fits(first)) return first;
    }
    if (!lines.replays.empty()) {
      const auto first = lines.replays.begin()->second;
      return fits(first) ? first : 0;  // what was accepted is not passed by what was not
    }
    for (const size_t i : turns(lines)) {
      const auto head = lines.lines[i].waiting.head();
      if (head != 0 && fits(head)) return head;
    }
    return 0;
  }
  // `request` was dispatched: its class and its client are charged. True: its charge is to be settled, once.
  bool taken(ipc::RequestId request);
  // One that was charged has ended: it cost `more` than was expected (below 0: less).
  void settle(uint32_t model, ipc::Class service_class, const std::string& client, double more);
  // Takes it out without a charge. False: it does not wait here.
  bool remove(ipc::RequestId request);

  // It waits on however late it is.
  void keep(ipc::RequestId request);
  // Takes out all who expire at or before `now_ns`.
  std::vector<ipc::RequestId> take_expired(uint64_t now_ns);
  // When the first of all expires; 0: none does.
  uint64_t next_expiry_ns() const;

  uint32_t waiting(ipc::Class service_class) const { return waiting_[static_cast<size_t>(service_class)]; }
  // Of one model; replays are not counted: they are not limited.
  uint32_t waiting(ipc::Class service_class, uint32_t model) const;
  uint32_t waiting_total() const;
  uint64_t waiting_bytes() const { return waiting_bytes_; }
  bool waits(ipc::RequestId request) const { return places_.contains(request); }
  // Whether anything waits for it, replays not counted.
  bool waits_for(uint32_t model) const;
  // GPU-seconds that wait, replays not counted.
  double cost(uint32_t model, ipc::Class service_class) const;
  // Of these, what would be served before a new request of this client.
  double cost_ahead(uint32_t model, ipc::Class service_class, std::string_view client) const;
  const ClientLine& line(uint32_t model, ipc::Class service_class) const;

 private:
  struct Line {
    ClientLine waiting;
    double served = 0;  // cost taken, over the class's share: its virtual time
  };
  struct ModelLines {
    std::array<Line, kClasses> lines;
    std::map<uint64_t, ipc::RequestId> replays;                    // by arrival
    std::map<std::pair<bool, uint64_t>, ipc::RequestId> suspects;  // those that are not first come later
    double time = 0;                                               // virtual time of the model's lines
  };
  struct Place {
    WaitingRequest request;
    uint64_t arrival = 0;
    bool replay = false;
  };

  std::array<size_t, kClasses> turns(const ModelLines& model) const;
  void add(const WaitingRequest& request, bool replay);
  void erase(std::unordered_map<ipc::RequestId, Place>::iterator place, bool charged);

  Limits limits_;
  const uint64_t bytes_max_;
  std::deque<ModelLines> models_;  // what is in them stays where it is
  std::unordered_map<ipc::RequestId, Place> places_;
  std::set<std::pair<uint64_t, ipc::RequestId>> expiries_;
  std::array<uint32_t, kClasses> waiting_{};
  uint64_t waiting_bytes_ = 0;
  uint64_t arrivals_ = 0;
};

}  // namespace deepserve::daemon
