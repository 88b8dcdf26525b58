#include "daemon/process/ticket_key.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace deepserve::daemon {
namespace {

class TicketKeyFile : public testing::Test {
 protected:
  TicketKeyFile() {
    std::string made = testing::TempDir() + "ticket_key.XXXXXX";
    if (::mkdtemp(made.data()) != nullptr) directory_ = made;
    path_ = directory_ + "/ticket.key";
  }
  ~TicketKeyFile() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& bytes, mode_t mode = 0600) {
    std::ofstream(path_, std::ios::binary) << bytes;
    ::chmod(path_.c_str(), mode);
  }
  // Fails, and its message names the file.
  void expect_refused(const std::string& why) {
    const auto key = load_or_make_key(path_);
    ASSERT_FALSE(key);
    EXPECT_NE(key.error().message.find(path_), std::string::npos) << key.error().message;
    EXPECT_NE(key.error().message.find(why), std::string::npos) << key.error().message;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(TicketKeyFile, IsMadeOnceForItsOwnerAloneAndReadFromThenOn) {
  const auto made = load_or_make_key(path_);
  ASSERT_TRUE(made) << made.error().message;
  struct stat facts {};
  ASSERT_EQ(::stat(path_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  EXPECT_EQ(facts.st_size, 32);
  EXPECT_EQ(load_or_make_key(path_).value(), *made);
  const std::filesystem::directory_iterator files(directory_);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(TicketKeyFile, OfAnotherLengthIsRefused) {
  for (const size_t bytes : {0, 31, 33}) {
    write(std::string(bytes, 'k'));
    expect_refused("is not 32 bytes");
  }
}

TEST_F(TicketKeyFile, ThatOthersMayReadIsRefused) {
  for (const mode_t mode : {0640, 0604, 0666}) {
    write(std::string(32, 'k'), mode);
    expect_refused("is open to others");
  }
}

TEST_F(TicketKeyFile, OfZerosIsRefused) {
  write(std::string(32, '\0'));
  expect_refused("is all zeros");
}

TEST_F(TicketKeyFile, ThatIsALinkOrADirectoryIsRefused) {
  const std::string other = directory_ + "/other";
  std::ofstream(other) << std::string(32, 'k');
  std::filesystem::create_symlink(other, path_);
  EXPECT_FALSE(load_or_make_key(path_));
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  expect_refused("is no file");
}

TEST_F(TicketKeyFile, WithoutItsDirectoryThereIsNone) {
  path_ = directory_ + "/missing/ticket.key";
  expect_refused("cannot make");
}

TEST_F(TicketKeyFile, TwoKeysAreNotTheSame) {
  EXPECT_NE(random_key(), random_key());
}

TEST(HostBoot, IsTheSameEachTime) {
  EXPECT_EQ(host_boot(), host_boot());
}

}  // namespace
}  // namespace deepserve::daemon
