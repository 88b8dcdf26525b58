#include "daemon/http/peer.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "ipc/base/fd.h"

namespace deepserve::daemon {
namespace {

TEST(Peer, OfAUnixSocketIsWhoConnected) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const Fd one(ends[0]);
  const Fd other(ends[1]);
  const Peer peer = peer_of(one.get(), true, false);
  EXPECT_TRUE(peer.known);
  EXPECT_EQ(peer.pid, ::getpid());
  EXPECT_EQ(peer.uid, ::getuid());
  EXPECT_EQ(peer.cgroup, "") << "nobody asked for it";
  EXPECT_FALSE(peer_of(one.get(), false, true).known);
}

TEST(Peer, ItsCgroupIsThatOfItsProcess) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const Fd one(ends[0]);
  const Fd other(ends[1]);
  std::ostringstream text;
  text << std::ifstream("/proc/self/cgroup").rdbuf();
  EXPECT_EQ(peer_of(one.get(), true, true).cgroup, cgroup_in(text.str()));
}

TEST(Peer, TheUnifiedHierarchyGoesBeforeSystemds) {
  EXPECT_EQ(cgroup_in("0::/user.slice/user-1000.slice\n"), "/user.slice/user-1000.slice");
  EXPECT_EQ(cgroup_in("12:cpu,cpuacct:/x\n1:name=systemd:/system.slice/a.service\n"),
            "/system.slice/a.service");
  EXPECT_EQ(cgroup_in("1:name=systemd:/old\n0::/new"), "/new");
  EXPECT_EQ(cgroup_in("4:memory:/only\n"), "");
  EXPECT_EQ(cgroup_in(""), "");
}

}  // namespace
}  // namespace deepserve::daemon
