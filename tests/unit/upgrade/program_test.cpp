#include "daemon/upgrade/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace deepserve::daemon {
namespace {

class ProgramFile : public testing::Test {
 protected:
  ProgramFile() {
    std::string made = testing::TempDir() + "program.XXXXXX";
    if (::mkdtemp(made.data()) != nullptr) directory_ = made;
    path_ = directory_ + "/program";
    std::ofstream(path_) << "#!/bin/sh\nexit 0\n";
    ::chmod(path_.c_str(), 0755);
  }
  ~ProgramFile() override { std::filesystem::remove_all(directory_); }

  void expect_refused(const std::string& path, const std::string& why) {
    const auto program = open_program(path);
    ASSERT_FALSE(program) << path;
    EXPECT_EQ(program.error().code, Code::kConflict);
    EXPECT_THAT(program.error().message, testing::HasSubstr("'" + path + "'"));
    EXPECT_THAT(program.error().message, testing::HasSubstr(why));
  }

  std::string directory_;
  std::string path_;
};

TEST_F(ProgramFile, OfOurOwnThatNobodyElseMayWriteIsOpened) {
  const auto program = open_program(path_);
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ(program->path, path_);
}

TEST_F(ProgramFile, ThatOthersMayWriteIsRefused) {
  for (const mode_t mode : {0775, 0757, 0777}) {
    ::chmod(path_.c_str(), mode);
    expect_refused(path_, "written by others");
  }
}

TEST_F(ProgramFile, OfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  ASSERT_EQ(::chown(path_.c_str(), 12345, static_cast<gid_t>(-1)), 0);
  expect_refused(path_, "owned by uid 12345");
}

TEST_F(ProgramFile, WithAnothersRightsIsRefused) {
  ::chmod(path_.c_str(), 04755);
  expect_refused(path_, "another's rights");
}

TEST_F(ProgramFile, ThatIsNoneIsRefused) {
  expect_refused(directory_ + "/missing", "cannot be opened");
  expect_refused(directory_, "no regular file");
  expect_refused("program", "no absolute path");
  ::chmod(path_.c_str(), 0644);
  expect_refused(path_, "not executable");
}

TEST(OwnProgram, IsWhatRunsHere) {
  const auto own = open_own_program();
  ASSERT_TRUE(own);
  EXPECT_EQ(own->path, std::filesystem::read_symlink("/proc/self/exe").string());
}

}  // namespace
}  // namespace deepserve::daemon
