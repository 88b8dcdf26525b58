#include "tests/sim/oracle.h"

#include <algorithm>
#include <utility>

#include "ipc/base/check.h"

namespace deepserve::sim {
namespace {

// Of a runner's time: less would do more work at 10x, by refusing the long prompts alone.
constexpr double kPrefillShare = 0.2;
// Seconds of prefill that a runner is given ahead: the most with which it wastes less than 1 % at any load.
constexpr double kPrefillAheadMax = 0.75;
constexpr size_t kLooksAt = 8;  // of each line

size_t index_of(ipc::Class service_class) {
  return static_cast<size_t>(service_class);
}

}  // namespace

double Oracle::prefill_seconds(ipc::RequestId request) const {
  return options_.truth->prompt_tokens(request) / options_.shape.prefill_tokens_per_second;
}

void Oracle::step(const daemon::Arrived& event, uint64_t now_ns, Actions& actions) {
  const size_t line = index_of(event.service_class);
  lines_[line].push_back({event.request, event.service_class, now_ns + kDeadlines_ns[line], false});
  pump(now_ns, actions);
}

void Oracle::leave(Sent& sent) {
  Runner& runner = runners_[sent.runner];
  --runner.sequences;
  runner.final_blocks -= sent.final_blocks;
  runner.prefill_seconds[index_of(sent.waiting.service_class)] -= sent.prefill_seconds;
}

void Oracle::step(const daemon::Ended& event, uint64_t now_ns, Actions& actions) {
  const auto found = sent_.find(event.request);
  CHECK(found != sent_.end());
  leave(found->second);
  sent_.erase(found);
  pump(now_ns, actions);
}

void Oracle::step(const daemon::Returned& event, uint64_t now_ns, Actions& actions) {
  const auto found = sent_.find(event.request);
  CHECK(found != sent_.end());
  leave(found->second);
  found->second.waiting.replay = true;
  replays_.push_back(found->second.waiting);
  sent_.erase(found);
  pump(now_ns, actions);
}

void Oracle::step(const daemon::FirstToken& event, uint64_t now_ns, Actions& actions) {
  Sent& sent = sent_.at(event.request);
  runners_[sent.runner].prefill_seconds[index_of(sent.waiting.service_class)] -= sent.prefill_seconds;
  sent.prefill_seconds = 0;
  pump(now_ns, actions);
}

void Oracle::step(const daemon::RunnerUp& event, uint64_t now_ns, Actions& actions) {
  runners_.at(event.runner).up = true;
  pump(now_ns, actions);
}

void Oracle::step(const daemon::RunnerDown& event, uint64_t /*now_ns*/, Actions& /*actions*/) {
  runners_.at(event.runner).up = false;
}

void Oracle::step(const daemon::RunnerTold& /*event*/, uint64_t now_ns, Actions& actions) {
  pump(now_ns, actions);
}

void Oracle::step(const daemon::Tick& /*event*/, uint64_t now_ns, Actions& actions) {
  pump(now_ns, actions);
}

bool Oracle::fits(const Waiting& waiting, const Runner& runner, uint64_t now_ns) const {
  if (waiting.replay) return true;
  const auto& shape = options_.shape;
  const bool is_vip = waiting.service_class == ipc::Class::kVip;
  const uint32_t tokens =
      options_.truth->prompt_tokens(waiting.request) + options_.truth->output_tokens(waiting.request);
  const uint64_t blocks = tokens / shape.block_tokens + 1;
  if (is_vip) return true;
  if (runner.sequences >= shape.sequences_max || runner.final_blocks + blocks > shape.kv_blocks) return false;
  double ahead = 0;
  for (size_t i = 0; i <= index_of(waiting.service_class); ++i) ahead += runner.prefill_seconds[i];
  const double left = static_cast<double>(waiting.deadline_ns - now_ns) * 1e-9;
  return ahead < kPrefillAheadMax && (ahead + prefill_seconds(waiting.request)) / kPrefillShare < left;
}

void Oracle::pump(uint64_t now_ns, Actions& actions) {
  std::array<std::vector<Waiting>*, 4> lines = {&replays_, &lines_[0], &lines_[1], &lines_[2]};
  for (auto* line : lines) {
    if (line != &replays_) {  // the front is the oldest: hopeless ones go, by their fastest prefill
      const auto hopeless = [&](const Waiting& waiting) {
        return static_cast<double>(waiting.deadline_ns) <
               static_cast<double>(now_ns) + 1e9 * prefill_seconds(waiting.request);
      };
      const auto end = std::ranges::find_if_not(*line, hopeless);
      for (auto place = line->begin(); place != end; ++place) {
        daemon::Refuse refusal;
        refusal.request = place->request;
        refusal.service_class = place->service_class;
        refusal.retry_after_ms = 1'000;
        actions.emplace_back(std::move(refusal));
      }
      line->erase(line->begin(), end);
    }
    size_t looked = 0;
    for (size_t i = line->size(); i > 0 && looked < kLooksAt; --i, ++looked) {
      const Waiting waiting = (*line)[i - 1];
      std::optional<uint32_t> best;
      for (uint32_t r = 0; r < runners_.size(); ++r) {
        if (!runners_[r].up || !fits(waiting, runners_[r], now_ns)) continue;
        if (!best || runners_[r].sequences < runners_[*best].sequences) best = r;
      }
      if (!best) continue;
      line->erase(line->begin() + static_cast<ptrdiff_t>(i - 1));
      const uint32_t tokens =
          options_.truth->prompt_tokens(waiting.request) + options_.truth->output_tokens(waiting.request);
      const Sent sent{waiting, *best, tokens / options_.shape.block_tokens + 1,
                      prefill_seconds(waiting.request)};
      Runner& runner = runners_[*best];
      ++runner.sequences;
      runner.final_blocks += sent.final_blocks;
      runner.prefill_seconds[index_of(waiting.service_class)] += sent.prefill_seconds;
      sent_.emplace(waiting.request, sent);
      actions.emplace_back(daemon::Dispatch{waiting.request, *best});
    }
  }
}

}  // namespace deepserve::sim
