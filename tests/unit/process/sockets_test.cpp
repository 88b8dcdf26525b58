// What a reload does to the sockets that dsd listens on.
#include "daemon/process/sockets.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "daemon/http/listener.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

class SocketsOfAReload : public ::testing::Test {
 protected:
  SocketsOfAReload() {
    char name[] = "/tmp/deepserve-test-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    folder_ = name;
    before = config({"api.sock", "second.sock"});
    auto opened = open_sockets(before);
    CHECK(opened);
    sockets = std::move(*opened);
    for (const auto& one : sockets) held.push_back({one.socket.get(), one.kind, one.inherited});
  }
  ~SocketsOfAReload() override { std::filesystem::remove_all(folder_); }

  ListenAddress address(const std::string& name) const {
    return {.unix_path = folder_ + "/" + name, .host = "", .port = 0};
  }
  Config config(const std::vector<std::string>& names) const {
    Config config;
    for (const auto& name : names) config.server.listen.push_back(address(name));
    config.server.control = address("ctl.sock");
    return config;
  }
  bool has(const std::string& name) const { return std::filesystem::exists(folder_ + "/" + name); }

  std::string folder_;
  Config before;
  std::vector<ListeningSocket> sockets;
  std::vector<HandedListener> held;
};

TEST_F(SocketsOfAReload, AreThoseThatDiffer) {
  const auto change = change_sockets(before, config({"third.sock", "api.sock"}), held);
  ASSERT_TRUE(change) << change.error().message;
  ASSERT_EQ(change->opened.size(), 1u);
  EXPECT_EQ(bound_address(change->opened[0].socket.get()), address("third.sock").text());
  EXPECT_EQ(change->opened[0].kind, ListenerKind::kApi);
  EXPECT_EQ(change->closed, std::vector<int>{held[1].fd});
}

TEST_F(SocketsOfAReload, AreNoneWhereOneOfThemCannotBe) {
  auto after = config({"third.sock"});
  after.observe.listen = address("second.sock");  // somebody listens there: we ourselves
  const auto change = change_sockets(before, after, held);
  ASSERT_FALSE(change);
  EXPECT_TRUE(change.error().message.starts_with("observe.listen: ")) << change.error().message;
  EXPECT_FALSE(has("third.sock"));
  EXPECT_TRUE(has("second.sock"));
}

TEST_F(SocketsOfAReload, OfTheServiceManagerStayWhereItsUnitSays) {
  held[0].inherited = true;
  EXPECT_EQ(change_sockets(before, config({"third.sock"}), held).error().code, Code::kNotSupported);
  auto after = before;
  after.server.listen.push_back({.unix_path = "", .host = "127.0.0.1", .port = 0});
  const auto change = change_sockets(before, after, held);
  ASSERT_TRUE(change) << change.error().message;
  EXPECT_EQ(change->opened.size(), 1u);
}

}  // namespace
}  // namespace deepserve::daemon
