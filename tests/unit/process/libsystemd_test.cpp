#include "daemon/process/libsystemd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "daemon/process/inherited_sockets.h"

namespace deepserve::daemon {
namespace {

using ::testing::HasSubstr;

TEST(Libsystemd, AMissingLibraryIsAnErrorThatNamesIt) {
  const auto library = load_libsystemd("libnowhere.so.0");
  ASSERT_FALSE(library);
  EXPECT_EQ(library.error().code, Code::kNotSupported);
  EXPECT_THAT(library.error().message, HasSubstr("libnowhere.so.0"));
}

TEST(Libsystemd, ALibraryWithoutItsFunctionsIsAnErrorThatNamesTheFirst) {
  const auto library = load_libsystemd("libm.so.6");
  ASSERT_FALSE(library);
  EXPECT_EQ(library.error().message, "libm.so.6 has no sd_notify");
}

TEST(InheritedSockets, WhereSystemdHandsOverNoneItsLibraryIsNotAskedFor) {
  ::unsetenv("LISTEN_FDS");
  const auto sockets = take_inherited_sockets();
  ASSERT_TRUE(sockets);
  EXPECT_TRUE(sockets->empty());
}

TEST(InheritedSockets, ThoseForAnotherProcessAreNotTaken) {
  if (!libsystemd()) GTEST_SKIP() << libsystemd().error().message;
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", "1", 1);
  const auto sockets = take_inherited_sockets();
  ASSERT_TRUE(sockets);
  EXPECT_TRUE(sockets->empty());
  EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr);
}

}  // namespace
}  // namespace deepserve::daemon
