// The operations, between ranks that are threads over one mapping (so that TSan sees what orders their data).
#include "runner/collective/shared_collective.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>
#include <thread>
#include <vector>

namespace deepserve::runner {
namespace {

constexpr size_t kBufferBytes = 4096;  // 1024 values: larger ones go in pieces

std::shared_ptr<ipc::GroupMemory> make_group(uint32_t ranks, uint32_t buffer_bytes = kBufferBytes) {
  const auto memfd = ipc::create_group_memory({.ranks = ranks, .buffer_bytes = buffer_bytes});
  EXPECT_TRUE(memfd);
  return *ipc::GroupMemory::map(*memfd, 1);
}

// Runs `body` on all ranks of a new group at once.
void on_ranks(uint32_t ranks, const std::function<void(SharedCollective&)>& body, JoinOptions options = {},
              uint32_t buffer_bytes = kBufferBytes) {
  const auto memory = make_group(ranks, buffer_bytes);
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank]() mutable {
      JoinOptions own = options;
      own.rank = rank;
      auto collective = SharedCollective::join(memory, own);
      ASSERT_TRUE(collective) << collective.error().message;
      body(**collective);
    });
  }
  for (auto& thread : threads) thread.join();
}

std::vector<float> random_values(uint32_t rank, size_t count, uint32_t seed) {
  std::mt19937 random(seed * 64 + rank);
  std::uniform_real_distribution<float> value(-1, 1);
  std::vector<float> values(count);
  for (float& one : values) one = value(random) * (random() % 8 == 0 ? 1e4f : 1.0f);
  return values;
}

// Of ranks [first, end).
std::vector<float> sum_by_tree(uint32_t first, uint32_t end, size_t count, uint32_t seed) {
  if (end - first == 1) return random_values(first, count, seed);
  const uint32_t middle = first + (end - first) / 2;
  std::vector<float> sums = sum_by_tree(first, middle, count, seed);
  const auto others = sum_by_tree(middle, end, count, seed);
  for (size_t i = 0; i < count; ++i) sums[i] += others[i];
  return sums;
}

TEST(SharedCollective, AReductionAddsByOneTreeOfRanksOnAllOfThem) {
  for (const uint32_t ranks : {2u, 3u, 4u, 5u}) {
    for (const uint32_t buffer_bytes : {4096u, 1u << 16}) {
      on_ranks(
          ranks,
          [&](SharedCollective& collective) {
            for (const size_t count : {1, 2, 7, 1000, 1024, 1025, 5000, 20'000}) {
              const auto seed = static_cast<uint32_t>(count);
              auto values = random_values(collective.rank(), count, seed);
              ASSERT_TRUE(collective.all_reduce_sum(values));
              ASSERT_EQ(values, sum_by_tree(0, ranks, count, seed))
                  << count << " values, " << ranks << " ranks";
            }
          },
          {}, buffer_bytes);
    }
  }
}

TEST(SharedCollective, AReductionOfNothingIsNothing) {
  on_ranks(2, [](SharedCollective& collective) { EXPECT_TRUE(collective.all_reduce_sum({})); });
}

TEST(SharedCollective, AGatheringPutsUnevenPartsInTheOrderOfRanks) {
  on_ranks(3, [](SharedCollective& collective) {
    const std::vector<std::vector<size_t>> shapes = {{1, 1, 1}, {2000, 3, 1500}, {0, 5, 2}, {1025, 1024, 0}};
    for (const auto& counts : shapes) {
      std::vector<float> expected;
      for (uint32_t rank = 0; rank < 3; ++rank) {
        const auto part = random_values(rank, counts[rank], 9);
        expected.insert(expected.end(), part.begin(), part.end());
      }
      const auto mine = random_values(collective.rank(), counts[collective.rank()], 9);
      std::vector<float> all(expected.size());
      ASSERT_TRUE(collective.all_gather(mine, counts, all));
      ASSERT_EQ(all, expected);
    }
  });
}

TEST(SharedCollective, OnlyWhoWantsTheResultOfAGatheringWaits) {
  on_ranks(2, [](SharedCollective& collective) {
    const std::vector<size_t> counts = {3, 3};
    for (int i = 0; i < 200; ++i) {
      const auto mine = random_values(collective.rank(), 3, static_cast<uint32_t>(i));
      std::vector<float> all(collective.rank() == 0 ? 6 : 0);
      ASSERT_TRUE(collective.all_gather(mine, counts, all));
      if (all.empty()) continue;
      ASSERT_EQ(std::memcmp(all.data(), mine.data(), 3 * sizeof(float)), 0);
      const auto theirs = random_values(1, 3, static_cast<uint32_t>(i));
      ASSERT_EQ(std::memcmp(all.data() + 3, theirs.data(), 3 * sizeof(float)), 0);
    }
  });
}

TEST(SharedCollective, ABroadcastReachesAllWhoeverItsRootIs) {
  on_ranks(3, [](SharedCollective& collective) {
    for (int i = 0; i < 100; ++i) {
      const auto root = static_cast<uint32_t>(i % 3);
      const size_t bytes = i % 7 == 0 ? 10'000 : 8;
      std::vector<std::byte> data(bytes, static_cast<std::byte>(collective.rank() == root ? i : 255));
      ASSERT_TRUE(collective.broadcast(data, root, i % 2 == 0 ? Patience::kForever : Patience::kStep));
      ASSERT_EQ(data, std::vector<std::byte>(bytes, static_cast<std::byte>(i)));
    }
  });
}

TEST(SharedCollective, MixedOperationsAtRandomSpeedsStayInStep) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  on_ranks(4, [seed](SharedCollective& collective) {
    std::mt19937 same(seed), own(seed + 1 + collective.rank());
    for (uint32_t i = 0; i < 300; ++i) {
      if (own() % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(own() % 300));
      const size_t count = 1 + same() % 3000;
      if (same() % 3 == 0) {
        ASSERT_TRUE(collective.barrier(Patience::kStep));
      }
      auto values = random_values(collective.rank(), count, i);
      ASSERT_TRUE(collective.all_reduce_sum(values));
      ASSERT_EQ(values, sum_by_tree(0, 4, count, i));
    }
  });
}

