#include "daemon/admission/output_length.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

TEST(OutputLength, IsGuessedUntilAnswersAreKnownAndNeverAboveTokensMax) {
  const OutputLength outputs(1);
  EXPECT_EQ(outputs.expect(0, "a", 4096, 0.5), OutputLength::kUnknown50);
  EXPECT_EQ(outputs.expect(0, "a", 4096, 0.9), OutputLength::kUnknown90);
  EXPECT_EQ(outputs.expect(0, "a", 7, 0.9), 7u);
  EXPECT_EQ(outputs.expect(0, "a", 0, 0.5), 0u);
}

TEST(OutputLength, WhoAsksForMuchAndTakesLittleIsNotBelieved) {
  OutputLength outputs(1);
  for (int i = 0; i < 100; ++i) outputs.add(0, "liar", 50);
  EXPECT_NEAR(outputs.expect(0, "liar", 100'000, 0.9), 55, 15);
}

TEST(OutputLength, AClientsOwnAnswersCountMoreThanTheModels) {
  OutputLength outputs(1);
  for (int i = 0; i < 1000; ++i) outputs.add(0, fmt::format("short {}", i % 50), 20);
  for (int i = 0; i < 20; ++i) outputs.add(0, "long", 1000);
  EXPECT_NEAR(outputs.expect(0, "long", 4096, 0.5), 1000, 300);
  EXPECT_NEAR(outputs.expect(0, "new", 4096, 0.5), 20, 6);
}

TEST(OutputLength, WhatIsLongAlreadyIsExpectedToGetLonger) {
  OutputLength outputs(1);
  for (int i = 0; i < 100; ++i) outputs.add(0, "a", i % 2 == 0 ? 10 : 400);
  EXPECT_LT(outputs.expect(0, "a", 4096, 0.4), 20u);
  EXPECT_NEAR(outputs.expect(0, "a", 4096, 0.5, 100), 400, 120);
  EXPECT_GT(outputs.expect(0, "a", 4096, 0.5, 1000), 1000u);
  EXPECT_EQ(outputs.expect(0, "a", 1001, 0.9, 1000), 1001u);
}

TEST(OutputLength, AMillionClientsLeaveNoMoreThanTheCapBehind) {
  OutputLength outputs(1);
  for (int i = 0; i < 1'000'000; ++i) outputs.add(0, std::to_string(i), 10);
  EXPECT_EQ(outputs.clients(), OutputLength::kClientsMax);
}

}  // namespace
}  // namespace deepserve::daemon
