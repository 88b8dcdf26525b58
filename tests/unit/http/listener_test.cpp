#include "daemon/http/listener.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/http/harness.h"

namespace deepserve::daemon {
namespace {

TEST(Listener, ReplacesASocketThatNobodyAnswers) {
  SocketFolder folder;
  ASSERT_TRUE(bind_unix(folder.socket(), 0600));  // closed at once; the file stays
  const auto again = bind_unix(folder.socket(), 0660);
  ASSERT_TRUE(again) << again.error().message;
  struct stat info {};
  ASSERT_EQ(::stat(folder.socket().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660u);
}

TEST(Listener, SaysWhereItIsBoundAsTheConfigurationDoes) {
  SocketFolder folder;
  const auto local = bind_unix(folder.socket(), 0600);
  const auto tcp = bind_loopback("127.0.0.1:0");
  ASSERT_TRUE(local && tcp);
  EXPECT_EQ(bound_address(local->get()), "unix:" + folder.socket());
  EXPECT_EQ(bound_address(tcp->get()), fmt::format("127.0.0.1:{}", bound_port(*tcp).value()));
  EXPECT_EQ(bound_address(-1), "");
}

TEST(Listener, DoesNotTakeALiveSocketAway) {
  SocketFolder folder;
  const auto first = bind_unix(folder.socket(), 0600);
  ASSERT_TRUE(first);
  const auto second = bind_unix(folder.socket(), 0600);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);
}

TEST(Listener, DoesNotReplaceAFileThatIsNoSocket) {
  SocketFolder folder;
  Fd(::open(folder.socket().c_str(), O_CREAT | O_WRONLY, 0600)).reset();
  const auto socket = bind_unix(folder.socket(), 0600);
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code, Code::kConflict);
}

TEST(Listener, NamesAPathThatIsTooLong) {
  const auto socket = bind_unix("/tmp/" + std::string(200, 'x'), 0600);
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code, Code::kInvalidConfig);
}

TEST(Listener, BindsLoopbackOnly) {
  for (const char* address : {"0.0.0.0:0", "192.168.0.1:80", "[::]:0", "127.0.0.1", "127.0.0.1:x",
                              "127.0.0.1:70000", "example.org:80", ""}) {
    const auto socket = bind_loopback(address);
    ASSERT_FALSE(socket) << address;
    EXPECT_EQ(socket.error().code, Code::kInvalidConfig) << address;
  }
  const auto socket = bind_loopback("127.0.0.1:0");
  ASSERT_TRUE(socket);
  EXPECT_GT(bound_port(*socket).value(), 0);
}

TEST(Listener, RefusesAnInheritedDescriptorThatDoesNotListen) {
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_FALSE(adopt_listener(socket));
}

}  // namespace
}  // namespace deepserve::daemon
