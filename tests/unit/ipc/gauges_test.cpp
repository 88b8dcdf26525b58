#include "ipc/lane/gauges.h"

#include <cstring>

#include "ipc/lane/gauges_page.h"
#include "tests/unit/ipc/lane_fixture.h"

namespace deepserve::ipc {
namespace {

TEST(Gauges, TheDaemonReadsWhatTheRunnerPublished) {
  const BothSides lane;
  EXPECT_EQ(lane.daemon->read_gauges().kv_blocks_total, 0u);
  lane.runner->publish_gauges(
      {.prefill_tokens_per_second = 1234.5, .kv_blocks_total = 64, .prefix_hits_total = 9});
  const Gauges gauges = lane.daemon->read_gauges();
  EXPECT_EQ(gauges.prefill_tokens_per_second, 1234.5);
  EXPECT_EQ(gauges.kv_blocks_total, 64u);
  EXPECT_EQ(gauges.prefix_hits_total, 9u);
}

TEST(Gauges, AReaderKeepsItsLastCopyWhenTheWriterDiedWithinAWrite) {
  const auto memory = make_direction();
  GaugesWriter writer(memory->gauges());
  const GaugesReader reader(memory->gauges());
  writer.publish({.kv_blocks_free = 5});
  EXPECT_EQ(reader.read().kv_blocks_free, 5u);
  memory->gauges().version.fetch_add(1);  // a write begins ...
  memory->gauges().gauges[4].store(999);  // ... and never ends
  EXPECT_EQ(reader.read().kv_blocks_free, 5u);
  GaugesWriter next(memory->gauges());  // the new runner heals the page
  next.publish({.kv_blocks_free = 6});
  EXPECT_EQ(reader.read().kv_blocks_free, 6u);
}

TEST(Gauges, ProgressIsCountedAndReadByEitherSide) {
  const BothSides lane;
  lane.runner->count_step();
  lane.runner->count_step();
  lane.runner->set_bytes_loaded(4096);
  for (const Lane* side :
       {static_cast<const Lane*>(lane.daemon.get()), static_cast<const Lane*>(lane.runner.get())}) {
    EXPECT_EQ(side->progress().steps, 2u);
    EXPECT_EQ(side->progress().bytes_loaded, 4096u);
  }
}

DeathCause cause_of(uint32_t kind, uint32_t number, const char* text) {
  DeathCause cause{.kind = kind, .number = number};
  std::strncpy(cause.text.data(), text, cause.text.size() - 1);
  return cause;
}

TEST(DeathCause, ASurvivorReadsTheFirstCauseThatWasRecorded) {
  const BothSides lane;
  EXPECT_EQ(lane.daemon->death_cause().kind, 0u);
  lane.runner->record_death(cause_of(2, 0, "CHECK failed: x at y:1"));
  lane.runner->record_death(cause_of(1, 6, "SIGABRT"));
  EXPECT_EQ(lane.daemon->death_cause().kind, 2u);
  EXPECT_STREQ(lane.daemon->death_cause().text.data(), "CHECK failed: x at y:1");
  EXPECT_EQ(lane.runner->death_cause().kind, 0u);  // the daemon has not died
}

TEST(DeathCause, ANewWriterOfTheDirectionStartsWithoutOne) {
  const BothSides lane;
  lane.runner->record_death(cause_of(1, 11, "SIGSEGV"));
  const auto next = lane.attach(Side::kRunner);
  EXPECT_EQ(lane.daemon->death_cause().kind, 0u);
}

TEST(DeathCause, TheTextOfALyingPeerEndsWithinItsArray) {
  const BothSides lane;
  DeathCause endless{.kind = 3, .number = 1};
  endless.text.fill('x');
  lane.runner->record_death(endless);
  EXPECT_EQ(std::strlen(lane.daemon->death_cause().text.data()), 111u);
}

}  // namespace
}  // namespace deepserve::ipc
