#include "daemon/rollout/rollout.h"

#include <gtest/gtest.h>

#include <random>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using S = GenerationState;

// A host that does what it is told: processes that come up or do not, requests that end when the test says
// so.
class ModelRollout : public ::testing::Test {
 protected:
  ModelRollout() {
    act([this](RolloutActions& actions) { rollout_.start("one.gguf", now_ns_, actions); });
    come_up(1);
    EXPECT_EQ(state(1), S::kLive);
  }

  template <typename Order>
  Result<void> act(Order order) {
    RolloutActions actions;
    Result<void> result;
    if constexpr (std::is_void_v<decltype(order(actions))>) {
      order(actions);
    } else {
      result = order(actions);
    }
    for (const auto& action : actions) did(action);
    return result;
  }
  void did(const RolloutAction& action) {
    if (const auto* spawn = std::get_if<SpawnGeneration>(&action)) {
      tallies_[spawn->generation] = {.runners = 2};
      settings_[spawn->generation] = spawn->settings_of;
    } else if (const auto* route = std::get_if<RouteTo>(&action)) {
      routed_ = route->generation;
    } else if (const auto* canary = std::get_if<RouteCanary>(&action)) {
      canary_percent_ = canary->percent;
    } else if (std::holds_alternative<HoldQueue>(action)) {
      held_ = true;
    } else if (const auto* stop = std::get_if<StopGeneration>(&action)) {
      EXPECT_NE(stop->generation, rollout_.routed()) << "what serves is stopped";
      stopped_.push_back(stop->generation);
    } else if (const auto* done = std::get_if<OrderDone>(&action)) {
      done_.push_back(done->result);
    }
  }
  void observe(uint32_t number) {
    act([&](RolloutActions& actions) { rollout_.observe(number, tallies_[number], ++now_ns_, actions); });
  }
  void come_up(uint32_t number) {
    tallies_[number].ready = tallies_[number].runners;
    observe(number);
  }
  void fail_to_come_up(uint32_t number, const std::string& why) {
    tallies_[number].trouble = why;
    tallies_[number].hopeless = true;
    observe(number);
  }
  void end(uint32_t number) {
    tallies_[number] = {};
    tallies_[number].gone = true;
    observe(number);
    tallies_.erase(number);
  }
  Result<void> swap(const std::string& path, SwapWay way = SwapWay::kBeside) {
    return act([&](RolloutActions& actions) { return rollout_.swap(path, way, now_ns_, actions); });
  }
  S state(uint32_t number) const { return rollout_.find(number)->state; }

  uint64_t now_ns_ = kSecond_ns;
  Rollout rollout_{"tiny", 60 * kSecond_ns};
  std::map<uint32_t, GenerationTally> tallies_;
  std::map<uint32_t, uint32_t> settings_;
  std::vector<uint32_t> stopped_;
  std::vector<Result<void>> done_;
  uint32_t routed_ = 0;
  double canary_percent_ = 0;
  bool held_ = false;
};

TEST_F(ModelRollout, SwapBesideServesOnUntilTheNewOneIsReadyAsAWhole) {
  ASSERT_TRUE(swap("two.gguf"));
  EXPECT_EQ(routed_, 1u);
  tallies_[2].ready = 1;
  observe(2);
  EXPECT_EQ(routed_, 1u) << "one of its two runners is not enough";
  EXPECT_EQ(state(2), S::kWarming);
  tallies_[1].requests = 3;
  come_up(2);
  EXPECT_EQ(routed_, 2u);
  EXPECT_EQ(state(1), S::kDraining);
  ASSERT_EQ(done_.size(), 1u);
  EXPECT_TRUE(done_[0]);
  observe(1);
  EXPECT_EQ(state(1), S::kDraining) << "its requests run on";
  tallies_[1].requests = 0;
  observe(1);
  EXPECT_EQ(state(1), S::kReady) << "warm for a rollback";
  EXPECT_TRUE(stopped_.empty());
}

