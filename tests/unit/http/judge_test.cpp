#include "daemon/http/judge.h"

#include "tests/unit/http/harness.h"

namespace deepserve::daemon {
namespace {

// A server that refuses whoever says X-Refuse on the head of the request.
class JudgedServer : public testing::Test {
 protected:
  JudgedServer() : server_(loop_, limits()) {
    router_.add("POST", "/echo", [this](Exchange& exchange, const PathParameters&) {
      ++routed_;
      exchange.respond({.body = exchange.request().body});
      return nullptr;
    });
    auto socket = bind_unix(folder_.socket(), 0600);
    CHECK(socket);
    CHECK(server_.listen(std::move(*socket), router_, Audience::kClients, {},
                         [this](const HttpRequest& head) -> std::optional<HttpResponse> {
                           ++judged_;
                           EXPECT_TRUE(head.peer.known);
                           if (head.field("x-refuse") == nullptr) return std::nullopt;
                           return HttpResponse{.status = 503, .body = "come back"};
                         }));
  }
  ~JudgedServer() override { server_.close_all(); }

  static HttpLimits limits() {
    HttpLimits limits;
    limits.refused_wait_bytes = 1'000;
    limits.refused_bytes_max = 5'000;
    limits.linger_ms = 200;
    limits.sweep_ms = 10;
    return limits;
  }
  static std::string head(size_t body_bytes, const std::string& fields = "") {
    return "POST /echo HTTP/1.1\r\nHost: x\r\nX-Refuse: 1\r\n" + fields +
           "Content-Length: " + std::to_string(body_bytes) + "\r\n\r\n";
  }
  Client connect() { return Client(loop_, folder_.socket()); }

  SocketFolder folder_;
  Loop loop_;
  Router router_;
  HttpServer server_;
  int judged_ = 0;
  int routed_ = 0;
};

TEST_F(JudgedServer, WhatIsNotRefusedReachesItsRoute) {
  Client client = connect();
  ASSERT_TRUE(client.send(post("/echo", "hi")));
  EXPECT_EQ(client.answer().body, "hi");
  EXPECT_EQ(judged_, 1);
}

TEST_F(JudgedServer, ARefusedRequestReachesNoRouteAndTheConnectionGoesOn) {
  Client client = connect();
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(client.send(post("/echo", "hi", "X-Refuse: 1\r\n")));
    EXPECT_EQ(client.answer().body, "come back");
    EXPECT_EQ(judged_, i);
  }
  ASSERT_TRUE(client.send(post("/echo", "hi")));
  EXPECT_EQ(client.answer().body, "hi");
  EXPECT_EQ(routed_, 1);
}

TEST_F(JudgedServer, PipelinedRequestsAreJudgedOneByOne) {
  Client client = connect();
  ASSERT_TRUE(client.send(post("/echo", "a", "X-Refuse: 1\r\n") + post("/echo", "b") +
                          post("/echo", "c", "X-Refuse: 1\r\n")));
  EXPECT_EQ(client.answer().status, 503);
  EXPECT_EQ(client.answer().body, "b");
  EXPECT_EQ(client.answer().status, 503);
}

TEST_F(JudgedServer, AShortBodyThatComesLaterIsWaitedFor) {
  Client client = connect();
  ASSERT_TRUE(client.send(head(4)));
  EXPECT_EQ(client.received(), "");
  ASSERT_TRUE(client.send("body"));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.body, "come back");
  EXPECT_EQ(answer.fields.at("connection"), "keep-alive");
}

TEST_F(JudgedServer, AShortBodyThatNeverComesIsWaitedForOnlySoLong) {
  Client client = connect();
  ASSERT_TRUE(client.send(head(4)));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.body, "come back");
  EXPECT_EQ(answer.fields.at("connection"), "close");
  EXPECT_TRUE(client.waits_for_end());
}

TEST_F(JudgedServer, ALongBodyIsAnsweredAtOnceAndTheClientSeesTheAnswer) {
  Client client = connect();
  ASSERT_TRUE(client.send(head(4'000) + std::string(2'000, 'b')));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.body, "come back");
  EXPECT_EQ(answer.fields.at("connection"), "close");
  ASSERT_TRUE(client.send(std::string(2'000, 'b')));
  EXPECT_TRUE(client.waits_for_end());
}

TEST_F(JudgedServer, WhoWaitsForA100GetsTheRefusalInstead) {
  Client client = connect();
  ASSERT_TRUE(client.send(head(4, "Expect: 100-continue\r\n")));
  EXPECT_EQ(client.answer().status, 503);
}

TEST_F(JudgedServer, ABodyOfUnknownLengthIsAnsweredAtOnce) {
  Client client = connect();
  ASSERT_TRUE(
      client.send("POST /echo HTTP/1.1\r\nHost: x\r\nX-Refuse: 1\r\nTransfer-Encoding: chunked\r\n\r\n"));
  EXPECT_EQ(client.answer().status, 503);
  EXPECT_TRUE(client.waits_for_end());
}

}  // namespace
}  // namespace deepserve::daemon
