#include "daemon/admission/client_line.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <unordered_map>

namespace deepserve::daemon {
namespace {

// A line whose requests are known by number: arrival and request are the same.
struct Host {
  void push(uint64_t id, const std::string& client, double cost = 1, double weight = 1, bool booked = false) {
    line.push({id, client, weight, cost, booked}, id);
    clients[id] = client;
    costs[id] = cost;
  }
  uint64_t take() {
    const auto id = line.head();
    if (id != 0) line.take(clients[id], id, true);
    return id;
  }
  ClientLine line;
  std::unordered_map<uint64_t, std::string> clients;
  std::unordered_map<uint64_t, double> costs;
};

TEST(ClientLine, BackloggedClientsGetWorkByTheirWeightWhateverTheirRequestsCost) {
  Host host;
  uint64_t id = 0;
  std::mt19937 random(3);
  for (int i = 0; i < 3000; ++i) host.push(++id, "large", 4.0, 1.0);
  for (int i = 0; i < 3000; ++i) host.push(++id, "small", 0.1 + 0.1 * static_cast<double>(random() % 9), 1.0);
  for (int i = 0; i < 3000; ++i) host.push(++id, "twice", 1.0, 2.0);
  std::map<std::string, double> served;
  for (int i = 0; i < 2000; ++i) {
    const auto taken = host.take();
    served[host.clients[taken]] += host.costs[taken];
  }
  EXPECT_NEAR(served["large"], served["small"], 5);
  EXPECT_NEAR(served["twice"], 2 * served["small"], 10);
}

// Of two that wait all the time, what they were served differs by no more than the dearest request, each
// over its weight: the bound of virtual token counters, whatever the charges become in the end.
TEST(ClientLine, TheBoundOfVirtualTokenCountersIsNeverBroken) {
  std::mt19937 random(9);
  Host host;
  uint64_t id = 0;
  std::map<std::string, double> truth;
  std::map<std::string, int> waiting;
  const std::string names[] = {"a", "b", "c"};
  for (int step = 0; step < 20'000; ++step) {
    for (const auto& name : names) {
      while (waiting[name] < 3) {
        host.push(++id, name, 0.5 + 0.01 * static_cast<double>(random() % 100));
        ++waiting[name];
      }
    }
    const auto taken = host.take();
    const auto& name = host.clients[taken];
    --waiting[name];
    const double more = 0.01 * static_cast<double>(random() % 200) - 0.5;
    host.line.settle(name, more);
    truth[name] += host.costs[taken] + more;
    const auto [least, most] = std::minmax({truth["a"], truth["b"], truth["c"]});
    ASSERT_LE(most - least, 3.01);
  }
}

TEST(ClientLine, WhoComesBackAfterAPauseHasSavedUpNothing) {
  Host host;
  uint64_t id = 0;
  for (int i = 0; i < 100; ++i) host.push(++id, "busy");
  for (int i = 0; i < 50; ++i) host.take();
  const auto first = id + 1;
  for (int i = 0; i < 20; ++i) host.push(++id, "back");
  int back = 0;
  for (int i = 0; i < 20; ++i) back += host.take() >= first ? 1 : 0;
  EXPECT_NEAR(back, 10, 1);
}

TEST(ClientLine, WhoHasJustBeenServedALotComesAfterThoseWhoWaited) {
  Host host;
  host.push(1, "greedy", 100);
  for (uint64_t id = 2; id <= 5; ++id) host.push(id, "other", 1);
  EXPECT_EQ(host.take(), 1u);
  host.push(6, "greedy", 1);
  for (uint64_t id = 2; id <= 5; ++id) EXPECT_EQ(host.take(), id);
  EXPECT_EQ(host.take(), 6u);
}

TEST(ClientLine, AStreamOfNewClientsDoesNotPassThoseWhoWait) {
  Host host;
  uint64_t id = 0;
  host.push(++id, "waits");
  for (int i = 0; i < 10; ++i) host.push(++id, fmt::format("a{}", i));
  EXPECT_EQ(host.take(), 1u);
}

TEST(ClientLine, ABookedOneGoesAheadAndIsChargedLikeTheRest) {
  Host host;
  host.push(1, "a");
  host.push(2, "b", 5, 1, true);
  EXPECT_EQ(host.take(), 2u);
  EXPECT_EQ(host.line.counter("b"), 5);
  EXPECT_EQ(host.take(), 1u);
  EXPECT_TRUE(host.line.empty());
}

TEST(ClientLine, WhoIsBookedHasTheBookedOnesBeforeHimAlone) {
  Host host;
  host.push(1, "a", 5.0);
  host.push(2, "b", 2.0, 1, true);
  host.push(3, "c", 3.0, 1, true);
  EXPECT_DOUBLE_EQ(host.line.booked_cost(), 5.0);
  host.take();
  EXPECT_DOUBLE_EQ(host.line.booked_cost(), 3.0);
}

TEST(ClientLine, SaysHowMuchIsServedBeforeANewRequest) {
  Host host;
  for (uint64_t id = 1; id <= 10; ++id) host.push(id, "hog");
  EXPECT_EQ(host.line.cost(), 10);
  EXPECT_EQ(host.line.cost_ahead("hog"), 10);
  EXPECT_NEAR(host.line.cost_ahead("new"), 1, 1e-9);
  host.push(11, "new");
  EXPECT_NEAR(host.line.cost_ahead("new"), 3, 1e-9);
}

TEST(ClientLine, AMillionClientsLeaveNoMoreThanTheCapBehindAndTheActiveOnesStayFair) {
  Host host;
  uint64_t id = 0;
  int served = 0;
  const auto take = [&] {
    const auto node = host.clients.extract(host.take());
    host.costs.erase(node.key());
    host.line.settle(node.mapped(), 0);
    if (node.mapped() == "steady") ++served;
  };
  for (int i = 0; i < 100; ++i) host.push(++id, "hog", 3);
  for (int i = 0; i < 1'000'000; ++i) {
    host.push(++id, fmt::format("once {}", i));
    take();
    if (i % 100 != 0) continue;
    host.push(++id, "steady");
    take();
    ASSERT_LE(host.line.clients(), ClientLine::kIdleMax + host.line.size() + 1);
  }
  EXPECT_GT(served, 9'900);  // of 10,000
}

}  // namespace
}  // namespace deepserve::daemon
