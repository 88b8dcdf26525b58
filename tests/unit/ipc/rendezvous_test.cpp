// What a runner and a new dsd say to each other, and what neither takes from the other.
#include "ipc/lane/rendezvous.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "ipc/base/bytes.h"

namespace deepserve::ipc {
namespace {

class Rendezvous : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    listening_ = listen_at_rendezvous(path_).value();
    daemon_ = connect_to_rendezvous(path_).value();
    runner_ = accept_daemon(listening_.get());
    ASSERT_TRUE(runner_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void say(int from, const std::vector<std::byte>& body) {
    ASSERT_EQ(send(from, body.data(), body.size(), 0), static_cast<ssize_t>(body.size()));
  }

  // Longer than a socket's address may be.
  const std::string folder_ =
      ::testing::TempDir() + "rendezvous_" + std::to_string(getpid()) + "/" + std::string(120, 'd');
  const std::string path_ = folder_ + "/a.sock";
  Fd listening_, daemon_, runner_;
};

RunnerHello full_hello() {
  RunnerHello hello;
  hello.epoch = 7;
  hello.process = {11, 22};
  hello.command = {"--name", "tiny@cpu0", ""};
  return hello;
}

TEST_F(Rendezvous, AHelloAndItsGroupArriveWhole) {
  EXPECT_FALSE(receive_hello(daemon_.get()).value());
  ASSERT_TRUE(send_hello(runner_.get(), full_hello(), listening_.get()));
  const auto heard = receive_hello(daemon_.get()).value();
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->hello.encode(), full_hello().encode());
  EXPECT_TRUE(heard->group);
}

TEST_F(Rendezvous, ALaneArrivesAndServesBothSides) {
  EXPECT_FALSE(receive_lane(runner_.get()).value());
  auto fds = create_lane({}, 8).value();
  ASSERT_TRUE(send_lane(daemon_.get(), 8, fds));
  const auto own = Lane::attach(std::move(fds), Side::kDaemon, 8).value();
  auto offered = receive_lane(runner_.get()).value();
  ASSERT_TRUE(offered);
  const auto theirs = Lane::attach(std::move(offered->fds), Side::kRunner, offered->epoch).value();
  own->send(MessageType::kCancel, Cancel{5}.encode());
  own->flush();
  EXPECT_EQ(theirs->drain(10, [](MessageType type, auto) { EXPECT_EQ(type, MessageType::kCancel); }).value(),
            1u);
}

TEST_F(Rendezvous, AHangUpIsHeardOnEitherSide) {
  runner_.reset();
  EXPECT_EQ(receive_hello(daemon_.get()).error().code, Code::kRunnerLost);
  const Fd second = connect_to_rendezvous(path_).value();
  daemon_ = accept_daemon(listening_.get());
  EXPECT_FALSE(accept_daemon(listening_.get()));
}

TEST_F(Rendezvous, AFileThatNobodyListensAtIsUnreachable) {
  listening_.reset();
  EXPECT_EQ(connect_to_rendezvous(path_).error().code, Code::kUnreachable);
  EXPECT_EQ(connect_to_rendezvous(folder_ + "/none.sock").error().code, Code::kUnreachable);
}

TEST_F(Rendezvous, DaemonsThatComeAndGoWhileNobodyLooksLeaveRoomForTheNext) {
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(connect_to_rendezvous(path_)) << i;
  const Fd last = connect_to_rendezvous(path_).value();
  while (runner_) {
    runner_ = accept_daemon(listening_.get());
    if (runner_) (void)send_hello(runner_.get(), full_hello(), -1);
  }
  EXPECT_TRUE(receive_hello(last.get()).value());
}

TEST_F(Rendezvous, ALaneWithoutItsDescriptorsIsNone) {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(uint32_t{0x464f'5344});
  out.put(uint64_t{3});
  say(daemon_.get(), body);
  EXPECT_EQ(receive_lane(runner_.get()).error().code, Code::kBadLane);
}

TEST_F(Rendezvous, AnotherAbiIsRefusedByItsNumbers) {
  auto hello = full_hello();
  hello.abi_major = kAbiMajor + 1;
  say(runner_.get(), hello.encode());
  const auto heard = receive_hello(daemon_.get());
  ASSERT_FALSE(heard);
  EXPECT_NE(heard.error().message.find("ABI " + std::to_string(kAbiMajor + 1)), std::string::npos);
}

TEST_F(Rendezvous, AHelloThatIsCutOrFlippedIsNeverMoreThanRefused) {
  const auto whole = full_hello().encode();
  for (size_t size = 1; size < whole.size(); ++size) {
    EXPECT_FALSE(RunnerHello::decode(std::span(whole).first(size))) << size;
  }
  const unsigned seed = 21;
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    auto flipped = whole;
    flipped[random() % flipped.size()] = static_cast<std::byte>(random());
    (void)RunnerHello::decode(flipped).has_value();
  }
}

}  // namespace
}  // namespace deepserve::ipc
