#include "daemon/http/authorize.h"

#include "tests/unit/http/harness.h"

namespace deepserve::daemon {
namespace {

// A server on loopback TCP that knows one key.
class GuardedServer : public testing::Test {
 protected:
  GuardedServer() : server_(loop_, {.tcp_connections_max = 2, .tcp_first_head_ms = 50, .sweep_ms = 10}) {
    router_.add("POST", "/echo", [](Exchange& exchange, const PathParameters&) {
      exchange.respond({.body = exchange.request().peer.key_client + ":" + exchange.request().body});
      return nullptr;
    });
    auto socket = bind_loopback("127.0.0.1:0");
    CHECK(socket);
    port_ = bound_port(*socket).value();
    CHECK(server_.listen(std::move(*socket), router_, Audience::kClients,
                         [this](const HttpRequest& head, bool is_unix) -> Result<std::string> {
                           ++asked_;
                           EXPECT_FALSE(is_unix);
                           const auto* key = head.field("authorization");
                           if (key != nullptr && *key == "Bearer good") return std::string("web");
                           return fail(Code::kInvalidApiKey, "the API key is not one of this server's");
                         }));
  }

  Client connect() {
    Fd socket(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    CHECK(::fcntl(socket.get(), F_SETFL, O_NONBLOCK) == 0);
    return Client(loop_, std::move(socket));
  }

  Loop loop_;
  Router router_;
  HttpServer server_;
  uint16_t port_ = 0;
  int asked_ = 0;
};

TEST_F(GuardedServer, TheRouteLearnsWhoseKeyItIs) {
  auto client = connect();
  for (int i = 1; i <= 2; ++i) {  // on one connection: each request shows its own key
    ASSERT_TRUE(client.send(post("/echo", "hi", "Authorization: Bearer good\r\n")));
    EXPECT_EQ(client.answer().body, "web:hi");
    EXPECT_EQ(asked_, i);
  }
}

TEST_F(GuardedServer, AWrongKeyIsRefusedBeforeTheBodyIsSent) {
  auto client = connect();
  ASSERT_TRUE(
      client.send("POST /echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bad\r\n"
                  "Content-Length: 1000000\r\n\r\n"));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.fields.at("www-authenticate"), "Bearer");
  EXPECT_NE(answer.body.find("\"code\":\"invalid_api_key\""), std::string::npos);
  EXPECT_NE(answer.body.find("\"type\":\"authentication_error\""), std::string::npos);
}

TEST_F(GuardedServer, AKeyIsGoodForItsOwnRequestAlone) {
  auto client = connect();
  ASSERT_TRUE(client.send(post("/echo", "hi", "Authorization: Bearer good\r\n")));
  EXPECT_EQ(client.answer().status, 200);
  ASSERT_TRUE(client.send(post("/echo", "hi")));
  EXPECT_EQ(client.answer().status, 401);
  EXPECT_TRUE(client.waits_for_end());
}

TEST_F(GuardedServer, AWrongKeyIsCountedAsSuch) {
  auto client = connect();
  ASSERT_TRUE(client.send(post("/echo", "hi")));
  EXPECT_EQ(client.answer().status, 401);
  EXPECT_EQ(server_.counters().unauthorized_total, 1u);
  EXPECT_EQ(server_.counters().malformed_total, 0u);
}

TEST_F(GuardedServer, WhoeverConnectsOverTcpLeavesTheUnixSocketItsRoom) {
  SocketFolder folder;
  ASSERT_TRUE(server_.listen(std::move(*bind_unix(folder.socket(), 0600)), router_));
  Client silent[] = {connect(), connect(), connect()};
  EXPECT_EQ(silent[2].answer().status, 503);
  Client local(loop_, folder.socket());
  ASSERT_TRUE(local.send(post("/echo", "hi")));
  EXPECT_EQ(local.answer().body, ":hi");
}

TEST_F(GuardedServer, ATcpConnectionThatAsksNothingIsClosedSoon) {
  auto silent = connect();
  auto asked = connect();
  ASSERT_TRUE(asked.send(post("/echo", "hi", "Authorization: Bearer good\r\n")));
  EXPECT_EQ(asked.answer().status, 200);
  EXPECT_TRUE(silent.waits_for_end());
  EXPECT_FALSE(asked.ended());
}

TEST_F(GuardedServer, ConnectionsOutliveTheListenerThatJudgedThem) {
  auto client = connect();
  ASSERT_TRUE(client.send(post("/echo", "hi", "Authorization: Bearer good\r\n")));
  EXPECT_EQ(client.answer().status, 200);
  server_.stop_accepting();
  ASSERT_TRUE(client.send(post("/echo", "again", "Authorization: Bearer good\r\n")));
  EXPECT_EQ(client.answer().body, "web:again");
}

}  // namespace
}  // namespace deepserve::daemon
