#include "tests/sim/runner_model.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "ipc/base/check.h"

namespace deepserve::sim {
namespace {

// What runner/engine's StepBudget comes to where prefill costs beside decodes what it costs alone.
constexpr double kDecodeShare = 1 / (2.1 - 1);
constexpr double kTargetMargin = 0.02;
constexpr double kFirstShare = 0.5;
constexpr uint32_t kTriesMax = 8;
constexpr uint32_t kGrowthBitsMax = 12;
constexpr uint32_t kEndsPerHalving = 4;

}  // namespace

RunnerModel::RunnerModel(const RunnerShape& shape, uint64_t seed, uint32_t index)
    : shape_(shape), random_(seed, 1'000 + index), blocks_free_(shape.kv_blocks) {}

bool RunnerModel::before(const Sequence& a, const Sequence& b) {
  return std::tuple(a.work.service_class, a.order) < std::tuple(b.work.service_class, b.order);
}

void RunnerModel::insert(Line& line, std::unique_ptr<Sequence> sequence) {
  const auto place =
      std::ranges::lower_bound(line, sequence, [](const auto& a, const auto& b) { return before(*a, *b); });
  line.insert(place, std::move(sequence));
}

uint32_t RunnerModel::blocks_for(uint32_t tokens) const {
  return (tokens + shape_.block_tokens - 1) / shape_.block_tokens;
}

void RunnerModel::submit(const Submission& submission) {
  CHECK(submission.prompt_tokens > 0 && submission.output_tokens > submission.generated);
  CHECK(blocks_for(submission.prompt_tokens + submission.output_tokens) <= shape_.kv_blocks);
  auto sequence = std::make_unique<Sequence>();
  sequence->work = submission;
  sequence->order = ++orders_;
  sequence->waiting_since = step_;
  insert(waiting_, std::move(sequence));
}

bool RunnerModel::cancel(uint64_t attempt) {
  const auto is_it = [&](const auto& sequence) { return sequence->work.attempt == attempt; };
  if (const auto place = std::ranges::find_if(waiting_, is_it); place != waiting_.end()) {
    waiting_.erase(place);
    return true;
  }
  const auto place = std::ranges::find_if(running_, is_it);
  if (place == running_.end()) return false;
  blocks_free_ += (*place)->blocks;
  running_.erase(place);
  return true;
}

void RunnerModel::promote_starved() {
  if (promotion_debt_ > 0) return;
  for (size_t i = waiting_.size(); i > 0; --i) {
    const Sequence& last = *waiting_[i - 1];
    if (last.work.service_class != ipc::Class::kBatch) return;
    if (last.steps_waited + (step_ - last.waiting_since) < kStarved) continue;
    auto sequence = std::move(waiting_[i - 1]);
    waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(i - 1));
    sequence->work.service_class = ipc::Class::kNormal;
    promotion_debt_ = kStarvedPart * sequence->pending();
    insert(waiting_, std::move(sequence));
    return;
  }
}

// What a step may take of prefill, beside those who decode in the class of the first prefill or above: it has
// the time of those below that sit out for it as well.
double RunnerModel::prefill_seconds_max() const {
  auto first_class = ipc::Class::kCount;
  uint32_t prefilling = 0;
  for (const auto& sequence : running_) {
    if (sequence->pending() <= 1) continue;
    first_class = std::min(first_class, sequence->work.service_class);
    ++prefilling;
  }
  if (!waiting_.empty()) first_class = std::min(first_class, waiting_.front()->work.service_class);
  prefilling += std::min<uint32_t>(static_cast<uint32_t>(waiting_.size()),
                                   shape_.sequences_max - static_cast<uint32_t>(running_.size()));
  uint32_t decodes = 0;
  uint64_t context = 0;
  uint32_t going_along = 0;
  uint64_t along_context = 0;
  uint32_t all = 0;
  uint64_t all_context = 0;
  for (const auto& sequence : running_) {
    if (sequence->pending() > 1) continue;
    const bool lower = sequence->work.service_class > first_class;
    const uint32_t size = sequence->size();
    if (!lower) ++decodes, context += size;
    if (!lower || step_ - sequence->last_step > kPassedOverMax) ++going_along, along_context += size;
    ++all, all_context += size;
  }
  if (decodes == 0) return shape_.step_seconds_max;
  const double decoding = shape_.decode_seconds(decodes, context);
  const double crowd = std::max(1.0, static_cast<double>(prefilling) / decodes);
  const double limit = std::max(std::min(shape_.step_target_seconds, shape_.step_seconds_max),
                                (kDecodeShare - kTargetMargin) * decoding);
  const double freed = std::min(shape_.decode_seconds(all, all_context), shape_.step_seconds_max) -
                       shape_.decode_seconds(going_along, along_context);
  return std::min(kDecodeShare * crowd * decoding, limit) + std::max(0.0, freed);
}

bool RunnerModel::gets_prefill(const Sequence& candidate, double seconds_max) const {
  uint64_t tokens = 0;
  uint64_t chunks = 0;
  bool longer = false;
  for (const auto& sequence : running_) {
    if (sequence->work.service_class > candidate.work.service_class) break;
    if (sequence->pending() <= 1) {
      ++tokens;
    } else if (sequence->work.service_class == candidate.work.service_class &&
               candidate.size() < sequence->pending()) {
      longer = true;
    } else {
      tokens += sequence->pending();
      chunks += sequence->pending();
    }
  }
  double seconds = static_cast<double>(chunks) / shape_.prefill_tokens_per_second;
  if (longer) seconds += kFirstShare * seconds_max;
  return seconds < seconds_max && tokens < shape_.step_tokens_max;
}

uint32_t RunnerModel::growth_of(const Sequence& sequence) const {
  const uint32_t left = blocks_for(sequence.final_size()) - blocks_for(sequence.size());
  return std::min(1u << growth_bits_, std::max(left, 1u));
}

bool RunnerModel::fits(const Sequence& candidate, size_t running, uint64_t available) const {
  if (running >= shape_.sequences_max) return false;
  const uint64_t needed = blocks_for(candidate.size());
  if (running == 0) return needed <= available;
  uint64_t growth = growth_of(candidate);
  for (size_t i = 0; i < running; ++i) growth += growth_of(*running_[i]);
  return needed + growth <= available;
}

bool RunnerModel::make_room(const Sequence& candidate) {
  if (fits(candidate, running_.size(), blocks_free_)) return true;
  size_t stay = running_.size();
  uint64_t freed = 0;
  while (stay > 0 && running_[stay - 1]->work.service_class > candidate.work.service_class) {
    freed += running_[--stay]->blocks;
  }
  if (stay == running_.size() || !fits(candidate, stay, blocks_free_ + freed)) return false;
  while (!fits(candidate, running_.size(), blocks_free_)) preempt_last();
  return true;
}

void RunnerModel::admit(double seconds_max) {
  const Sequence* passed = nullptr;
  uint32_t tries = 0;
  for (size_t i = 0; i < waiting_.size();) {
    const Sequence& candidate = *waiting_[i];
    if (passed != nullptr && candidate.work.service_class > passed->work.service_class) return;
    if (running_.size() >= shape_.sequences_max &&
        running_.back()->work.service_class <= candidate.work.service_class) {
      return;
    }
    if (!gets_prefill(candidate, seconds_max)) {
      ++i;
    } else if (make_room(candidate)) {  // whom it preempts goes behind it
      auto sequence = std::move(waiting_[i]);
      waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(i));
      sequence->blocks = blocks_for(sequence->size());
      blocks_free_ -= sequence->blocks;
      sequence->steps_waited += step_ - sequence->waiting_since;
      sequence->last_step = step_;
      insert(running_, std::move(sequence));
    } else {
      if (candidate.preemptions > 0 || step_ - candidate.waiting_since >= kPassedByMax) return;
      if (++tries == kTriesMax) return;
      if (passed == nullptr) passed = &candidate;
      ++i;
    }
  }
}

