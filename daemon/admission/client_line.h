// Those who wait in one class of one model: booked ones first, then client by client, fairly by what each has
// had. Pure.
//
// Virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024): each client
// has a counter of the cost it was served, over its weight; the waiting client whose counter is lowest is
// next. A request is charged what it is expected to cost when it is taken, and the difference when it has
// ended. Who comes back after a pause is lifted to the lowest of those who wait: nobody saves up a claim.
// Within a client, who came first is first.
//
// Clients that wait or have something to be settled are bounded by the requests there are. Of the others only
// those ahead of the rest need be remembered (the lift says all about the rest), at most kIdleMax, those
// heard of last.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

class ClientLine {
 public:
  static constexpr size_t kIdleMax = 16384;  // about 250 bytes each
  // Of the clients ahead that are looked at one by one to say how much work is ahead; the rest count in full.
  static constexpr size_t kLookedAtMax = 128;

  struct Waiting {
    ipc::RequestId request = 0;
    std::string_view client;
    double weight = 1.0;  // of the client, above 0
    double cost = 1.0;    // expected, GPU-seconds
    bool booked = false;  // has a slot on the calendar and came on time: goes ahead, charged like the rest
  };

  ClientLine() = default;
  ClientLine(const ClientLine&) = delete;
  ClientLine& operator=(const ClientLine&) = delete;

  // `arrival` goes up: it orders those of a client, the booked ones, and clients with equal counters.
  void push(const Waiting& waiting, uint64_t arrival);
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  double cost() const { return cost_; }  // of all that wait
  double booked_cost() const;            // of the booked ones among them
  // Who is next, as pushed; 0: nobody waits.
  ipc::RequestId head() const;
  // Takes out a request that waits here with this client and arrival. `charged`: it is served, and its client
  // has something to be settled from now on.
  void take(std::string_view client, uint64_t arrival, bool charged);
  // A charged request has ended: it cost `more` than it was charged (or less, below 0).
  void settle(std::string_view client, double more);
  // The cost of what would be served before a new request of this client, by what is known now.
  double cost_ahead(std::string_view client) const;

  size_t clients() const { return clients_.size(); }
  // Cost served over weight; 0 for one that is not known.
  double counter(std::string_view client) const;

 private:
  struct Client {
    std::string name;
    double weight = 1.0;
    double counter = 0;
    double cost = 0;                                                // of what waits, not booked
    std::map<uint64_t, std::pair<ipc::RequestId, double>> waiting;  // by arrival; with cost
    uint64_t first = 0;                                             // of `waiting`: its arrival
    uint32_t unsettled = 0;
    bool idle = false;
    std::list<Client*>::iterator place = {};  // in idle_
  };
  struct Booked {
    ipc::RequestId request;
    double cost;
    Client* client;
  };
  struct Less {
    bool operator()(const Client* a, const Client* b) const {
      return a->counter != b->counter ? a->counter < b->counter : a->first < b->first;
    }
  };

  Client& client_of(const Waiting& waiting);
  void charge(Client& client, double cost);
  void rest(Client& client);
  void forget_idle();
  double present() const;

  std::unordered_map<std::string_view, std::unique_ptr<Client>> clients_;  // by their own name
  std::set<Client*, Less> turns_;                                          // those with something in waiting
  std::map<uint64_t, Booked> booked_;
  std::list<Client*> idle_;  // the one heard of last first
  double virtual_ = 0;       // grows by what is served over the weights of all who wait
  double weights_ = 0;       // of those in turns_
  double cost_ = 0;
  size_t size_ = 0;
};

}  // namespace deepserve::daemon
