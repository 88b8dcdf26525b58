#include "daemon/dispatch/request_progress.h"

#include <algorithm>

namespace deepserve::daemon {
namespace {

constexpr size_t kChoiceTokensMax = size_t{1} << 24;  // no context is longer: a runner that goes on lies

}  // namespace

RequestProgress::RequestProgress(const ipc::Generation& generation)
    : choices_(std::max<size_t>(1, generation.choices)), open_choices_(choices_.size()) {}

Heard RequestProgress::on_accepted(const ipc::Accepted& event) {
  if (accepted_) return Heard::kRepeat;
  accepted_ = true;
  prompt_tokens_ = event.prompt_tokens;
  cached_tokens_ = event.cached_tokens;
  return Heard::kNews;
}

Heard RequestProgress::on_delta(ipc::Delta& event) {
  if (!accepted_ || event.choice >= choices_.size()) return Heard::kLie;
  auto& choice = choices_[event.choice];
  if (choice.ended) return Heard::kRepeat;
  const size_t told = choice.tokens.size();
  const size_t end = size_t{event.index} + event.tokens.size();
  if (event.index > told || end > kChoiceTokensMax) return Heard::kLie;
  if (event.index < told) return end <= told ? Heard::kRepeat : Heard::kLie;
  if (event.tokens.empty()) {
    const size_t repeated = std::min(choice.text_skip_bytes, event.text.size());
    choice.text_skip_bytes -= repeated;
    if (repeated != 0 && repeated == event.text.size()) return Heard::kRepeat;
    event.text.erase(0, repeated);
    choice.text_told_bytes += event.text.size();
    return Heard::kNews;
  }
  choice.text_told_bytes = choice.text_skip_bytes = 0;
  choice.tokens.insert(choice.tokens.end(), event.tokens.begin(), event.tokens.end());
  generated_tokens_ += static_cast<uint32_t>(event.tokens.size());
  return Heard::kNews;
}

Heard RequestProgress::on_finished(ipc::Finished& event) {
  if (event.choice >= choices_.size()) return Heard::kLie;
  auto& choice = choices_[event.choice];
  if (choice.ended) return Heard::kRepeat;
  choice.ended = true;
  --open_choices_;
  if (replays_ == 0) {
    if (event.last != (open_choices_ == 0)) return Heard::kLie;
    return Heard::kNews;
  }
  event.last = open_choices_ == 0;
  if (event.last) event.usage = {prompt_tokens_, cached_tokens_, generated_tokens_};
  return Heard::kNews;
}

bool RequestProgress::on_runner_died(Blame blame) {
  ++replays_;
  for (auto& choice : choices_) choice.text_skip_bytes = choice.text_told_bytes;
  if (blame == Blame::kRunner) ++crashes_;
  return crashes_ <= kCrashesMax && replays_ <= kReplaysMax;
}

std::vector<ipc::ResumedChoice> RequestProgress::resumed() const {
  std::vector<ipc::ResumedChoice> resumed;
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (!choices_[i].tokens.empty()) resumed.push_back({static_cast<uint16_t>(i), choices_[i].tokens});
  }
  return resumed;
}

}  // namespace deepserve::daemon