TEST_F(ModelRollout, WarmGenerationGoesWhenItsTimeIsOver) {
  ASSERT_TRUE(swap("two.gguf"));
  come_up(2);
  observe(1);
  now_ns_ += 59 * kSecond_ns;
  act([&](RolloutActions& actions) { rollout_.tick(now_ns_, actions); });
  EXPECT_EQ(state(1), S::kReady);
  now_ns_ += 2 * kSecond_ns;
  act([&](RolloutActions& actions) { rollout_.tick(now_ns_, actions); });
  EXPECT_EQ(state(1), S::kRetired);
  EXPECT_EQ(stopped_, std::vector<uint32_t>{1});
}

TEST_F(ModelRollout, FailedLoadLeavesTheOldOneServingAndSaysWhy) {
  ASSERT_TRUE(swap("broken.gguf"));
  fail_to_come_up(2, "broken.gguf: tensor 3 lies beyond the file's end");
  EXPECT_EQ(routed_, 1u);
  EXPECT_EQ(state(1), S::kLive);
  EXPECT_EQ(state(2), S::kFailed);
  EXPECT_EQ(stopped_, std::vector<uint32_t>{2});
  ASSERT_EQ(done_.size(), 1u);
  ASSERT_FALSE(done_[0]);
  EXPECT_NE(done_[0].error().message.find("tensor 3"), std::string::npos);
  EXPECT_NE(rollout_.find(2)->reason.find("tensor 3"), std::string::npos);
  EXPECT_TRUE(swap("two.gguf")) << "the next order is taken";
}

TEST_F(ModelRollout, RollbackToAWarmOneIsAtOnce) {
  ASSERT_TRUE(swap("two.gguf"));
  come_up(2);
  observe(1);
  EXPECT_TRUE(act([&](RolloutActions& a) { return rollout_.rollback(SwapWay::kBeside, now_ns_, a); }));
  EXPECT_EQ(routed_, 1u);
  EXPECT_EQ(state(1), S::kLive);
  EXPECT_EQ(state(2), S::kDraining);
  EXPECT_EQ(done_.size(), 2u);
}

TEST_F(ModelRollout, RollbackToOneThatIsGoneLoadsItAgain) {
  ASSERT_TRUE(swap("two.gguf"));
  come_up(2);
  observe(1);
  act([&](RolloutActions& actions) { rollout_.drop_warm(now_ns_, actions); });
  EXPECT_TRUE(act([&](RolloutActions& a) { return rollout_.rollback(SwapWay::kBeside, now_ns_, a); }));
  EXPECT_EQ(settings_[3], 1u);
  EXPECT_EQ(rollout_.find(3)->path, "one.gguf");
  come_up(3);
  EXPECT_EQ(routed_, 3u);
}

TEST_F(ModelRollout, DrainFirstLoadsOnlyOnceTheOldOneIsGone) {
  tallies_[1].requests = 1;
  ASSERT_TRUE(swap("two.gguf", SwapWay::kDrainFirst));
  EXPECT_TRUE(held_);
  EXPECT_EQ(state(1), S::kDraining);
  observe(1);
  EXPECT_TRUE(stopped_.empty()) << "a request runs there";
  tallies_[1].requests = 0;
  observe(1);
  EXPECT_EQ(stopped_, std::vector<uint32_t>{1});
  EXPECT_EQ(state(2), S::kAbsent);
  end(1);
  EXPECT_EQ(state(2), S::kLoading);
  EXPECT_EQ(settings_[2], 2u);
  come_up(2);
  EXPECT_EQ(state(2), S::kLive);
  ASSERT_EQ(done_.size(), 1u);
  EXPECT_TRUE(done_[0]);
  EXPECT_EQ(rollout_.previous(), 1u);
}

