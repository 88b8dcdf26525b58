// Connections that go on in another server, as they do in another process after an upgrade in place.
#include <sys/mman.h>

#include <random>

#include "daemon/http/request_parser.h"
#include "tests/unit/http/harness.h"

namespace deepserve::daemon {
namespace {

// Tells numbers one by one, "1,2,...,9,"; how far it came is what it hands over.
class Counting final : public Responder {
 public:
  Counting(Exchange& exchange, int next) : exchange_(exchange), next_(next) { exchange_.wake(); }
  bool produce(std::string& out) override {
    out += std::to_string(next_) + ",";
    return ++next_ == 10;
  }
  void tick(uint64_t) override { exchange_.wake(); }
  std::optional<std::string> hand_over() const override { return std::to_string(next_); }

 private:
  Exchange& exchange_;
  int next_;
};

// Answers only once it is told to, in another server if need be.
class Waiting final : public Responder {
 public:
  std::optional<std::string> hand_over() const override { return "later"; }
};

// Has done nothing for its request yet.
class Asking final : public Responder {
 public:
  explicit Asking(HttpRequest request) : request_(std::move(request)) {}
  const HttpRequest* to_ask_again() const override { return &request_; }

 private:
  const HttpRequest request_;
};

// Ends where it began.
class Staying final : public Responder {};

void add_routes(Router& router) {
  router.add("POST", "/echo", [](Exchange& exchange, const PathParameters&) {
    exchange.respond({.content_type = "text/plain", .body = exchange.request().body});
    return nullptr;
  });
  router.add("GET", "/long", [](Exchange& exchange, const PathParameters&) {
    exchange.respond({.content_type = "text/plain", .body = std::string(900'000, 'x')});
    return nullptr;
  });
  router.add("GET", "/count", [](Exchange& exchange, const PathParameters&) {
    exchange.start_stream({.content_type = "text/plain"});
    return std::make_unique<Counting>(exchange, 1);
  });
  router.add("GET", "/wait", [](Exchange&, const PathParameters&) { return std::make_unique<Waiting>(); });
  router.add("GET", "/stay", [](Exchange&, const PathParameters&) { return std::make_unique<Staying>(); });
  router.set_resume([](Exchange& exchange, std::string_view what) -> std::unique_ptr<Responder> {
    if (what == "lost") return nullptr;
    if (what != "later") return std::make_unique<Counting>(exchange, std::stoi(std::string(what)));
    exchange.respond({.content_type = "text/plain", .body = "now"});
    return nullptr;
  });
}

// Two servers on one loop; what one hands over goes through its encoding, with descriptors of its own.
class HandOver : public testing::Test {
 protected:
  HandOver() {
    limits.sweep_ms = 5;
    add_routes(router);
    auto socket = bind_unix(folder.socket(), 0600);
    CHECK(socket);
    const int same = ::dup(socket->get());
    listen(old_server.emplace(loop, limits), std::move(*socket));
    listen(new_server.emplace(loop, limits), Fd(same));
    new_server->hold();
  }
  void listen(HttpServer& server, Fd socket) { CHECK(server.listen(std::move(socket), router)); }
  Client connect() {
    Client client(loop, folder.socket());
    const size_t before = old_server->connections();
    CHECK(pump_until(loop, [&] { return old_server->connections() > before; }));
    return client;
  }
  std::vector<HandedConnection> handed() {
    old_server->hold();
    EXPECT_EQ(old_server->stays(), "");
    std::vector<HandedConnection> all;
    for (const auto& one : old_server->hand_over()) {
      std::vector<std::byte> bytes;
      ByteWriter writer(bytes);
      one.encode(writer);
      ByteReader reader(bytes);
      all.push_back(HandedConnection::decode(reader));
      EXPECT_TRUE(reader.done());
      all.back().fd = ::dup(one.fd);
    }
    return all;
  }
  void upgrade() {
    const auto all = handed();
    old_server.reset();
    ASSERT_TRUE(new_server->take_over(all));
    new_server->release();
  }

  HttpLimits limits;
  SocketFolder folder;
  Loop loop;
  Router router;
  std::optional<HttpServer> old_server, new_server;
};

TEST_F(HandOver, AnIdleConnectionAsksAgainAsTheSamePeer) {
  Client client = connect();
  ASSERT_TRUE(client.send(post("/echo", "one")));
  EXPECT_EQ(client.answer().body, "one");
  upgrade();
  ASSERT_TRUE(client.send(post("/echo", "two")));
  EXPECT_EQ(client.answer().body, "two");
  EXPECT_EQ(new_server->connections(), 1u);
}

TEST_F(HandOver, ARequestGoesOnAtTheByteWhereItWas) {
  const std::string whole = post("/echo", "hello");
  const std::string chunked =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nX-Late: yes\r\n\r\n";
  for (const std::string& text : {whole, chunked}) {
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      RequestParser first(limits);
      const auto begun = first.feed(std::string_view(text).substr(0, cut));
      ASSERT_TRUE(begun) << begun.error().message;
      if (first.complete()) continue;
      RequestParser second(limits);
      const std::string replay = first.replay();
      const auto again = second.feed(replay);
      ASSERT_TRUE(again) << cut << ": " << again.error().message;
      EXPECT_EQ(*again, replay.size());
      EXPECT_EQ(second.head_done(), first.head_done());
      ASSERT_TRUE(second.feed(std::string_view(text).substr(cut))) << cut;
      ASSERT_TRUE(second.complete()) << cut;
      EXPECT_EQ(second.take().body, "hello");
    }
  }
}

TEST_F(HandOver, AHalfReceivedRequestIsAnsweredOnce) {
  Client client = connect();
  const std::string text = post("/echo", "a body");
  ASSERT_TRUE(client.send(text.substr(0, text.size() - 3)));
  pump_some(loop);
  upgrade();
  pump_some(loop);
  ASSERT_TRUE(client.send(text.substr(text.size() - 3)));
  EXPECT_EQ(client.answer().body, "a body");
  EXPECT_EQ(client.received(), "");
}

TEST_F(HandOver, ABodyIsAskedForOnce) {
  Client client = connect();
  ASSERT_TRUE(
      client.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_EQ(client.answer().status, 100);
  upgrade();
  ASSERT_TRUE(client.send("ok"));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "ok");
}

TEST_F(HandOver, WhatTheClientHasNotReadOfAnAnswerComesAfterIt) {
  Client client = connect();
  ASSERT_TRUE(client.send(get("/long") + post("/echo", "next")));
  pump_some(loop);
  upgrade();
  EXPECT_EQ(client.answer().body, std::string(900'000, 'x'));
  EXPECT_EQ(client.answer().body, "next");
}

TEST_F(HandOver, AStreamGoesOnWithWhatWasNotTold) {
  for (int turns = 0; turns < 8; ++turns) {
    HandOver::old_server.emplace(loop, limits);
    HandOver::new_server.emplace(loop, limits);
    SocketFolder other;
    auto socket = bind_unix(other.socket(), 0600);
    ASSERT_TRUE(socket);
    Fd same(::dup(socket->get()));
    listen(*old_server, std::move(*socket));
    listen(*new_server, std::move(same));
    new_server->hold();
    Client client(loop, other.socket());
    ASSERT_TRUE(client.send(get("/count")));
    ASSERT_EQ(client.part("1,").status, 200);
    for (int turn = 0; turn < turns; ++turn) pump_some(loop);
    upgrade();
    EXPECT_EQ(client.answer().body, "1,2,3,4,5,6,7,8,9,");
  }
}

TEST_F(HandOver, AnAnswerThatWasNotBegunIsGivenByTheNext) {
  Client client = connect();
  ASSERT_TRUE(client.send(get("/wait")));
  pump_some(loop);
  upgrade();
  EXPECT_EQ(client.answer().body, "now");
}

TEST_F(HandOver, ARequestForWhichNothingWasDoneIsAskedAgainWithAllThatCame) {
  bool answers = false;
  router.add(
      "POST", "/again", [&answers](Exchange& exchange, const PathParameters&) -> std::unique_ptr<Responder> {
        const HttpRequest& request = exchange.request();
        if (!answers) return std::make_unique<Asking>(request);
        exchange.respond({.content_type = "text/plain",
                          .body = request.query + "," + *request.field("x-name") + "," + request.body});
        return nullptr;
      });
  const std::string head =
      "POST /again?a=b%20c HTTP/1.1\r\nHost: x\r\nX-Name:  v w \r\nExpect: 100-continue\r\n";
  Client known = connect(), chunked = connect();
  ASSERT_TRUE(known.send(head + "Content-Length: 4\r\n\r\nbody" + post("/echo", "next")));
  ASSERT_TRUE(chunked.send(head + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"));
  chunked.finish_sending();
  pump_some(loop);
  answers = true;
  upgrade();
  EXPECT_EQ(known.answer().body, "a=b%20c,v w,body");
  EXPECT_EQ(known.answer().body, "next");
  EXPECT_EQ(chunked.answer().body, "a=b%20c,v w,body");
}

TEST_F(HandOver, WhatHasToEndHereIsSaidSo) {
  Client client = connect();
  ASSERT_TRUE(client.send(get("/stay")));
  pump_some(loop);
  EXPECT_EQ(old_server->stays(), "GET /stay");
  EXPECT_TRUE(old_server->hand_over().empty());
}

TEST_F(HandOver, WhoseListenerIsGoneGoesOnWithOneLikeItOrEndsHere) {
  auto second = bind_unix(folder.socket() + "2", 0600);
  ASSERT_TRUE(second);
  const int first = old_server->listening().at(0);
  Client idle = connect(), told = connect();
  ASSERT_TRUE(told.send(get("/count")));
  ASSERT_EQ(told.part("1,").status, 200);
  listen(*old_server, std::move(*second));
  old_server->stop_listening(first);
  EXPECT_TRUE(idle.waits_for_end());
  EXPECT_EQ(old_server->listening().size(), 1u);
  const auto all = old_server->hand_over();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].listener, 0u);
  old_server->stop_listening(old_server->listening().at(0));
  EXPECT_EQ(old_server->stays(), "a connection of a listener that is gone");
  EXPECT_TRUE(old_server->hand_over().empty());
  EXPECT_EQ(::unlink((folder.socket() + "2").c_str()), 0);
}

TEST_F(HandOver, HeldReadsNothingAndReleasedGoesOn) {
  Client client = connect();
  old_server->hold();
  new_server.reset();
  ASSERT_TRUE(client.send(post("/echo", "later")));
  Client waiting(loop, folder.socket());
  EXPECT_EQ(client.received(), "");
  EXPECT_EQ(old_server->connections(), 1u);
  old_server->hand_over();
  old_server->release();
  EXPECT_EQ(client.answer().body, "later");
  ASSERT_TRUE(waiting.send(post("/echo", "too")));
  EXPECT_EQ(waiting.answer().body, "too");
}

TEST_F(HandOver, AnAnswerThatNobodyCanGoOnWithIsAnErrorOrAnEnd) {
  Client quiet = connect(), told = connect();
  ASSERT_TRUE(quiet.send(get("/wait")));
  ASSERT_TRUE(told.send(get("/count")));
  ASSERT_EQ(told.part("1,").status, 200);
  auto all = handed();
  for (auto& one : all) one.answer = "lost";
  old_server.reset();
  ASSERT_TRUE(new_server->take_over(all));
  new_server->release();
  EXPECT_EQ(quiet.answer().status, 500);
  EXPECT_TRUE(told.waits_for_end());
  EXPECT_FALSE(parse_answer(told.received()).complete);
}

TEST_F(HandOver, WhatIsNoConnectionIsRefusedAndNothingTaken) {
  Client client = connect();
  auto all = handed();
  const int good = all[0].fd;
  all[0].listener = 7;
  EXPECT_FALSE(new_server->take_over(all));
  all[0].listener = 0;
  all.push_back(all[0]);
  const Fd file(::memfd_create("file", MFD_CLOEXEC));
  all[1].fd = file.get();
  EXPECT_FALSE(new_server->take_over(all));
  EXPECT_EQ(new_server->connections(), 0u);
  ::close(good);
}

TEST_F(HandOver, EveryTruncatedOrChangedEncodingIsReadWithinItsBounds) {
  HandedConnection handed;
  handed.peer.cgroup = "/user.slice";
  handed.received = "GET / HTTP/1.1";
  handed.unsent = "rest";
  handed.method = "POST";
  handed.answer = "17";
  std::vector<std::byte> bytes;
  ByteWriter writer(bytes);
  handed.encode(writer);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ByteReader reader(std::span<const std::byte>(bytes).first(size));
    HandedConnection::decode(reader);
    EXPECT_FALSE(reader.ok()) << size;
  }
  constexpr uint32_t kSeed = 7;
  std::mt19937 random(kSeed);
  for (int trial = 0; trial < 20'000; ++trial) {
    auto changed = bytes;
    for (int i = 0; i < 3; ++i) changed[random() % changed.size()] = static_cast<std::byte>(random());
    ByteReader reader(changed);
    const auto read = HandedConnection::decode(reader);
    EXPECT_LE(read.received.size() + read.unsent.size() + read.answer.size(), changed.size());
  }
}

}  // namespace
}  // namespace deepserve::daemon
