// Who asks for what, how often, and what they do when they are refused.
//
// Demand is open loop: streams of arrivals that do not wait for answers, each of one class, with its clients.
// Rates are multiples of a capacity in requests a second; a stream either follows the load or keeps its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/admission/client_limits.h"
#include "ipc/base/clock.h"
#include "ipc/wire/messages.h"
#include "tests/sim/lengths.h"

namespace deepserve::sim {

struct SimClient {
  std::string name;
  double share = 1;                // of its stream's arrivals, relative to the other clients'
  double weight = 1;               // what the configuration grants it
  daemon::ClientRules rules = {};  // its own limits
  bool liar = false;               // asks for as many tokens as the model has context, whatever it needs
};

enum class ArrivalKind : uint8_t { kPoisson, kBursty };  // bursty: gamma with a coefficient of variation of 4

struct Stream {
  ipc::Class service_class = ipc::Class::kNormal;
  double rate = 0;           // of the capacity: fixed, or at a load of 1
  bool follows_load = true;  // takes its part of all that is above the fixed streams
  ArrivalKind arrivals = ArrivalKind::kPoisson;
  LengthMix lengths;
  std::vector<SimClient> clients;
};

// What those do who are refused: come back when they were told, with their ticket; come back within a second
// or so without it; or not at all. Parts of 1.
struct RetryHabits {
  double obey = 0.6;
  double ignore = 0.2;
  uint32_t tries_max = 4;
};

struct LoadStep {
  double from_seconds = 0;
  double load = 1;  // of the capacity, all streams together
};

struct Demand {
  std::vector<Stream> streams;
  std::vector<LoadStep> loads;  // by time; the first from 0 on
  RetryHabits retries;

  double load_at(double seconds) const {
    double load = 0;
    for (const auto& step : loads) {
      if (step.from_seconds <= seconds) load = step.load;
    }
    return load;
  }
  // Of the capacity: what `stream` has when all have `load`.
  double rate_of(const Stream& stream, double load) const {
    if (!stream.follows_load) return stream.rate;
    double fixed = 0;
    double following = 0;
    for (const auto& other : streams) (other.follows_load ? following : fixed) += other.rate;
    return stream.rate / following * (load > fixed ? load - fixed : 0);
  }
};

enum class Mix : uint8_t { kVipFixed, kProportional };

// The mix of the figures: of a capacity 0.3 vip, 0.6 normal, 0.1 batch; beyond that vip stays, or grows too.
Demand usual_demand(Mix mix, ArrivalKind arrivals, double load);
// One client has 90 % of the arrivals, nine small ones the rest. One class; nobody comes back.
Demand hog_demand(double load);
// As hog_demand; the hog may have kHogTokensPerMinute.
Demand limited_demand(double load);
inline constexpr uint64_t kHogTokensPerMinute = 6'000;
// Five clients of weights 1, 1, 2, 2 and 4, each with a fifth of the arrivals. One class.
Demand backlogged_demand(double load, const RetryHabits& retries);
// As usual_demand, but every second normal client lies about max_tokens.
Demand liar_demand(double load);

}  // namespace deepserve::sim