TEST_F(ModelRollout, DrainFirstThatFailsLoadsTheOldOneAgain) {
  ASSERT_TRUE(swap("broken.gguf", SwapWay::kDrainFirst));
  observe(1);
  end(1);
  fail_to_come_up(2, "broken.gguf is no GGUF file");
  EXPECT_EQ(state(2), S::kFailed);
  EXPECT_EQ(settings_[3], 1u) << "as the one that served";
  EXPECT_TRUE(done_.empty()) << "the order ends when somebody serves";
  come_up(3);
  EXPECT_EQ(state(3), S::kLive);
  EXPECT_EQ(routed_, 3u);
  ASSERT_EQ(done_.size(), 1u);
  ASSERT_FALSE(done_[0]);
  EXPECT_NE(done_[0].error().message.find("no GGUF file"), std::string::npos);
}

TEST_F(ModelRollout, UnloadEndsWithTheLastProcess) {
  tallies_[1].requests = 1;
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.unload("by an operator", now_ns_, a); }));
  EXPECT_EQ(routed_, 0u);
  tallies_[1].requests = 0;
  observe(1);
  EXPECT_TRUE(done_.empty());
  end(1);
  ASSERT_EQ(done_.size(), 1u);
  EXPECT_TRUE(done_[0]);
  EXPECT_TRUE(rollout_.absent());
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.load("two.gguf", now_ns_, a); }));
  come_up(2);
  EXPECT_EQ(state(2), S::kLive);
}

TEST_F(ModelRollout, CanaryGetsItsPartAndIsPromotedOrRejected) {
  const auto try_out = [&](const char* path) {
    return act([&](RolloutActions& a) { return rollout_.canary(path, 10, false, now_ns_, a); });
  };
  ASSERT_TRUE(try_out("two.gguf"));
  come_up(2);
  EXPECT_EQ(canary_percent_, 10);
  EXPECT_EQ(state(2), S::kCanary);
  EXPECT_EQ(done_.size(), 1u);
  EXPECT_FALSE(swap("three.gguf")) << "one thing at a time";
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.reject("slower", now_ns_, a); }));
  EXPECT_EQ(canary_percent_, 0);
  observe(2);
  EXPECT_EQ(state(2), S::kRetired);
  EXPECT_EQ(rollout_.find(2)->reason, "slower");
  ASSERT_TRUE(try_out("three.gguf"));
  come_up(3);
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.promote(now_ns_, a); }));
  EXPECT_EQ(routed_, 3u);
  EXPECT_EQ(state(1), S::kDraining);
}

TEST_F(ModelRollout, ShadowHasCopiesAndNoTrafficUntilItIsPromoted) {
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.shadow("two.gguf", 30, now_ns_, a); }));
  EXPECT_TRUE(done_.empty());
  come_up(2);
  EXPECT_EQ(state(2), S::kShadow);
  EXPECT_EQ(done_.size(), 1u);
  EXPECT_EQ(rollout_.shadow_percent(), 30);
  EXPECT_EQ(rollout_.canary_percent(), 0);
  EXPECT_EQ(routed_, 1u);
  EXPECT_FALSE(swap("three.gguf")) << "one thing at a time";
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.promote(now_ns_, a); }));
  EXPECT_EQ(routed_, 2u);
  EXPECT_EQ(rollout_.shadow_percent(), 0);
}

TEST_F(ModelRollout, ShadowThatCrashesGoesAndTheLiveOneIsLeftAlone) {
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.shadow("two.gguf", 30, now_ns_, a); }));
  come_up(2);
  tallies_[2].trouble = "was ended by SIGSEGV";
  observe(2);
  EXPECT_EQ(state(2), S::kFailed);
  EXPECT_EQ(rollout_.shadow_percent(), 0);
  EXPECT_EQ(state(1), S::kLive);
}

