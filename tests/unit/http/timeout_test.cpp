// Slow clients, with limits of some milliseconds.
#include "tests/unit/http/harness.h"

namespace deepserve::daemon {
namespace {

HttpLimits short_limits() {
  HttpLimits limits;
  limits.sweep_ms = 5;
  return limits;
}

// Produces for ever, as fast as it is asked.
class Fountain final : public Responder {
 public:
  Fountain(Exchange& exchange, size_t& produced, int& alive)
      : exchange_(exchange), produced_(produced), alive_(alive) {
    ++alive_;
    exchange.start_stream({});
  }
  ~Fountain() override { --alive_; }
  bool produce(std::string& out) override {
    out.append(64 * 1024, 'x');
    produced_ += 64 * 1024;
    return false;
  }
  void tick(uint64_t) override { exchange_.wake(); }

 private:
  Exchange& exchange_;
  size_t& produced_;
  int& alive_;
};

struct FountainServer : TestServer {
  explicit FountainServer(HttpLimits limits) : TestServer(limits) {
    router.add("GET", "/fountain", [this](Exchange& exchange, const PathParameters&) {
      return std::make_unique<Fountain>(exchange, produced, alive);
    });
  }
  size_t produced = 0;
  int alive = 0;
};

TEST(Timeouts, AHeadThatDoesNotEndGets408) {
  HttpLimits limits = short_limits();
  limits.head_timeout_ms = 50;
  TestServer test(limits);
  Client client = test.connect();
  ASSERT_TRUE(client.send("GET / HTTP/1.1\r\nHo"));
  EXPECT_EQ(client.answer().status, 408);
  EXPECT_TRUE(client.waits_for_end());
  EXPECT_EQ(test.server.counters().timeouts_total, 1u);
}

TEST(Timeouts, AHeadThatTricklesGets408AsWell) {
  HttpLimits limits = short_limits();
  limits.head_timeout_ms = 50;
  TestServer test(limits);
  Client client = test.connect();
  const std::string head = "GET / HTTP/1.1\r\n" + std::string(10'000, 'A');
  size_t sent = 0;
  uint64_t sent_ns = 0;
  EXPECT_TRUE(pump_until(test.loop, [&] {
    if (sent < head.size() && monotonic_ns() > sent_ns + kMillisecond_ns) {
      client.send(head.substr(sent++, 1));
      sent_ns = monotonic_ns();
    }
    client.receive();
    return client.ended();
  }));
  EXPECT_EQ(client.answer().status, 408);
  EXPECT_LT(sent, head.size());
}

TEST(Timeouts, ABodyThatStopsGets408) {
  HttpLimits limits = short_limits();
  limits.body_timeout_ms = 50;
  TestServer test(limits);
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"));
  EXPECT_EQ(client.answer().status, 408);
  EXPECT_TRUE(client.waits_for_end());
}

TEST(Timeouts, ABodyThatTricklesGets408AsWell) {
  HttpLimits limits = short_limits();
  limits.body_total_ms = 50;
  TestServer test(limits);
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"));
  EXPECT_TRUE(pump_until(test.loop, [&] {
    client.send("x");
    client.receive();
    return client.ended();
  }));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 408);
  EXPECT_NE(answer.body.find("did not arrive in time"), std::string::npos) << answer.body;
  EXPECT_EQ(test.server.counters().timeouts_total, 1u);
}

TEST(Timeouts, AnIdleConnectionIsClosedSilently) {
  HttpLimits limits = short_limits();
  limits.idle_timeout_ms = 50;
  TestServer test(limits);
  Client client = test.connect();
  EXPECT_TRUE(client.waits_for_end());
  EXPECT_EQ(client.received(), "");
}

TEST(Timeouts, ASlowReaderPausesItsOwnResponder) {
  FountainServer test(short_limits());
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/fountain")));
  const size_t unsent_max = HttpLimits().unsent_bytes_max;
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.produced >= unsent_max; }));
  // The kernel's buffers and the cap are full: no more is asked for, however long the client sleeps.
  size_t before = 0;
  ASSERT_TRUE(pump_until(test.loop, [&] { return std::exchange(before, test.produced) == test.produced; }));
  for (int i = 0; i < 20; ++i) pump_some(test.loop);
  EXPECT_LT(test.produced, unsent_max + 1024 * 1024);
  EXPECT_EQ(test.alive, 1);
  // It reads again, and everything goes on.
  EXPECT_TRUE(pump_until(test.loop, [&] {
    client.receive();
    return test.produced > 4 * unsent_max;
  }));
}

TEST(Timeouts, AReaderThatTakesNothingIsCutOff) {
  HttpLimits limits = short_limits();
  limits.write_timeout_ms = 50;
  FountainServer test(limits);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/fountain")));
  EXPECT_TRUE(pump_until(test.loop, [&] { return test.server.counters().slow_readers_total == 1; }));
  EXPECT_EQ(test.alive, 0);
  EXPECT_TRUE(client.waits_for_end());
}

TEST(Timeouts, AReaderThatTakesALittleIsNotCutOff) {
  HttpLimits limits = short_limits();
  limits.write_timeout_ms = 500;
  FountainServer test(limits);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/fountain")));
  const uint64_t end_ns = monotonic_ns() + 1500 * kMillisecond_ns;
  char buffer[200'000];
  EXPECT_TRUE(pump_until(test.loop, [&] {
    [[maybe_unused]] const auto taken = ::recv(client.fd(), buffer, sizeof buffer, 0);
    return monotonic_ns() > end_ns;
  }));
  EXPECT_EQ(test.alive, 1);
}

}  // namespace
}  // namespace deepserve::daemon