void RunnerModel::preempt_last() {
  auto sequence = std::move(running_.back());
  running_.pop_back();
  blocks_free_ += sequence->blocks;
  sequence->blocks = 0;
  sequence->computed = 0;
  sequence->chunk = 0;
  sequence->waiting_since = step_;
  ++sequence->preemptions;
  ++preemptions_;
  insert(waiting_, std::move(sequence));
}

// A block for its next token. False: it was preempted itself.
bool RunnerModel::extend(Sequence& sequence) {
  if (sequence.computed < sequence.blocks * shape_.block_tokens) return true;
  if (blocks_free_ == 0) growth_bits_ = std::min(growth_bits_ + 1, kGrowthBitsMax);
  while (blocks_free_ == 0) {
    const bool itself = running_.back().get() == &sequence;
    preempt_last();
    if (itself) return false;
  }
  --blocks_free_;
  ++sequence.blocks;
  return true;
}

// Scheduler::choose_decodes.
void RunnerModel::choose_decodes() {
  lower_.clear();
  const bool beside_vip = !running_.empty() && running_.front()->work.service_class == ipc::Class::kVip;
  auto prefilling = ipc::Class::kCount;
  uint32_t decodes = 0;
  uint64_t context = 0;
  const auto add = [&](const Sequence& sequence) {
    ++decodes;
    context += sequence.size();
  };
  for (const auto& sequence : running_) {
    const auto service_class = sequence->work.service_class;
    if (sequence->pending() > 1) {
      prefilling = std::min(prefilling, service_class);
      continue;
    }
    sequence->sits_out = service_class > prefilling && step_ - sequence->last_step <= kPassedOverMax;
    if (sequence->sits_out) continue;
    if (beside_vip && service_class != ipc::Class::kVip)
      lower_.push_back(sequence.get());
    else
      add(*sequence);
  }
  std::ranges::sort(lower_, {}, [](const Sequence* s) {
    return std::tuple(s->last_step, s->work.service_class, s->order);
  });
  for (Sequence* sequence : lower_) {
    const double seconds = shape_.decode_seconds(decodes + 1, context + sequence->size());
    const bool due = sequence == lower_.front() && step_ - sequence->last_step > kPassedOverMax;
    sequence->sits_out = seconds > shape_.step_seconds_max && !due;
    if (!sequence->sits_out) add(*sequence);
  }
}