TEST_F(ModelRollout, CanaryThatCrashesIsRolledBackWithTheReason) {
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.canary("two.gguf", 10, true, now_ns_, a); }));
  come_up(2);
  EXPECT_TRUE(done_.empty()) << "the verdict is awaited";
  tallies_[2].trouble = "was ended by SIGSEGV";
  observe(2);
  EXPECT_EQ(state(2), S::kFailed);
  EXPECT_EQ(canary_percent_, 0);
  ASSERT_EQ(done_.size(), 1u);
  EXPECT_FALSE(done_[0]);
}

// A life of dsd that goes on with what another one recorded, and what it then does.
struct NextLife {
  explicit NextLife(const Rollout& left, uint64_t now_ns) { rollout.restore(left.record(), now_ns); }
  template <typename T>
  const T* find() const {
    for (const auto& action : actions) {
      if (const auto* found = std::get_if<T>(&action)) return found;
    }
    return nullptr;
  }
  S state(uint32_t number) const { return rollout.find(number)->state; }
  Rollout rollout{"tiny", 60 * kSecond_ns};
  RolloutActions actions;
};

TEST_F(ModelRollout, AnotherDaemonServesOnWithWhatDrainedAheadOfItsSuccessor) {
  ASSERT_TRUE(swap("b.gguf"));
  come_up(2);
  tallies_[2].requests = 1;
  ASSERT_TRUE(swap("c.gguf", SwapWay::kDrainFirst));
  NextLife next(rollout_, now_ns_);
  EXPECT_EQ(next.rollout.routed(), 2u);
  EXPECT_EQ(next.state(2), S::kLoading);  // until it is adopted
  EXPECT_EQ(next.state(3), S::kRetired);
  EXPECT_FALSE(next.rollout.busy());
  EXPECT_EQ(next.rollout.next_number(), 4u);
}

TEST_F(ModelRollout, AnotherDaemonLoadsTheOldOneAgainIfTheNewOneCannotBe) {
  ASSERT_TRUE(swap("b.gguf", SwapWay::kDrainFirst));
  come_up(1);
  end(1);
  ASSERT_EQ(state(2), S::kLoading);
  NextLife next(rollout_, now_ns_);
  EXPECT_EQ(next.rollout.routed(), 2u);
  EXPECT_TRUE(next.rollout.busy());
  next.rollout.observe(2, {.runners = 1, .trouble = "a bad file", .hopeless = true}, now_ns_, next.actions);
  ASSERT_NE(next.find<SpawnGeneration>(), nullptr);
  EXPECT_EQ(next.find<SpawnGeneration>()->settings_of, 1u);
  EXPECT_EQ(next.rollout.routed(), 3u);
  next.rollout.observe(3, {.runners = 1, .ready = 1}, now_ns_, next.actions);
  ASSERT_NE(next.find<OrderDone>(), nullptr);
  EXPECT_FALSE(next.find<OrderDone>()->result);
  EXPECT_EQ(next.state(3), S::kLive);
}

