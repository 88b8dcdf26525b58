#include "daemon/supervise/death.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstring>

namespace deepserve::daemon {
namespace {

using ::testing::HasSubstr;

DeathFacts by_signal(int signal) {
  DeathFacts facts;
  facts.signal = signal;
  return facts;
}

TEST(Death, AnOutsideSigkillBlamesNobody) {
  const auto death = classify_death(by_signal(SIGKILL));
  EXPECT_EQ(death.blame, Blame::kNobody);
  EXPECT_EQ(death.reason, "killed");
}

TEST(Death, ASigkillByTheOomKillerBlamesTheRunner) {
  auto facts = by_signal(SIGKILL);
  facts.out_of_memory = true;
  EXPECT_EQ(classify_death(facts).blame, Blame::kRunner);
  EXPECT_EQ(classify_death(facts).reason, "oom");
}

TEST(Death, WhereNobodyTellsHowItEndedNoCauseMeansAKillFromOutside) {
  DeathFacts facts;
  facts.status_known = false;
  EXPECT_EQ(classify_death(facts).blame, Blame::kNobody);
  EXPECT_EQ(classify_death(facts).reason, "killed");
  facts.out_of_memory = true;
  EXPECT_EQ(classify_death(facts).reason, "oom");
  facts.out_of_memory = false;
  facts.cause.kind = 1;
  EXPECT_EQ(classify_death(facts).blame, Blame::kRunner);
  EXPECT_EQ(classify_death(facts).reason, "crash");
  facts.cause.kind = 0;
  facts.drained = true;
  EXPECT_EQ(classify_death(facts).reason, "drained");
}

TEST(Death, OurOwnSignalBlamesNobody) {
  auto facts = by_signal(SIGTERM);
  facts.signalled_by_us = true;
  EXPECT_EQ(classify_death(facts).blame, Blame::kNobody);
}

TEST(Death, ACrashIsBlamedAndSaysWhatTheRunnerWrote) {
  auto facts = by_signal(SIGSEGV);
  facts.cause.kind = 1;
  std::strcpy(facts.cause.text.data(), "signal 11 in step\n7");
  const auto death = classify_death(facts);
  EXPECT_EQ(death.blame, Blame::kRunner);
  EXPECT_EQ(death.text, "was ended by SIGSEGV: signal 11 in step?7");
  EXPECT_FALSE(death.permanent);
}

TEST(Death, ASigkillAfterLastWordsIsACrash) {
  auto facts = by_signal(SIGKILL);
  facts.cause.kind = 2;
  EXPECT_EQ(classify_death(facts).blame, Blame::kRunner);
}

TEST(Death, ABadModelFileIsPermanentAndABusyOneIsNot) {
  DeathFacts facts;
  facts.exited = true;
  facts.exit_status = 1;
  facts.reported = Error{Code::kBadModelFile, "x.gguf: tensor 'a' lies beyond the file"};
  EXPECT_TRUE(classify_death(facts).permanent);
  EXPECT_THAT(classify_death(facts).text, HasSubstr("tensor 'a'"));
  facts.reported = Error{Code::kOutOfMemory, "no memory"};
  EXPECT_FALSE(classify_death(facts).permanent);
}

TEST(Death, SettingsThatCannotWorkArePermanent) {
  DeathFacts facts;
  facts.exited = true;
  facts.exit_status = 1;
  facts.reported =
      Error{Code::kInvalidConfig, "a KV cache of 2 bytes is more than this host's memory of 1 bytes"};
  EXPECT_TRUE(classify_death(facts).permanent);
}

TEST(Death, AModelFileThatWasServedIsNotGivenUp) {
  DeathFacts facts;
  facts.exited = facts.was_ready = true;
  facts.exit_status = 1;
  facts.reported = Error{Code::kBadModelFile, "x.gguf: changed\x1b[2J\n"};
  const auto death = classify_death(facts);
  EXPECT_FALSE(death.permanent);
  EXPECT_EQ(death.blame, Blame::kRunner);
  EXPECT_EQ(death.text, "x.gguf: changed?[2J?");
}

DeathFacts by_device(int number) {
  DeathFacts facts;
  facts.exited = facts.was_ready = true;
  facts.exit_status = 1;
  facts.reported = Error{Code::kDeviceFault, "step 7 failed"};
  facts.cause.kind = 5;
  facts.cause.number = static_cast<uint32_t>(number);
  return facts;
}

TEST(Death, ADeviceFaultIsNamedAndBlamedAsItsTableSays) {
  const auto illegal = classify_death(by_device(700));
  EXPECT_EQ(illegal.blame, Blame::kRunner);
  EXPECT_EQ(illegal.reason, "device");
  EXPECT_EQ(illegal.text, "CUDA error 700 (illegal address): step 7 failed");
  EXPECT_EQ(illegal.device_error, 700);
  EXPECT_FALSE(illegal.permanent);
  EXPECT_EQ(classify_death(by_device(214)).blame, Blame::kNobody);
  EXPECT_EQ(classify_death(by_device(805)).blame, Blame::kNobody);
  EXPECT_TRUE(classify_death(by_device(35)).permanent);
}

TEST(Death, ADeviceFaultThatOnlyTheLastWordsTellCountsAsWell) {
  auto facts = by_device(719);
  facts.reported.reset();
  std::strcpy(facts.cause.text.data(), "cudaGraphLaunch\nfailed");
  const auto death = classify_death(facts);
  EXPECT_EQ(death.device_error, 719);
  EXPECT_EQ(death.text, "CUDA error 719 (launch failure): cudaGraphLaunch?failed");
}

TEST(Death, ADeviceFaultOfARankWithoutALaneCarriesItsNumber) {
  auto facts = by_device(0);
  facts.cause = {};
  facts.reported->device_error = 700;
  EXPECT_EQ(classify_death(facts).device_error, 700);
}

TEST(Death, AnotherErrorWithTheSameNumberIsNoDeviceFault) {
  auto facts = by_device(700);
  facts.reported->code = Code::kBadModelFile;
  facts.cause.kind = 3;
  EXPECT_EQ(classify_death(facts).device_error, 0);
  EXPECT_EQ(classify_death(facts).reason, "exit");
}

TEST(Death, ARunnerThatDrainedAndExitedIsNotToBlame) {
  DeathFacts facts;
  facts.exited = facts.was_ready = facts.drained = true;
  EXPECT_EQ(classify_death(facts).blame, Blame::kNobody);
  facts.exit_status = 1;
  EXPECT_EQ(classify_death(facts).blame, Blame::kRunner);
}

TEST(Death, AnExitIsBlamedEvenWithStatusZero) {
  DeathFacts facts;
  facts.exited = true;
  EXPECT_EQ(classify_death(facts).blame, Blame::kRunner);
  EXPECT_EQ(classify_death(facts).text, "exited with status 0");
}

}  // namespace
}  // namespace deepserve::daemon
