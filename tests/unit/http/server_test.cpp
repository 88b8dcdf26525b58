#include "daemon/http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/unit/http/harness.h"

namespace deepserve::daemon {
namespace {

// Echoes what it was asked, so that a test sees which request an answer belongs to.
void add_echo(Router& router) {
  router.add("POST", "/echo", [](Exchange& exchange, const PathParameters&) {
    exchange.respond({.content_type = "text/plain", .body = exchange.request().body});
    return nullptr;
  });
  router.add("GET", "/item/{id}/x", [](Exchange& exchange, const PathParameters& parameters) {
    exchange.respond({.content_type = "text/plain", .body = parameters[0]});
    return nullptr;
  });
  router.add("GET", "/peer", [](Exchange& exchange, const PathParameters&) {
    const Peer& peer = exchange.request().peer;
    exchange.respond(
        {.body = peer.known ? std::to_string(peer.pid) + " " + std::to_string(peer.uid) : "unknown"});
    return nullptr;
  });
}

// A responder that does nothing by itself; the test sees whether it lives.
struct Held {
  Exchange* exchange = nullptr;
  int alive = 0;
  std::string pending;
  bool complete = false;
};

class HeldResponder final : public Responder {
 public:
  HeldResponder(Held& held, Exchange& exchange) : held_(held) {
    held_.exchange = &exchange;
    ++held_.alive;
  }
  ~HeldResponder() override { --held_.alive; }
  bool produce(std::string& out) override {
    out += std::exchange(held_.pending, {});
    return held_.complete;
  }

 private:
  Held& held_;
};

void add_held(Router& router, Held& held) {
  router.add("GET", "/held", [&held](Exchange& exchange, const PathParameters&) {
    return std::make_unique<HeldResponder>(held, exchange);
  });
}

TEST(HttpServer, AnswersAndKeepsTheConnection) {
  TestServer test;
  add_echo(test.router);
  Client client = test.connect();
  for (const std::string body : {"one", "two"}) {
    ASSERT_TRUE(client.send(post("/echo", body)));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, body);
    EXPECT_EQ(answer.fields.at("x-request-id").size(), 16u);
    EXPECT_EQ(answer.fields.at("connection"), "keep-alive");
    EXPECT_TRUE(answer.fields.contains("date"));
  }
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  TestServer test;
  add_echo(test.router);
  Client client = test.connect();
  std::string requests;
  for (int i = 0; i < 500; ++i) requests += post("/echo", std::to_string(i));
  ASSERT_TRUE(client.send(requests));
  for (int i = 0; i < 500; ++i) ASSERT_EQ(client.answer().body, std::to_string(i));
}

TEST(HttpServer, AnswersRequestsThatComeByteByByte) {
  TestServer test;
  add_echo(test.router);
  Client client = test.connect();
  const std::string request = post("/echo", "hello");
  for (const char c : request + request) ASSERT_TRUE(client.send({&c, 1}));
  EXPECT_EQ(client.answer().body, "hello");
  EXPECT_EQ(client.answer().body, "hello");
}

TEST(HttpServer, RoutesByMethodAndPath) {
  TestServer test;
  add_echo(test.router);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/item/a%2Fb/x")));
  EXPECT_EQ(client.answer().body, "a/b");
  ASSERT_TRUE(client.send(get("/nothing")));
  Answer answer = client.answer();
  EXPECT_EQ(answer.status, 404);
  EXPECT_NE(answer.body.find("\"code\":\"not_found\""), std::string::npos);
  ASSERT_TRUE(client.send(get("/item//x")));
  EXPECT_EQ(client.answer().status, 404);
  ASSERT_TRUE(client.send(get("/item/%zz/x")));
  EXPECT_EQ(client.answer().status, 404);
  ASSERT_TRUE(client.send(get("/echo")));
  answer = client.answer();
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.fields.at("allow"), "POST");
}

TEST(HttpServer, AnswersHeadWithoutABody) {
  TestServer test;
  add_echo(test.router);
  Client client = test.connect();
  ASSERT_TRUE(client.send("HEAD /item/abc/x HTTP/1.1\r\nHost: x\r\n\r\n"));
  const Answer answer = client.answer(false);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.fields.at("content-length"), "3");
  ASSERT_TRUE(client.send(get("/item/abc/x")));
  EXPECT_EQ(client.answer().body, "abc");
}

TEST(HttpServer, TellsThePeerOfAUnixSocket) {
  TestServer test;
  add_echo(test.router);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/peer")));
  EXPECT_EQ(client.answer().body, std::to_string(::getpid()) + " " + std::to_string(::getuid()));
}

