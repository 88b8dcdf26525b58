// What a refusal costs the daemon: from the parsed request (stage 1), or from its head (stage 0), to the
// decision with its ticket, in CPU time of one thread; and what a million clients leave behind in memory.
// Prints values, bars, and PASS or FAIL.
//
//   refusal_bench [ROUNDS]
//
// Each request comes from a client of its own, so that the core's tables are at their caps when it is
// measured. Medians of the rounds.
#include <fmt/format.h>
#include <malloc.h>
#include <time.h>

#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "daemon/admission/admission.h"
#include "ipc/base/check.h"
#include "tests/bench/median.h"

namespace {

uint64_t live_bytes = 0;  // that are taken from the heap, with what the allocator adds

}  // namespace

void* operator new(size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  live_bytes += malloc_usable_size(memory);
  return memory;
}
void operator delete(void* memory) noexcept {
  live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  operator delete(memory);
}

namespace deepserve::daemon {
namespace {

constexpr double kBar_us = 5;
constexpr double kMemoryBar_mib = 64;
constexpr uint32_t kClients = 1'000'000;
constexpr uint32_t kRound = 20'000;
constexpr uint32_t kTickets = 5'000;  // as many as the calendar takes at once
constexpr uint32_t kWaiting = 4'000;  // as many as may
constexpr uint32_t kWaitingFew = 40;  // so that slots are within the horizon
constexpr uint64_t kGap_ns = 50'000;  // 20,000 requests a second

double cpu_seconds() {
  timespec time{};
  CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

struct Length {
  uint64_t prompt_bytes;
  uint32_t tokens_max;
};
constexpr Length kLong{1'000, 200};
constexpr Length kShort{10, 2};

Arrived arrival(uint64_t number, const Length& length) {
  Arrived event;
  event.request = number;
  event.client = fmt::format("proxy/user-{}", number % kClients);
  event.prompt_bytes = length.prompt_bytes;
  event.tokens_max = length.tokens_max;
  event.bytes = 1'500;
  event.body_hash = number;
  event.body_bytes = 1'200;
  return event;
}

struct Cost {
  double seconds[2] = {};  // with a ticket: [1]
  uint64_t count[2] = {};

  void add(bool booked, double taken) {
    seconds[booked] += taken;
    ++count[booked];
  }
  double each_us(bool booked) const {
    return 1e6 * seconds[booked] / static_cast<double>(std::max<uint64_t>(1, count[booked]));
  }
};

// A runner as tests/sim's CPU shape has it, and so many that wait for it. Nobody ends or comes back.
class Host {
 public:
  explicit Host(uint32_t waiting) : core_(AdmissionOptions{}) {
    RunnerUp up;
    up.capacity = {32, 1'024, 16, 0};
    step(up);
    RunnerTold told;
    told.gauges.prefill_tokens_per_second = 1'000;
    told.gauges.step_fixed_seconds = 0.009;
    told.gauges.step_per_sequence_seconds = 0.0003;
    step(told);
    while (core_.waiting(ipc::Class::kNormal) < waiting) {
      auto event = arrival(++number_, kLong);
      event.deadline_ns = now_ns_ + 100'000 * kSecond_ns;
      step(event);
      for (const auto& action : actions_) {
        if (const auto* sent = std::get_if<Dispatch>(&action)) sent_.push_back(sent->request);
      }
      for (const auto id : std::exchange(sent_, {})) start(id);
    }
  }

  // So many refusals of new clients, and what else comes meanwhile.
  Cost refuse(uint32_t count, const Length& length, bool by_head) {
    Cost cost;
    for (uint32_t i = 0; i < count; ++i) {
      now_ns_ += kGap_ns;
      if (++number_ % (Tick::kInterval_ns / kGap_ns) == 0) step(Tick{});
      auto event = arrival(number_, length);
      if (by_head) event.body_hash = 0;
      actions_.clear();
      const double begin = cpu_seconds();
      if (by_head) {
        actions_.emplace_back(core_.glance(event, now_ns_).value());
      } else {
        core_.step(event, now_ns_, actions_);
      }
      const double taken = cpu_seconds() - begin;
      cost.add(std::get<Refuse>(actions_.at(0)).booked, taken);
    }
    return cost;
  }

 private:
  template <typename Event>
  void step(const Event& event) {
    actions_.clear();
    core_.step(event, now_ns_, actions_);
  }
  void start(ipc::RequestId id) {
    now_ns_ += 300 * kMillisecond_ns;
    step(Accepted{id, 260, 0});
    step(FirstToken{id});
    for (const auto& action : actions_) {
      if (const auto* sent = std::get_if<Dispatch>(&action)) sent_.push_back(sent->request);
    }
  }

  Admission core_;
  AdmissionActions actions_;
  std::vector<ipc::RequestId> sent_;
  uint64_t now_ns_ = 1'000 * kSecond_ns;
  uint64_t number_ = 0;
};

bool print(const std::string& what, double value, double bar, const char* unit) {
  const bool passes = value <= bar;
  fmt::print("{:70} {:8.2f} {}  <= {:.0f} {}  {}\n", what, value, unit, bar, unit, passes ? "PASS" : "FAIL");
  return passes;
}

bool print_cost(bool by_head, const char* how, const std::vector<double>& each_us) {
  const std::string what = fmt::format("refusal of a {}, {}", by_head ? "head" : "parsed request", how);
  return print(what, bench::median(each_us), kBar_us, "us");
}

// Nothing is promised any more.
bool measure_full(Host& full, int rounds) {
  bool passes = true;
  for (const bool by_head : {false, true}) {
    std::vector<double> each_us;
    for (int i = 0; i < rounds; ++i) each_us.push_back(full.refuse(kRound, kLong, by_head).each_us(false));
    passes &= print_cost(by_head, "no slot left", each_us);
  }
  return passes;
}

// Short requests, each of which gets a slot and a ticket, behind long ones.
bool measure_tickets(int rounds) {
  bool passes = true;
  for (const bool by_head : {false, true}) {
    std::vector<double> each_us;
    for (int i = 0; i < rounds; ++i) {
      Host busy(kWaitingFew);
      const Cost cost = busy.refuse(kTickets, kShort, by_head);
      CHECK(cost.count[true] == kTickets);
      each_us.push_back(cost.each_us(true));
    }
    passes &= print_cost(by_head, "with a ticket", each_us);
  }
  return passes;
}

int run(int rounds) {
  const uint64_t before = live_bytes;
  Host full(kWaiting);
  const Cost first = full.refuse(kClients, kLong, false);
  const double mib = static_cast<double>(live_bytes - before) / (1 << 20);
  CHECK(first.count[false] + first.count[true] == kClients);
  bool passes = measure_full(full, rounds);
  passes &= measure_tickets(rounds);
  passes &= print(fmt::format("memory after {} clients", kClients), mib, kMemoryBar_mib, "MiB");
  return passes ? 0 : 1;
}

}  // namespace
}  // namespace deepserve::daemon

int main(int argc, char** argv) {
  return deepserve::daemon::run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 7);
}
