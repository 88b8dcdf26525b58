// A canary's requests: which they are, and what they are like beside the live generation's.
#include <spdlog/spdlog.h>

#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

// FNV-1a: the same in every life of dsd, and on every host.
class Hash {
 public:
  void add(std::string_view text) {
    for (const char c : text) value_ = (value_ ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
    value_ = (value_ ^ 0xff) * 0x100000001b3ull;  // "ab" + "c" is not "a" + "bc"
  }
  // 0 <= part < 1, of well mixed bits.
  double part() const {
    uint64_t mixed = value_ ^ value_ >> 32;
    mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9ull;
    return static_cast<double>((mixed ^ mixed >> 32) >> 11) * 0x1p-53;
  }

 private:
  uint64_t value_ = 0xcbf29ce484222325ull;
};

}  // namespace

// Sticky: a conversation stays where it began, by its client and its first message.
double canary_part(const RequestSpec& spec) {
  constexpr size_t kTextBytes = 256;  // of a prompt without messages
  Hash hash;
  hash.add(spec.client);
  for (const auto& message : spec.prompt.chat) {
    if (message.role != "user") continue;
    hash.add(message.content);
    return hash.part();
  }
  hash.add(std::string_view(spec.prompt.text).substr(0, kTextBytes));
  const size_t bytes = std::min(kTextBytes, spec.prompt.tokens.size() * sizeof(ipc::TokenId));
  hash.add({reinterpret_cast<const char*>(spec.prompt.tokens.data()), bytes});
  return hash.part();
}

uint32_t Service::line_of(uint32_t model, const RequestSpec& spec) const {
  const auto& rollout = served_[model]->rollout;
  if (!rollout.trying()) return live_line(model);
  return canary_part(spec) * 100 < rollout.canary_percent() ? canary_line(model) : live_line(model);
}

// Its end, for the judge of the canary that was tried out when it began.
void Service::judge_canary(const Record& record, EndKind how) {
  auto& served = *served_[record.model];
  if (!served.judge || record.tried != served.rollout.canary_number() || how == EndKind::kCancelled) return;
  if (how == EndKind::kFailed && !record.model_failed) return;
  CanarySample sample;
  sample.at_ns = monotonic_ns();
  sample.of_canary = record.line == canary_line(record.model);
  sample.failed = how == EndKind::kFailed;
  sample.service_class = record.spec.service_class;
  sample.cached = 2 * record.cached_tokens >= record.progress.prompt_tokens();
  const auto seconds = [](uint64_t from_ns, uint64_t to_ns) {
    return static_cast<double>(to_ns - from_ns) * 1e-9;
  };
  if (record.first_ns != 0) sample.ttft_s = seconds(record.started_ns, record.first_ns);
  const uint32_t choices = std::max<uint32_t>(1, record.spec.generation.choices);
  const uint32_t each = record.progress.generated_tokens() / choices;
  if (each > 1) sample.itl_s = seconds(record.first_ns, record.last_ns) / (each - 1);
  served.judge->add(sample);
}

// Before the loop sleeps: a verdict is carried out.
void Service::heed_judge(uint32_t model, RolloutActions& actions) {
  auto& served = *served_[model];
  if (!served.judge || !served.rollout.trying()) return;
  const auto verdict = served.judge->verdict();
  const bool open = verdict == CanaryJudge::Verdict::kOpen;
  if (open || !served.judged) return;
  const uint32_t number = served.rollout.canary_number();
  const std::string evidence = served.judge->evidence();
  const bool worse = verdict == CanaryJudge::Verdict::kWorse;
  spdlog::info("model '{}': canary generation {} is {}: {}", served_[model]->config.name, number,
               worse ? "worse and rolled back" : "as good and promoted", evidence);
  const uint64_t now_ns = monotonic_ns();
  const auto done = worse ? served.rollout.reject("worse: " + evidence, now_ns, actions)
                          : served.rollout.promote(now_ns, actions);
  if (!done) spdlog::error("model '{}': {}", served_[model]->config.name, done.error().message);
}

std::string Service::trial_evidence(const Served& served) {
  const std::string speed = served.judge->evidence();
  return served.shadow ? fmt::format("{}; {}", served.shadow->evidence(), speed) : speed;
}

// The trial is over.
void Service::keep_evidence(uint32_t model) {
  auto& served = *served_[model];
  if (served.judge && served.tried != 0) served.evidence[served.tried] = trial_evidence(served);
  served.judge.reset();
  served.shadow.reset();
}

std::string Service::evidence_of(uint32_t model, uint32_t generation) const {
  const auto& served = *served_[model];
  if (served.judge && served.rollout.canary_number() == generation) return trial_evidence(served);
  const auto kept = served.evidence.find(generation);
  return kept == served.evidence.end() ? std::string() : kept->second;
}

}  // namespace deepserve::daemon