TEST(HttpServer, ServesTcpOnLoopback) {
  TestServer test;
  add_echo(test.router);
  auto listening = bind_loopback("127.0.0.1:0");
  ASSERT_TRUE(listening);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(bound_port(*listening).value());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_TRUE(test.server.listen(std::move(*listening), test.router));
  Fd socket(::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::fcntl(socket.get(), F_SETFL, O_NONBLOCK), 0);
  Client client(test.loop, std::move(socket));
  ASSERT_TRUE(client.send(get("/peer")));
  EXPECT_EQ(client.answer().body, "unknown");
}

TEST(HttpServer, EndsAnHttp10ConnectionAfterItsAnswer) {
  TestServer test;
  add_echo(test.router);
  Client client = test.connect();
  ASSERT_TRUE(client.send("GET /item/abc/x HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(client.answer().body, "abc");
  EXPECT_TRUE(client.waits_for_end());
}

TEST(HttpServer, SaysContinueToWhoWaitsForIt) {
  TestServer test;
  add_echo(test.router);
  Client client = test.connect();
  ASSERT_TRUE(
      client.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"));
  EXPECT_EQ(client.answer().status, 100);
  ASSERT_TRUE(client.send("hello"));
  EXPECT_EQ(client.answer().body, "hello");
}

TEST(HttpServer, AnswersWhatIsNoRequestAndCloses) {
  TestServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 505);
  EXPECT_NE(answer.body.find("\"code\":\"http_version\""), std::string::npos);
  EXPECT_EQ(answer.fields.at("connection"), "close");
  EXPECT_TRUE(client.waits_for_end());
  EXPECT_EQ(test.server.counters().malformed_total, 1u);
}

TEST(HttpServer, LetsTheClientReadWhyItsBodyWasRefused) {
  HttpLimits limits;
  limits.body_bytes_max = 1000;
  TestServer test(limits);
  Client client = test.connect();
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"));
  ASSERT_TRUE(client.send(std::string(4'000'000, 'x')));  // goes on sending as if nothing had been said
  EXPECT_EQ(client.answer().status, 413);
  EXPECT_TRUE(client.waits_for_end());
}

TEST(HttpServer, RefusesBodiesBeyondWhatAllOfThemMayHold) {
  HttpLimits limits;
  limits.bodies_bytes_max = 3000;
  TestServer test(limits);
  add_echo(test.router);
  const std::string part =
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2001\r\n\r\n" + std::string(2000, 'x');
  Client first = test.connect();
  Client second = test.connect();
  ASSERT_TRUE(first.send(part));
  ASSERT_TRUE(second.send(part));
  EXPECT_EQ(second.answer().status, 503);
  ASSERT_TRUE(first.send("x"));
  EXPECT_EQ(first.answer().status, 200);
  Client third = test.connect();
  ASSERT_TRUE(third.send(part + "x"));
  EXPECT_EQ(third.answer().status, 200);
}

TEST(HttpServer, RefusesConnectionsBeyondTheCap) {
  HttpLimits limits;
  limits.connections_max = 2;
  TestServer test(limits);
  add_echo(test.router);
  Client first = test.connect();
  Client second = test.connect();
  Client third = test.connect();
  const Answer refusal = third.answer();
  EXPECT_EQ(refusal.status, 503);
  EXPECT_EQ(refusal.fields.at("retry-after"), "1");
  EXPECT_TRUE(third.waits_for_end());
  first.hang_up();
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.server.connections() == 1; }));
  Client fourth = test.connect();
  ASSERT_TRUE(fourth.send(get("/item/abc/x")));
  EXPECT_EQ(fourth.answer().body, "abc");
}

TEST(HttpServer, LetsAnOperatorInWhateverTheNumberOfClients) {
  HttpLimits limits;
  limits.connections_max = 2;
  limits.operator_connections_max = 1;
  TestServer test(limits);
  Router operator_routes;
  add_echo(operator_routes);
  SocketFolder folder;
  ASSERT_TRUE(test.server.listen(std::move(*bind_unix(folder.socket(), 0600)), operator_routes,
                                 Audience::kOperators));
  Client clients[] = {test.connect(), test.connect(), test.connect()};
  EXPECT_EQ(clients[2].answer().status, 503);
  Client first(test.loop, folder.socket());
  ASSERT_TRUE(first.send(get("/item/abc/x")));
  EXPECT_EQ(first.answer().body, "abc");
  Client second(test.loop, folder.socket());
  EXPECT_EQ(second.answer().status, 503);
  first.hang_up();
  ASSERT_TRUE(pump_until(test.loop, [&] { return test.server.connections() == 2; }));
  Client third(test.loop, folder.socket());
  ASSERT_TRUE(third.send(get("/item/abc/x")));
  EXPECT_EQ(third.answer().body, "abc");
  test.server.close_all();  // while its routes are there
}

