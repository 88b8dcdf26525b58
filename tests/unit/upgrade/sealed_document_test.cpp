#include "daemon/upgrade/sealed_document.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace deepserve::daemon {
namespace {

TEST(SealedDocument, IsReadAsItWasWrittenAndByNobodyChanged) {
  std::vector<std::byte> bytes(100'000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7);
  const auto memfd = seal_document(bytes);
  ASSERT_TRUE(memfd);
  EXPECT_EQ(::fcntl(memfd->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::write(memfd->get(), "x", 1), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_NE(::ftruncate(memfd->get(), 1), 0);
  for (int again = 0; again < 2; ++again) EXPECT_EQ(read_document(memfd->get()).value(), bytes);
}

TEST(SealedDocument, ThatCanStillBeChangedIsRefused) {
  const Fd open(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_FALSE(read_document(open.get()));
  ASSERT_EQ(::fcntl(open.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
  EXPECT_FALSE(read_document(open.get()));
}

TEST(SealedDocument, ThatIsNoneIsRefused) {
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(read_document(null.get()));
  EXPECT_FALSE(read_document(-1));
  EXPECT_FALSE(read_document(9999));
}

}  // namespace
}  // namespace deepserve::daemon