void RunnerModel::take_decodes() {
  choose_decodes();
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.pending() > 1 || sequence.sits_out) continue;
    if (!extend(sequence)) break;
    sequence.chunk = 1;
    ++decodes_;
    context_ += sequence.size();
  }
}

void RunnerModel::give(Sequence& sequence, double share, double& seconds, uint32_t& tokens) {
  const double affordable = std::min(share, seconds) * shape_.prefill_tokens_per_second + 0.4;
  const uint32_t wanted = std::min(sequence.pending() - sequence.chunk, tokens);
  const uint32_t given = std::min(wanted, static_cast<uint32_t>(std::max(0.0, affordable)));
  sequence.chunk += given;
  tokens -= given;
  seconds -= given / shape_.prefill_tokens_per_second;
}

double RunnerModel::take_prefills(double seconds_max) {
  prefills_.clear();
  for (const auto& sequence : running_) {
    if (sequence->pending() > 1) prefills_.push_back(sequence.get());
  }
  if (prefills_.empty()) return 0;
  Sequence& first = *prefills_.front();
  std::ranges::sort(prefills_, {}, [](const Sequence* s) {
    return std::tuple(s->work.service_class, s->pending(), s->order);
  });
  double seconds = seconds_max;
  uint32_t tokens = shape_.step_tokens_max - decodes_;
  for (Sequence* sequence : prefills_) {
    if (step_ - sequence->last_step <= kPassedOverMax) continue;
    give(*sequence, 0.125 * seconds_max, seconds, tokens);
    break;
  }
  if (prefills_.front() != &first) give(first, kFirstShare * seconds_max, seconds, tokens);
  for (Sequence* sequence : prefills_) give(*sequence, seconds, seconds, tokens);
  uint64_t taken = 0;
  for (const Sequence* sequence : prefills_) taken += sequence->chunk;
  if (taken == 0 && decodes_ == 0) taken = prefills_.front()->chunk = 1;
  promotion_debt_ -= std::min(promotion_debt_, taken);
  return static_cast<double>(taken) / shape_.prefill_tokens_per_second;
}