TEST(HttpServer, StreamsInChunks) {
  TestServer test;
  Held held;
  add_held(test.router, held);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/held")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return held.alive == 1; }));
  held.exchange->start_stream({.content_type = "text/event-stream"});
  held.pending = "first ";
  EXPECT_EQ(client.part("first").status, 200);
  held.pending = "second";
  held.exchange->wake();
  EXPECT_FALSE(client.part("second").complete);
  held.complete = true;
  held.exchange->wake();
  const Answer answer = client.answer();
  EXPECT_EQ(answer.body, "first second");
  EXPECT_TRUE(pump_until(test.loop, [&] { return held.alive == 0; }));
  EXPECT_EQ(test.server.counters().hang_ups_total, 0u);
}

TEST(HttpServer, AsksAgainOnceTheClientHasTakenTheRest) {
  HttpLimits limits;
  limits.unsent_bytes_max = 50'000;
  TestServer test(limits);
  Held held;
  add_held(test.router, held);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/held")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return held.exchange != nullptr; }));
  held.exchange->start_stream({});
  held.pending = std::string(300'000, 'x');  // more than the socket takes at once
  held.exchange->wake();
  pump_some(test.loop);
  held.pending = "the end";
  held.complete = true;
  held.exchange->wake();  // the last one, and it comes while too much is unsent
  pump_some(test.loop);
  EXPECT_EQ(client.answer().body.size(), 300'007u);
}

TEST(HttpServer, DropsTheResponderOfAClientThatHangsUp) {
  TestServer test;
  Held held;
  add_held(test.router, held);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/held")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return held.alive == 1; }));
  client.hang_up();
  EXPECT_TRUE(pump_until(test.loop, [&] { return held.alive == 0; }));
  EXPECT_EQ(test.server.connections(), 0u);
  EXPECT_EQ(test.server.counters().hang_ups_total, 1u);
}

TEST(HttpServer, DropsTheResponderWithPipelinedBytesStillUnread) {
  HttpLimits limits;
  limits.pipelined_bytes_max = 1000;
  TestServer test(limits);
  Held held;
  add_held(test.router, held);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/held")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return held.alive == 1; }));
  ASSERT_TRUE(client.send(std::string(2000, 'x')));
  pump_some(test.loop);
  ASSERT_TRUE(client.send(std::string(2000, 'x')));  // stays in the kernel
  pump_some(test.loop);
  EXPECT_EQ(held.alive, 1);
  client.hang_up();
  EXPECT_TRUE(pump_until(test.loop, [&] { return held.alive == 0; }));
}

TEST(HttpServer, AnswersAClientThatOnlyFinishedSending) {
  TestServer test;
  Held held;
  add_held(test.router, held);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/held")));
  client.finish_sending();
  ASSERT_TRUE(pump_until(test.loop, [&] { return held.alive == 1; }));
  pump_some(test.loop);
  ASSERT_EQ(held.alive, 1);
  held.exchange->respond({.body = "late"});
  EXPECT_EQ(client.answer().body, "late");
  EXPECT_TRUE(client.waits_for_end());
}

TEST(HttpServer, NoticesWhenAHalfClosedClientIsGone) {
  HttpLimits limits;
  limits.sweep_ms = 10;
  TestServer test(limits);
  Held held;
  add_held(test.router, held);
  Client client = test.connect();
  ASSERT_TRUE(client.send(get("/held")));
  client.finish_sending();
  ASSERT_TRUE(pump_until(test.loop, [&] { return held.alive == 1; }));
  pump_some(test.loop);
  client.hang_up();
  EXPECT_TRUE(pump_until(test.loop, [&] { return held.alive == 0; }));
}

TEST(HttpServer, DrainsWithoutCuttingAnAnswer) {
  TestServer test;
  Held held;
  add_held(test.router, held);
  Client idle = test.connect();
  Client busy = test.connect();
  ASSERT_TRUE(busy.send(get("/held")));
  ASSERT_TRUE(pump_until(test.loop, [&] { return held.alive == 1 && test.server.connections() == 2; }));
  bool drained = false;
  test.server.begin_drain([&] { drained = true; });
  EXPECT_TRUE(idle.waits_for_end());
  EXPECT_FALSE(drained);
  held.exchange->respond({.body = "still answered"});
  const Answer answer = busy.answer();
  EXPECT_EQ(answer.body, "still answered");
  EXPECT_EQ(answer.fields.at("connection"), "close");
  EXPECT_TRUE(busy.waits_for_end());
  busy.hang_up();
  EXPECT_TRUE(pump_until(test.loop, [&] { return drained; }));
}

TEST(HttpServer, DropsEverythingWhenItIsDestroyed) {
  Held held;
  {
    TestServer test;
    add_held(test.router, held);
    Client client = test.connect();
    ASSERT_TRUE(client.send(get("/held")));
    ASSERT_TRUE(pump_until(test.loop, [&] { return held.alive == 1; }));
  }
  EXPECT_EQ(held.alive, 0);
}

}  // namespace
}  // namespace deepserve::daemon
