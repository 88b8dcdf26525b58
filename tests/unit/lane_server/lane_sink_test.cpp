#include "runner/lane/lane_sink.h"

#include <gtest/gtest.h>

#include "tests/unit/lane_server/lane_pair.h"

namespace deepserve::runner::testing {
namespace {

TEST(LaneSink, ALongTextGoesInPiecesThatAreWholeCharactersAndTheTokensComeLast) {
  auto fds = ipc::create_lane({}, 1).value();
  DaemonEnd daemon(duplicate(fds));
  const auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
  LaneSink sink(*lane);
  ipc::Delta delta;
  delta.request = 5;
  for (int i = 0; i < 100'000; ++i) delta.text += "\xe2\x82\xac";
  delta.tokens = {1, 2};
  sink.delta(delta);
  lane->flush();
  daemon.drain();
  EXPECT_EQ(daemon.text[5], delta.text);
  EXPECT_EQ(daemon.tokens[5], delta.tokens);
}

TEST(LaneSink, AnAnswerThatDoesNotFitIsRefusedByItsSize) {
  auto fds = ipc::create_lane({.slots = 64, .body_bytes = 4096}, 1).value();
  DaemonEnd daemon(duplicate(fds));
  const auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
  LaneSink sink(*lane);
  ipc::Answer answer;
  answer.query = 3;
  answer.tokens.resize(10'000);
  sink.answer(answer);
  lane->flush();
  daemon.drain();
  EXPECT_TRUE(daemon.answers[3].failed);
  EXPECT_EQ(daemon.answers[3].code, Code::kPayloadTooLarge);
}

}  // namespace
}  // namespace deepserve::runner::testing
