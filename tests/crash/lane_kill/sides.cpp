#include "tests/crash/lane_kill/sides.h"

#include <cstdio>
#include <random>

#include "ipc/base/clock.h"
#include "ipc/lane/lane_side.h"

namespace deepserve::crash {
namespace {

using ipc::LaneSide;
using ipc::MessageType;
using ipc::SendOutcome;

// Far longer than the supervisor's patience: a wake-up that is lost shows as a stall, and is not healed by
// time.
constexpr uint64_t kSleep_ns = 600 * kSecond_ns;

std::unique_ptr<LaneSide> attach(const Campaign& campaign, bool produces) {
  const auto other = campaign.producing == ipc::Side::kRunner ? ipc::Side::kDaemon : ipc::Side::kRunner;
  auto copy = ipc::duplicate(*campaign.fds);
  if (!copy) return nullptr;
  auto lane = LaneSide::attach_side(std::move(*copy), produces ? campaign.producing : other, 1);
  if (!lane) {
    std::fprintf(stderr, "attaching failed: %s\n", lane.error().message.c_str());
    return nullptr;
  }
  return std::move(*lane);
}

void sleep_until_woken(const Campaign& campaign, LaneSide& lane, uint64_t spin_ns) {
  if (spin_ns == 0) ++campaign.ledger->sleeps;
  lane.wait(spin_ns, kSleep_ns, -1);
}

}  // namespace

int run_producer(const Campaign& campaign, uint32_t life) {
  const auto lane = attach(campaign, true);
  if (lane == nullptr) return 2;
  campaign.ledger->producer_attached.store(life);
  std::mt19937_64 random(campaign.seed * 1000 + life);
  std::vector<std::byte> body;
  // The recovered tail is the number of the first message that was never published.
  uint64_t number = lane->published_count();
  const uint64_t flush_stride = 1 + random() % 40;
  while (true) {
    if (number >= campaign.messages_max->load()) {
      lane->flush();
      if (lane->outbox_bytes() == 0) return 0;
      sleep_until_woken(campaign, *lane, 0);
      continue;
    }
    make_body(campaign.seed, number, body);
    if (lane->send(MessageType::kDelta, body) == SendOutcome::kRefused) return 3;
    ++number;
    if (number % flush_stride == 0) lane->flush();
    while (lane->outbox_bytes() > 8 * kBody_bytes_max)
      sleep_until_woken(campaign, *lane, random() % 2 * 20'000);
    // Now and then it idles, so that the consumer falls asleep.
    if (random() % 512 == 0) {
      lane->flush();
      const uint64_t until_ns = monotonic_ns() + random() % 300'000;
      while (monotonic_ns() < until_ns) continue;
    }
  }
}

int run_consumer(const Campaign& campaign, uint32_t life) {
  const auto lane = attach(campaign, false);
  if (lane == nullptr) return 2;
  campaign.ledger->consumer_attached.store(life);
  std::mt19937_64 random(campaign.seed * 2000 + life);
  Bookkeeper bookkeeper(*campaign.ledger, campaign.seed);
  while (campaign.ledger->next.load() < campaign.messages_max->load()) {
    sleep_until_woken(campaign, *lane, random() % 2 * 20'000);
    const auto handled =
        lane->drain(1 + random() % 100,
                    [&](MessageType, std::span<const std::byte> message) { bookkeeper.book(message); });
    if (!handled) {
      ++campaign.ledger->lies;
      std::fprintf(stderr, "draining failed: %s\n", handled.error().message.c_str());
      return 4;
    }
    // Now and then it is slow, so that the ring fills and the producer starves.
    if (random() % 128 == 0) {
      const uint64_t until_ns = monotonic_ns() + random() % 500'000;
      while (monotonic_ns() < until_ns) continue;
    }
  }
  lane->flush();
  return 0;
}

}  // namespace deepserve::crash
