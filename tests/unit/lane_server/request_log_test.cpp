#include "runner/lane/request_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deepserve::runner::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Type = ipc::MessageType;

std::vector<std::byte> submit_of(ipc::RequestId request, size_t prompt_bytes = 10) {
  ipc::Submit submit;
  submit.request = request;
  submit.prompt.text.assign(prompt_bytes, 'p');
  submit.opaque = {std::byte{9}};
  return submit.encode();
}

const std::vector<std::byte> kBody(100);

// All that is to be told of it, in order.
std::vector<Type> tell_all(RequestLog& log, ipc::RequestId request) {
  std::vector<Type> types;
  while (const auto event = log.next(request)) {
    types.push_back(event->type);
    log.told(request);
  }
  return types;
}

void live(RequestLog& log, ipc::RequestId request, size_t deltas) {
  log.begin(request, submit_of(request), true);
  log.append(request, Type::kAccepted, kBody);
  for (size_t i = 0; i < deltas; ++i) log.append(request, Type::kDelta, kBody);
}

void finish(RequestLog& log, ipc::RequestId request) {
  log.append(request, Type::kFinished, kBody);
  log.end(request, true);
}

TEST(RequestLog, EachEventIsTheNextOnceAndAllOfThemAgainForANewDaemon) {
  RequestLog log;
  live(log, 1, 1);
  EXPECT_THAT(tell_all(log, 1), ElementsAre(Type::kAccepted, Type::kDelta));
  log.append(1, Type::kDelta, kBody);
  EXPECT_THAT(tell_all(log, 1), ElementsAre(Type::kDelta));
  EXPECT_THAT(log.begin_again(), ElementsAre(1u));
  EXPECT_THAT(tell_all(log, 1), ElementsAre(Type::kAdopted, Type::kAccepted, Type::kDelta, Type::kDelta));
}

TEST(RequestLog, WhatWasGeneratedElsewhereComesBehindTheAcceptanceAndOnlyForANewDaemon) {
  RequestLog log;
  log.begin(1, submit_of(1), true);
  log.append(1, Type::kDelta, kBody, RequestLog::For::kNextOnly);
  EXPECT_THAT(tell_all(log, 1), IsEmpty());
  log.append(1, Type::kAccepted, kBody);
  log.append(1, Type::kDelta, kBody, RequestLog::For::kNextOnly);
  log.append(1, Type::kFinished, kBody);
  EXPECT_THAT(tell_all(log, 1), ElementsAre(Type::kAccepted, Type::kFinished));
  log.begin_again();
  EXPECT_THAT(tell_all(log, 1),
              ElementsAre(Type::kAdopted, Type::kAccepted, Type::kDelta, Type::kDelta, Type::kFinished));
}

TEST(RequestLog, ANewDaemonThatComesBeforeTheAcceptanceHearsOfThatHistoryToo) {
  RequestLog log;
  log.begin(1, submit_of(1), true);
  log.append(1, Type::kDelta, kBody, RequestLog::For::kNextOnly);
  log.begin_again();
  EXPECT_THAT(tell_all(log, 1), ElementsAre(Type::kAdopted));
  log.append(1, Type::kAccepted, kBody);
  EXPECT_THAT(tell_all(log, 1), ElementsAre(Type::kAccepted, Type::kDelta));
}

TEST(RequestLog, AnAcknowledgedEndStaysForTheWindowAndNotLonger) {
  RequestLog log({.window_ns = 100});
  live(log, 1, 3);
  log.acknowledge(1, 5);  // it has not ended
  finish(log, 1);
  log.acknowledge(1, 10);
  log.acknowledge(1, 90);  // by the next daemon: the window is not opened again
  log.forget_old(109);
  EXPECT_EQ(log.size(), 1u);
  log.forget_old(110);
  EXPECT_EQ(log.size(), 0u);
  EXPECT_EQ(log.bytes(), 0u);
}

TEST(RequestLog, WhatNobodyWantsGoesWithItsAcknowledgement) {
  RequestLog log;
  live(log, 1, 3);
  log.append(1, Type::kFailed, kBody);
  log.end(1, false);
  log.acknowledge(1, 1);
  EXPECT_EQ(log.bytes(), 0u);
}

TEST(RequestLog, BeyondItsLimitTheOldestAcknowledgedGoFirst) {
  RequestLog log({.bytes_max = 3'000});
  for (ipc::RequestId request = 1; request <= 4; ++request) {
    live(log, request, 5);
    finish(log, request);
    if (request < 3) log.acknowledge(request, request);
  }
  EXPECT_THAT(log.keep_within_limits(), IsEmpty());
  EXPECT_LE(log.bytes(), 3'000u);
  EXPECT_THAT(log.begin_again(), ElementsAre(3u, 4u));
}

TEST(RequestLog, ThenTheLargestIsCutAndOnlyWhatWasNotToldOfItIsGivenBack) {
  RequestLog log({.bytes_max = 6'000});
  live(log, 1, 5);
  live(log, 2, 30);
  tell_all(log, 2);
  live(log, 3, 5);
  log.append(2, Type::kDelta, kBody);
  log.append(2, Type::kDelta, kBody);
  while (log.bytes() <= 6'000) log.append(3, Type::kDelta, kBody);
  const auto cuts = log.keep_within_limits();
  ASSERT_EQ(cuts.size(), 1u);
  EXPECT_EQ(cuts[0].request, 2u);
  EXPECT_EQ(cuts[0].untold.size(), 2u);
  EXPECT_FALSE(log.append(2, Type::kDelta, kBody));
  EXPECT_THAT(log.cut_requests(), ElementsAre(2u));
  EXPECT_FALSE(log.is_lost(2));
}

TEST(RequestLog, ACutRequestIsANewDaemonsFailureWithItsOpaquePartAndWithoutItsPrompt) {
  RequestLog log({.bytes_max = 3'000});
  log.begin(1, submit_of(1, 10'000), true);
  ASSERT_EQ(log.keep_within_limits().size(), 1u);
  log.begin_again();
  EXPECT_TRUE(log.is_lost(1));
  const auto adopted = ipc::Submit::decode(log.next(1)->body).value();
  EXPECT_TRUE(adopted.prompt.text.empty());
  EXPECT_EQ(adopted.opaque.size(), 1u);
  EXPECT_THAT(tell_all(log, 1), ElementsAre(Type::kAdopted, Type::kFailed));
  log.acknowledge(1, 1);
  EXPECT_EQ(log.size(), 0u);
}

}  // namespace
}  // namespace deepserve::runner::testing