TEST(SharedCollective, TheRoundNumberMayWrap) {
  const auto memory = make_group(2);
  for (uint32_t rank = 0; rank < 2; ++rank) memory->words(rank).entered = 0xffff'fff0;
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&memory, rank] {
      auto collective = *SharedCollective::join(memory, {.rank = rank});
      for (uint32_t i = 0; i < 40; ++i) {
        std::vector<float> values = {1.0f + static_cast<float>(rank)};
        ASSERT_TRUE(collective->all_reduce_sum(values));
        ASSERT_EQ(values[0], 3.0f);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(SharedCollective, RanksThatRunApartAreToldWhatTheyDo) {
  on_ranks(2, [](SharedCollective& collective) {
    std::vector<float> values(collective.rank() == 0 ? 4 : 5, 1.0f);
    const auto done = collective.all_reduce_sum(values);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kBadLane);
    EXPECT_NE(done.error().message.find("a reduction of"), std::string::npos) << done.error().message;
  });
}

TEST(SharedCollective, APeerThatDoesNotComeIsNamedWithinTheTimeLimit) {
  JoinOptions options;
  options.patience_ns = 50 * kMillisecond_ns;
  on_ranks(
      2,
      [](SharedCollective& collective) {
        if (collective.rank() == 1) return;
        std::vector<float> values(3);
        const uint64_t begin_ns = monotonic_ns();
        const auto done = collective.all_reduce_sum(values);
        EXPECT_GE(monotonic_ns() - begin_ns, 50 * kMillisecond_ns);
        ASSERT_FALSE(done);
        EXPECT_EQ(done.error().code, Code::kRunnerLost);
        EXPECT_NE(done.error().message.find("rank 1 of 2"), std::string::npos) << done.error().message;
        const auto again = collective.barrier(Patience::kForever);  // at once: the group is over
        ASSERT_FALSE(again);
        EXPECT_EQ(again.error().message, done.error().message);
      },
      options);
}

TEST(SharedCollective, WhoGivesUpIsQuotedToTheOthers) {
  on_ranks(3, [](SharedCollective& collective) {
    if (collective.rank() == 2) {
      collective.abandon({Code::kBadModelFile, "the file has changed"});
      return;
    }
    std::byte byte{};
    const auto done = collective.broadcast({&byte, 1}, 2, Patience::kForever);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kBadModelFile);
    EXPECT_NE(done.error().message.find("gave up: the file has changed"), std::string::npos);
  });
}

TEST(SharedCollective, APeerWithAnImpossibleNumberIsRefused) {
  const auto memory = make_group(2);
  on_ranks(2, [](SharedCollective&) {});  // joining alone breaks nothing
  std::thread other([&] { ASSERT_TRUE(SharedCollective::join(memory, {.rank = 1})); });
  auto collective = *SharedCollective::join(memory, {.rank = 0});
  other.join();
  memory->words(1).entered.store(77);
  const auto done = collective->barrier(Patience::kStep);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kBadLane);
  EXPECT_NE(done.error().message.find("broke the rules"), std::string::npos) << done.error().message;
}

TEST(SharedCollective, JoiningNamesWhoIsMissingAndWhoIsThereTwice) {
  const auto memory = make_group(2);
  const auto alone = SharedCollective::join(memory, {.rank = 0, .join_ns = 20 * kMillisecond_ns});
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code, Code::kRunnerLost);
  EXPECT_NE(alone.error().message.find("rank 1 of 2 did not join"), std::string::npos);
  const auto twice = SharedCollective::join(memory, {.rank = 0});
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message.find("rank 0 of 2 is taken"), std::string::npos);
  EXPECT_FALSE(SharedCollective::join(memory, {.rank = 2}));
}

}  // namespace
}  // namespace deepserve::runner