TEST_F(ModelRollout, AnotherDaemonKeepsWhatIsWarmAndACanaryAndWhatIsUnloaded) {
  ASSERT_TRUE(swap("b.gguf"));
  come_up(2);
  come_up(1);
  ASSERT_EQ(rollout_.warm(), 1u);
  NextLife warm(rollout_, now_ns_);
  EXPECT_EQ(warm.rollout.warm(), 1u);
  warm.rollout.observe(2, {.runners = 1, .ready = 1}, now_ns_, warm.actions);
  ASSERT_TRUE(warm.rollout.rollback(SwapWay::kBeside, now_ns_, warm.actions));
  EXPECT_EQ(warm.state(1), S::kLive);

  NextLife alone(rollout_, now_ns_);  // the warm one died with its dsd
  alone.rollout.observe(1, {.gone = true}, now_ns_, alone.actions);
  alone.rollout.observe(2, {.runners = 1, .ready = 1}, now_ns_, alone.actions);
  ASSERT_TRUE(alone.rollout.rollback(SwapWay::kBeside, now_ns_, alone.actions));
  EXPECT_EQ(alone.state(3), S::kLoading);

  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.canary("c.gguf", 7, true, now_ns_, a); }));
  come_up(3);
  ASSERT_TRUE(rollout_.trying());
  NextLife tries(rollout_, now_ns_);
  EXPECT_EQ(tries.rollout.canary_number(), 3u);
  EXPECT_EQ(tries.rollout.canary_percent(), 7);
  tries.rollout.observe(2, {.runners = 1, .ready = 1}, now_ns_, tries.actions);
  ASSERT_TRUE(tries.rollout.promote(now_ns_, tries.actions));
  EXPECT_EQ(tries.state(3), S::kLive);

  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.reject("no", now_ns_, a); }));
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.shadow("d.gguf", 9, now_ns_, a); }));
  come_up(4);
  NextLife mirrors(rollout_, now_ns_);
  EXPECT_EQ(mirrors.rollout.shadow_percent(), 9);
  EXPECT_EQ(mirrors.state(4), S::kShadow);

  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.reject("no", now_ns_, a); }));
  ASSERT_TRUE(act([&](RolloutActions& a) { return rollout_.unload("away with it", now_ns_, a); }));
  EXPECT_EQ(NextLife(rollout_, now_ns_).rollout.routed(), 2u) << "it has requests still";
  come_up(2);
  end(2);
  NextLife away(rollout_, now_ns_);
  EXPECT_TRUE(away.rollout.absent());
  EXPECT_EQ(away.rollout.previous(), 2u);
}

// Orders, failures and ends in any order: what serves is never stopped, one order has one end, and the
// history stays bounded.
TEST_F(ModelRollout, AnyOrderOfThingsKeepsOneServing) {
  const uint32_t seed = 20'260;
  std::mt19937 random(seed);
  constexpr int kSteps = 200'000;
  int swaps = 0;
  for (int i = 0; i < kSteps; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " step " << i);
    now_ns_ += random() % kSecond_ns;
    const auto way = random() % 2 == 0 ? SwapWay::kBeside : SwapWay::kDrainFirst;
    switch (random() % 9) {
      case 0:
        swaps += swap("next.gguf", way).has_value();
        break;
      case 1:
        (void)act([&](RolloutActions& a) { return rollout_.rollback(way, now_ns_, a); });
        break;
      case 2:
        (void)act([&](RolloutActions& a) { return rollout_.canary("c.gguf", 5, i % 2 == 0, now_ns_, a); });
        break;
      case 3:
        (void)act([&](RolloutActions& a) {
          return i % 2 == 0 ? rollout_.promote(now_ns_, a) : rollout_.reject("said so", now_ns_, a);
        });
        break;
      case 4:
        if (random() % 10 == 0) {
          (void)act([&](RolloutActions& a) { return rollout_.unload("idle", now_ns_, a); });
        } else {
          (void)act([&](RolloutActions& a) { return rollout_.load("again.gguf", now_ns_, a); });
        }
        break;
      default:
        if (tallies_.empty()) break;
        auto at = tallies_.begin();
        std::advance(at, random() % tallies_.size());
        const uint32_t number = at->first;
        if (std::find(stopped_.begin(), stopped_.end(), number) != stopped_.end()) {
          end(number);
        } else if (random() % 8 == 0 && at->second.ready == 0) {
          fail_to_come_up(number, "a bad file");
        } else {
          at->second.requests = random() % 2;
          come_up(number);
        }
    }
    act([&](RolloutActions& actions) { rollout_.tick(now_ns_, actions); });
    ASSERT_LE(rollout_.history().size(), Rollout::kHistoryMax);
    int live = 0;
    for (const auto& one : rollout_.history()) live += one.state == S::kLive;
    ASSERT_LE(live, 1);
    ASSERT_EQ(routed_, rollout_.routed());
  }
  EXPECT_GT(swaps, 1000);
  printf("seed %u, %d steps, %d swaps\n", seed, kSteps, swaps);
}

}  // namespace
}  // namespace deepserve::daemon
