// The baselines, and who makes policies by their names. Sources are named at each; where a constant of the
// source is about calls of some milliseconds, it is kept as a part of the deadline.
#include <algorithm>
#include <array>
#include <map>

#include "tests/sim/admission_policy.h"
#include "tests/sim/baseline.h"
#include "tests/sim/oracle.h"
#include "tests/sim/random.h"

namespace deepserve::sim {
namespace {

constexpr uint64_t kNormalDeadline_ns = kDeadlines_ns[1];

// What most servers do: a queue, without an end or with `cap` places.
class Fifo : public Baseline {
 public:
  Fifo(const PolicyOptions& options, size_t cap) : Baseline(options), cap_(cap) {}

 protected:
  bool takes(const Waiting&, uint64_t) override { return queue_.size() < cap_; }

 private:
  const size_t cap_;
};

// vLLM's `--scheduling-policy priority`: (priority, arrival), no limit; a vip goes to the engine at once,
// which preempts lower ones for it.
class EnginePriority : public Baseline {
 public:
  using Baseline::Baseline;
  bool tells_classes() const override { return true; }

 protected:
  void push(const Waiting& waiting) override {
    lines_[static_cast<size_t>(waiting.service_class)].push_back(waiting);
  }
  std::optional<uint32_t> runner_for() const override {
    const auto seat = Baseline::runner_for();
    if (seat || lines_[0].empty()) return seat;
    for (uint32_t i = 0; i < runners_.size(); ++i) {
      if (runners_[i].up) return i;
    }
    return std::nullopt;
  }
  std::optional<Waiting> pop(uint64_t, Actions&) override {
    for (auto& line : lines_) {
      if (line.empty()) continue;
      const Waiting first = line.front();
      line.pop_front();
      return first;
    }
    return std::nullopt;
  }

 private:
  std::array<std::deque<Waiting>, 3> lines_;
};

// A gateway that refuses while a runner's KV cache is fuller than a fixed part, as KServe's and llm-d's
// thresholds do.
class KvThreshold : public Baseline {
 public:
  using Baseline::Baseline;

 protected:
  static constexpr double kUsedMax = 0.8;
  bool takes(const Waiting&, uint64_t) override {
    return std::ranges::any_of(runners_, [](const Runner& runner) {
      return runner.up && runner.gauges.kv_blocks_free >= (1 - kUsedMax) * runner.gauges.kv_blocks_total;
    });
  }
};

// DAGOR (Zhou et al., "Overload control for scaling WeChat microservices", SoCC 2018): overloaded where the
// mean queueing time of a window is above a threshold; then admission levels, class first, then one of 128
// made of the client, go down by 5 % of what was admitted, else up by 1 % of what came.
class Dagor : public Baseline {
 public:
  using Baseline::Baseline;

 protected:
  static constexpr uint64_t kWindow_ns = 1'000'000'000;
  static constexpr uint64_t kThreshold_ns = kNormalDeadline_ns / 25;  // 20 ms of 500
  static constexpr uint32_t kUsers = 128;
  static constexpr uint32_t kLevels = 3 * kUsers;

  bool takes(const Waiting& waiting, uint64_t now_ns) override {
    if (now_ns >= window_ends_ns_) adjust(now_ns);
    const uint32_t level = static_cast<uint32_t>(waiting.service_class) * kUsers +
                           static_cast<uint32_t>(mixed(waiting.client_hash + now_ns / kHour_ns) % kUsers);
    ++came_[level];
    return level <= level_;
  }
  void sent(const Waiting& waiting, uint64_t now_ns) override {
    queued_ns_ += now_ns - waiting.arrived_ns;
    ++taken_;
  }

 private:
  static constexpr uint64_t kHour_ns = 3'600'000'000'000;

