// What each client has booked of a line of the drain calendar, so that who asks most does not book most.
// Pure.
//
// Who obeys a refusal comes back in the order of the slots, whatever the virtual counters say by then: so the
// slots have to be handed out as the line is shared. A client's next slot comes after all that it has booked,
// at its part of the line: its weight over that of all clients with bookings there. One alone has all of it;
// one that has more than its part of the horizon leaves gaps, which the others' bookings fill. Whoever has
// nothing booked is held up by nothing.
//
// Bounded by the open bookings.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

class BookedShares {
 public:
  // Of one client in one line.
  struct Place {
    uint64_t client = 0;  // its hash
    uint32_t model = 0;
    ipc::Class service_class = ipc::Class::kNormal;
    bool operator==(const Place&) const = default;
  };

  // `weight` above 0: what the client has now.
  void add(const Place& place, double weight, double cost_s);
  // Of what was added.
  void remove(const Place& place, double cost_s);
  // How much of the line's work its next slot comes after, in seconds, if all it has booked is claimed.
  double work_before_s(const Place& place) const;

 private:
  struct Share {
    double booked_s = 0;
    double weight = 1;
    uint32_t bookings = 0;
  };
  struct Line {
    double weights = 0;
    uint32_t clients = 0;
  };
  struct PlaceHash {
    size_t operator()(const Place& place) const;
  };

  static uint64_t line_of(const Place& place) {
    return uint64_t{place.model} << 8 | static_cast<uint64_t>(place.service_class);
  }

  std::unordered_map<Place, Share, PlaceHash> shares_;
  std::unordered_map<uint64_t, Line> lines_;  // by line_of()
};

}  // namespace deepserve::daemon
