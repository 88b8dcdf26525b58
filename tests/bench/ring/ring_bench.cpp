// Holds the lane against its rivals (issue 2's table): every figure is a median of interleaved runs in this
// one process tree, every bar a ratio of two such medians. Exit status 0 only when all bars hold.
//
//   ring_bench [--runs N]     N >= 7, default 9
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "tests/bench/median.h"
#include "tests/bench/ring/contenders.h"
#include "tests/bench/ring/pair_of_processes.h"

namespace deepserve::bench {
namespace {

enum Contender : size_t {
  kRing,
  kLane,
  kMessageQueue,
  kSocket,
  kSocketBatched,
  kSpsc,
  kSpscBatched,
  kLineTrip,
  kRingTrip,
  kLaneTrip,
  kContenders
};

struct Row {
  const char* what;
  const char* unit;
  double scale;  // of the measured figure in that unit
  std::function<double()> run;
};

constexpr uint64_t kFast = 64 * 40'000;
constexpr uint64_t kSlow = 64 * 1'000;
constexpr uint64_t kTrips = 100'000;

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {"one way, lane: ring layer, 48-byte bodies, published per 64", "M/s", 1e-6,
       [] { return one_way_ring(kFast); }},
      {"one way, lane: through Lane::send/flush/drain, flushed per 64", "M/s", 1e-6,
       [] { return one_way_lane(kFast); }},
      {"one way, Boost message_queue, 64-byte messages", "M/s", 1e-6,
       [] { return one_way_message_queue(kSlow); }},
      {"one way, Unix stream socket, one 64-byte message a write", "M/s", 1e-6,
       [] { return one_way_socket(kSlow, 1); }},
      {"one way, Unix stream socket, 64 messages a write", "M/s", 1e-6,
       [] { return one_way_socket(kFast, 64); }},
      {"one way, Boost.Lockfree spsc_queue, 64-byte items, one a call", "M/s", 1e-6,
       [] { return one_way_spsc(kFast / 4); }},
      {"one way, Boost.Lockfree spsc_queue, 64 items a call (no bar)", "M/s", 1e-6,
       [] { return one_way_spsc_batched(kFast); }},
      {"round trip, one cache line stored in turn", "ns", 1, [] { return round_trip_cache_line(kTrips); }},
      {"round trip, lane: ring layer and wake protocol, spinning", "ns", 1,
       [] { return round_trip_ring(kTrips); }},
      {"round trip, lane: through Lane::send/flush/wait/drain", "ns", 1,
       [] { return round_trip_lane(kTrips); }},
  };
  return table;
}

struct Bar {
  const char* what;
  Contender numerator;
  Contender denominator;
  double limit;
  bool at_most;
};

constexpr Bar kBars[] = {
    {"lane's round trip / cache-line ping-pong", kRingTrip, kLineTrip, 1.6, true},
    {"lane one way / Boost message_queue", kRing, kMessageQueue, 25, false},
    {"lane one way / Unix socket, a message a write", kRing, kSocket, 150, false},
    {"lane one way / Unix socket, 64 messages a write", kRing, kSocketBatched, 4, false},
    {"lane one way / Boost.Lockfree spsc_queue", kRing, kSpsc, 3, false},
};

int run_all(int runs) {
  std::vector<std::vector<double>> figures(kContenders);
  for (int run = 0; run < runs; ++run) {
    for (size_t contender = 0; contender < kContenders; ++contender) {
      figures[contender].push_back(rows()[contender].run());
    }
  }
  fmt::print("medians of {} interleaved runs, two processes on a core each [lowest .. highest]\n", runs);
  for (size_t contender = 0; contender < kContenders; ++contender) {
    const Row& row = rows()[contender];
    const auto [low, high] = std::minmax_element(figures[contender].begin(), figures[contender].end());
    fmt::print("  {:<66} {:>9.2f} {:<3} [{:.2f} .. {:.2f}]\n", row.what,
               bench::median(figures[contender]) * row.scale, row.unit, *low * row.scale, *high * row.scale);
  }
  bool all_hold = true;
  for (const Bar& bar : kBars) {
    const double ratio = bench::median(figures[bar.numerator]) / bench::median(figures[bar.denominator]);
    const bool holds = bar.at_most ? ratio <= bar.limit : ratio >= bar.limit;
    all_hold = all_hold && holds;
    fmt::print("{} {:<50} {:>8.2f}x (bar: {} {}x)\n", holds ? "PASS" : "FAIL", bar.what, ratio,
               bar.at_most ? "<=" : ">=", bar.limit);
  }
  const double lane_trip = bench::median(figures[kLaneTrip]) / bench::median(figures[kLineTrip]);
  const double lane_share = bench::median(figures[kLane]) / bench::median(figures[kRing]);
  fmt::print(
      "info through the Lane interface: round trip {:.2f}x the ping-pong, one way {:.2f}x the ring layer\n",
      lane_trip, lane_share);
  return all_hold ? 0 : 1;
}

}  // namespace
}  // namespace deepserve::bench

int main(int argc, char** argv) {
  int runs = 9;
  if (argc == 3 && std::string_view(argv[1]) == "--runs") {
    runs = std::atoi(argv[2]);
  } else if (argc != 1) {
    runs = 0;
  }
  if (runs < 7) {
    fmt::print(stderr, "usage: ring_bench [--runs N]   with N >= 7\n");
    return 2;
  }
  if (deepserve::bench::usable_cores() < 2) {
    fmt::print(stderr, "ring_bench needs two cores: its processes spin against each other\n");
    return 2;
  }
  return deepserve::bench::run_all(runs);
}