  void adjust(uint64_t now_ns) {
    uint64_t all = 0;
    uint64_t admitted = 0;
    for (uint32_t i = 0; i < kLevels; ++i) {
      all += came_[i];
      if (i <= level_) admitted += came_[i];
    }
    const bool stuck = taken_ == 0 && !queue_.empty();
    if (stuck || (taken_ > 0 && queued_ns_ / taken_ > kThreshold_ns)) {
      const double wanted = 0.95 * static_cast<double>(admitted);
      while (level_ > 0 && static_cast<double>(admitted) > wanted) admitted -= came_[level_--];
    } else {
      const double wanted = static_cast<double>(admitted) + std::max(1.0, 0.01 * static_cast<double>(all));
      while (level_ + 1 < kLevels && static_cast<double>(admitted) < wanted) admitted += came_[++level_];
    }
    came_.fill(0);
    queued_ns_ = taken_ = 0;
    window_ends_ns_ = now_ns + kWindow_ns;
  }

  std::array<uint32_t, kLevels> came_{};
  uint32_t level_ = kLevels - 1;
  uint64_t window_ends_ns_ = 0;
  uint64_t queued_ns_ = 0;
  uint64_t taken_ = 0;
};

// Controlled delay and adaptive LIFO (Maurer, "Fail at scale", ACM Queue 13(8), 2015; Nichols and Jacobson,
// CoDel, 2012): where the queue was not empty for an interval, the last come is served first and a wait of
// more than a twentieth of the interval is too long; else the interval is.
class CodelLifo : public Baseline {
 public:
  using Baseline::Baseline;

 protected:
  static constexpr uint64_t kInterval_ns = kNormalDeadline_ns / 5;
  static constexpr uint64_t kTarget_ns = kInterval_ns / 20;

  std::optional<Waiting> pop(uint64_t now_ns, Actions& actions) override {
    const bool overloaded = now_ns - empty_ns_ > kInterval_ns;
    const uint64_t timeout_ns = overloaded ? kTarget_ns : kInterval_ns;
    while (!queue_.empty() && now_ns - queue_.front().arrived_ns > timeout_ns) {
      drop(queue_.front(), actions);
      queue_.pop_front();
    }
    if (queue_.empty()) {
      empty_ns_ = now_ns;
      return std::nullopt;
    }
    const Waiting next = overloaded ? queue_.back() : queue_.front();
    overloaded ? queue_.pop_back() : queue_.pop_front();
    if (queue_.empty()) empty_ns_ = now_ns;
    return next;
  }

 private:
  uint64_t empty_ns_ = 0;
};

}  // namespace

const std::vector<PolicyName>& policy_names() {
  static const std::vector<PolicyName> names = {
      {"deepserve", "the daemon's admission core"},
      {"oracle", "knows every length"},
      {"fifo", "a queue without an end"},
      {"capped-fifo", "a queue of twice the seats, then refusal"},
      {"engine-priority", "vLLM's priority scheduling"},
      {"kv-threshold", "refusal above 80 % of the KV cache"},
      {"dagor", "WeChat's admission levels"},
      {"codel-lifo", "controlled delay and adaptive LIFO"},
  };
  return names;
}

std::unique_ptr<Policy> make_policy(std::string_view name, const PolicyOptions& options) {
  if (name == "deepserve") return std::make_unique<AdmissionPolicy>(options);
  if (name == "oracle") return std::make_unique<Oracle>(options);
  if (name == "fifo") return std::make_unique<Fifo>(options, ~size_t{0});
  if (name == "capped-fifo") {
    return std::make_unique<Fifo>(options, size_t{2} * options.shape.sequences_max * options.runners);
  }
  if (name == "engine-priority") return std::make_unique<EnginePriority>(options);
  if (name == "kv-threshold") return std::make_unique<KvThreshold>(options);
  if (name == "dagor") return std::make_unique<Dagor>(options);
  if (name == "codel-lifo") return std::make_unique<CodelLifo>(options);
  return nullptr;
}

}  // namespace deepserve::sim
