// The bounded queue in front of the runners: who waits, who is next, who has waited too long. Pure (DESIGN
// 3).
//
// One line per model and class. Between the classes of a model: weighted fair by share, so that the first in
// line is a vip wherever the shares allow it, and no class that waits ever gets less than its share. Within a
// class: weighted fair by client, then by arrival. Replays are ahead of all lines.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

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
  uint64_t deadline_ns = 0;    // when it is shed; 0: never
  uint64_t bytes = 0;          // of memory that it holds while it waits
};

class ClassQueue {
 public:
  static constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);
  using Limits = std::array<ClassLimits, kClasses>;

  // `bytes_max`: of all that wait, over all models and classes.
  ClassQueue(const Limits& limits, uint32_t models, uint64_t bytes_max);

  // False: its class has waiting_max waiting for its model already, or its bytes are too many.
  [[nodiscard]] bool push(const WaitingRequest& request);
  // A request that a runner had before it died: no limit, ahead of all lines of its model, uncharged.
  void push_replay(const WaitingRequest& request);

  // Who is next for this model; stays until remove() or taken(). 0: nobody waits.
  ipc::RequestId next(uint32_t model) const;
  // `request` (the one that next() gave) was dispatched: the shares are charged.
  void taken(ipc::RequestId request);
  // Takes it out without a charge. False: it does not wait here.
  bool remove(ipc::RequestId request);

  // Takes out all whose deadline is at or before `now_ns`.
  std::vector<ipc::RequestId> take_expired(uint64_t now_ns);
  // The earliest deadline of all; 0: none.
  uint64_t next_deadline_ns() const;
  // Takes out all that wait for this model, replays first.
  std::vector<ipc::RequestId> take_all(uint32_t model);

  uint32_t waiting(ipc::Class service_class) const { return waiting_[static_cast<size_t>(service_class)]; }
  // Of one model; replays are not counted: they are not limited.
  uint32_t waiting(ipc::Class service_class, uint32_t model) const;
  uint32_t waiting_total() const;
  uint64_t waiting_bytes() const { return waiting_bytes_; }
  bool waits(ipc::RequestId request) const { return places_.contains(request); }

 private:
  using Order = std::pair<double, uint64_t>;  // the client's virtual finish, then arrival
  struct Line {
    std::map<Order, ipc::RequestId> order;
    double served = 0;       // requests taken, over the class's share: its virtual time
    double client_time = 0;  // virtual time of the clients in this line
    std::map<std::string, double, std::less<>> client_finish;  // of clients that have requests waiting here
    std::map<std::string, uint32_t, std::less<>> client_waiting;
  };
  struct ModelLines {
    std::array<Line, kClasses> lines;
    std::map<uint64_t, ipc::RequestId> replays;  // by arrival
    double time = 0;                             // virtual time of the model's lines
  };
  struct Place {
    WaitingRequest request;
    Order order;
    bool replay = false;
  };

  const Line* best_line(const ModelLines& model) const;
  void erase(std::unordered_map<ipc::RequestId, Place>::iterator place);

  const Limits limits_;
  const uint64_t bytes_max_;
  std::vector<ModelLines> models_;
  std::unordered_map<ipc::RequestId, Place> places_;
  std::set<std::pair<uint64_t, ipc::RequestId>> deadlines_;
  std::array<uint32_t, kClasses> waiting_{};
  uint64_t waiting_bytes_ = 0;
  uint64_t arrivals_ = 0;
};

}  // namespace deepserve::daemon
