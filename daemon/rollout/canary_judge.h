// Whether a canary is worse than the live generation, by what their requests were like (DESIGN 9). Pure.
//
// Three tests run side by side, each of them a test by betting (Shafer 2021; Waudby-Smith & Ramdas 2024): a
// wealth that starts at 1 and, as long as the canary is no worse, is not expected to grow. By Ville's
// inequality it then ever reaches 1/alpha with a probability of alpha at most, however often it is looked at.
// - Failures: each failed request bets on whose it was. Were both equally good, it would be the canary's as
//   often as requests are.
// - TTFT, and mean ITL: each of the canary's answers takes its rank among the live answers that came since
//   the one before it, of its class and as much cached; were both equally fast (or the canary by less than
//   the tolerances slower), each rank would be as likely. Equal times of day are compared, so load that comes
//   and goes is no news. What the host does to one process and not to the other lasts for some answers in a
//   row, which would count as so many: of answers less than kApart_ns apart one has a rank.
// A canary that was not found worse within `requests`, and within kTried_ns, is taken for as good.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// A request that has ended.
struct CanarySample {
  uint64_t at_ns = 0;  // when it ended; monotonic
  bool of_canary = false;
  bool failed = false;  // and neither its client nor an operator is to blame
  ipc::Class service_class = ipc::Class::kNormal;
  bool cached = false;  // half of its prompt or more was
  double ttft_s = 0;    // 0: it has had no token
  double itl_s = 0;     // mean; 0: it has had fewer than two
};

// A test by betting that ranks in [0, 1] are not, on average, above one half.
class RankBet {
 public:
  void add(double rank);
  double wealth() const { return wealth_; }
  double mean_rank() const { return count_ == 0 ? 0.5 : sum_ / count_; }
  double count() const { return count_; }

 private:
  // Of several stakes at once, each with its part of the money: one of them fits whatever the difference.
  static constexpr std::array<double, 4> kStakes = {0.2, 0.4, 0.7, 0.95};
  std::array<double, kStakes.size()> parts_ = {1, 1, 1, 1};
  double wealth_ = 1;
  double count_ = 0;
  double sum_ = 0;
};

class CanaryJudge {
 public:
  // Of a false alarm, of each test: together less than 1 %.
  static constexpr double kFailureAlpha = 0.005;
  static constexpr double kSpeedAlpha = 0.0022;
  static constexpr double kTolerance = 1.08;         // times as slow, or so much longer, is no worse:
  static constexpr double kTtftTolerance_s = 0.003;  // a turn of the host's scheduler
  static constexpr double kItlTolerance_s = 0.001;
  static constexpr uint32_t kRequests = 200;  // of the canary, until it is promoted
  static constexpr size_t kPoolMax = 64;      // live answers that wait for one of the canary's
  static constexpr uint64_t kApart_ns = 100'000'000;
  static constexpr uint64_t kTried_ns = 10'000'000'000;

  explicit CanaryJudge(uint32_t requests = kRequests) : requests_(requests) {}

  void add(const CanarySample& sample);

  enum class Verdict : uint8_t { kOpen, kWorse, kAsGood };
  Verdict verdict() const;
  // "ttft: ..., p ...": what was seen, in words.
  std::string evidence() const;
  uint32_t requests() const { return canary_.requests; }

 private:
  struct Arm {
    uint32_t requests = 0;
    uint32_t failed = 0;
    uint64_t first_ns = 0, last_ns = 0;
  };
  // Live values that no answer of the canary was held against yet.
  struct Speed {
    explicit Speed(double tolerance) : tolerance_s(tolerance) {}
    double tolerance_s;
    static constexpr size_t kPools = 2 * static_cast<size_t>(ipc::Class::kCount);
    std::array<std::deque<double>, kPools> live;
    RankBet bet;
    double live_sum = 0, live_count = 0;
    double canary_sum = 0, canary_count = 0;
    uint64_t ranked_ns = 0;  // the answer that was ranked last; 0: none
    void add(const CanarySample& sample, double value_s);
  };
  void add_failure(bool of_canary);

  const uint32_t requests_;
  Arm live_;
  Arm canary_;
  static constexpr std::array<double, 4> kRatios = {2, 5, 15, 50};  // how much more often it might fail
  std::array<double, kRatios.size()> failure_parts_ = {1, 1, 1, 1};
  Speed ttft_{kTtftTolerance_s};
  Speed itl_{kItlTolerance_s};
};

}  // namespace deepserve::daemon