double RunnerModel::begin_step() {
  CHECK(has_work());
  ++step_;
  decodes_ = 0;
  context_ = 0;
  promote_starved();
  const double seconds_max = prefill_seconds_max();
  admit(seconds_max);
  take_decodes();
  promotion_debt_ -= std::min<uint64_t>(promotion_debt_, decodes_);
  const double prefilling = take_prefills(seconds_max);
  for (const auto& sequence : running_) {
    if (sequence->chunk > 0) sequence->last_step = step_;
  }
  const double seconds = shape_.decode_seconds(decodes_, context_) + prefilling;
  CHECK(seconds > 0);
  const double taken = seconds * random_.lognormal(1, shape_.step_noise);
  busy_seconds_ += taken;
  return taken;
}

void RunnerModel::end_step(std::vector<RunnerEvent>& events) {
  size_t kept = 0;
  for (auto& place : running_) {
    Sequence& sequence = *place;
    const auto told = [&](RunnerEvent::Kind kind) {
      events.push_back({kind, sequence.work.attempt, sequence.work.generated, sequence.prefilled,
                        sequence.work.prompt_tokens});
    };
    if (!sequence.told_accepted) told(RunnerEvent::Kind::kAccepted);
    sequence.told_accepted = true;
    bool ended = false;
    if (sequence.chunk > 0) {
      const bool decodes = sequence.pending() == 1;
      const bool samples = sequence.chunk == sequence.pending();
      if (!decodes) {
        sequence.prefilled += sequence.chunk;
        prompt_tokens_ += sequence.chunk;
      }
      work_seconds_ += shape_.work_seconds(decodes ? 0 : sequence.chunk, samples ? 1 : 0);
      sequence.computed += sequence.chunk;
      sequence.chunk = 0;
      if (samples) {
        ++sequence.work.generated;
        ++generated_tokens_;
        ended = sequence.work.generated >= sequence.work.output_tokens;
        told(ended ? RunnerEvent::Kind::kFinished : RunnerEvent::Kind::kToken);
      }
    }
    if (ended) {
      blocks_free_ += sequence.blocks;
      if (++ends_ % kEndsPerHalving == 0 && growth_bits_ > 0) --growth_bits_;
    } else {
      std::swap(running_[kept++], place);
    }
  }
  running_.resize(kept);
}

std::vector<RunnerEvent> RunnerModel::die() {
  std::vector<RunnerEvent> lost;
  for (Line* line : {&running_, &waiting_}) {
    for (const auto& sequence : *line) {
      lost.push_back({RunnerEvent::Kind::kToken, sequence->work.attempt, sequence->work.generated,
                      sequence->prefilled, sequence->work.prompt_tokens});
    }
    line->clear();
  }
  blocks_free_ = shape_.kv_blocks;
  growth_bits_ = 0;
  return lost;
}

ipc::Gauges RunnerModel::gauges() const {
  ipc::Gauges gauges;
  gauges.prefill_tokens_per_second = shape_.prefill_tokens_per_second;
  gauges.step_fixed_seconds = shape_.step_fixed_seconds;
  gauges.step_per_sequence_seconds = shape_.step_per_sequence_seconds;
  gauges.step_per_context_token_seconds = shape_.step_per_context_token_seconds;
  gauges.kv_blocks_free = blocks_free_;
  gauges.kv_blocks_total = shape_.kv_blocks;
  gauges.sequences_running = static_cast<uint32_t>(running_.size());
  gauges.sequences_waiting = static_cast<uint32_t>(waiting_.size());
  gauges.prompt_tokens_total = prompt_tokens_;
  gauges.generated_tokens_total = generated_tokens_;
  gauges.preemptions_total = preemptions_;
  return gauges;
}

void RunnerModel::check_accounting() const {
  uint64_t used = 0;
  for (const auto& sequence : running_) {
    CHECK(sequence->blocks >= blocks_for(sequence->computed));
    used += sequence->blocks;
  }
  CHECK(used + blocks_free_ == shape_.kv_blocks);
  for (const auto& sequence : waiting_) CHECK(sequence->blocks == 0 && sequence->computed == 0);
  CHECK(running_.size() <= shape_.sequences_max);
}

}  // namespace deepserve::sim
