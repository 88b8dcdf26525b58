#include "daemon/dispatch/request_progress.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace deepserve::daemon {
namespace {

constexpr size_t kChoiceTokensMax = size_t{1} << 24;  // no context is longer: a runner that goes on lies

size_t choices_of(ipc::Work work, const ipc::Generation& generation) {
  return work == ipc::Work::kEmbed ? 1 : std::max<size_t>(1, generation.choices);
}

// No probability is above one. Zero, whose logarithm is minus infinity, is one.
bool are_logprobs(const std::vector<std::vector<ipc::TokenLogprob>>& tokens) {
  const auto is_logprob = [](const ipc::TokenLogprob& entry) { return entry.logprob <= 0.0f; };
  return std::ranges::all_of(
      tokens, [&](const auto& alternatives) { return std::ranges::all_of(alternatives, is_logprob); });
}

}  // namespace

RequestProgress::RequestProgress(ipc::Work work, const ipc::Generation& generation)
    : work_(work),
      echo_wanted_(work == ipc::Work::kGenerate && generation.echo),
      choices_(choices_of(work, generation)),
      open_choices_(choices_.size()) {}

void RequestProgress::heard_before(std::vector<ipc::ResumedChoice> told) {
  for (auto& one : told) {
    if (one.choice < choices_.size()) choices_[one.choice].before = std::move(one.tokens);
  }
}

Heard RequestProgress::on_accepted(const ipc::Accepted& event) {
  if (accepted_) return Heard::kRepeat;
  accepted_ = true;
  note_news();
  prompt_tokens_ = event.prompt_tokens;
  cached_tokens_ = event.cached_tokens;
  return Heard::kNews;
}

Heard RequestProgress::on_delta(ipc::Delta& event) {
  if (!accepted_ || work_ == ipc::Work::kEmbed || event.choice >= choices_.size()) return Heard::kLie;
  if (!are_logprobs(event.logprobs)) return Heard::kLie;
  auto& choice = choices_[event.choice];
  if (choice.ended) return Heard::kRepeat;
  if (event.echo) return on_echo(choice, event);
  if (!echo_is_whole(choice)) return Heard::kLie;
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
    note_news();
    return Heard::kNews;
  }
  for (size_t i = told; i < std::min(end, choice.before.size()); ++i) {
    if (event.tokens[i - told] != choice.before[i]) return Heard::kLie;
  }
  choice.text_told_bytes = choice.text_skip_bytes = 0;
  choice.tokens.insert(choice.tokens.end(), event.tokens.begin(), event.tokens.end());
  generated_tokens_ += static_cast<uint32_t>(event.tokens.size());
  if (replays_ > 0 && end <= choice.before.size()) {
    suspected_at_ += static_cast<uint32_t>(event.tokens.size());  // it proves nobody's innocence
    return Heard::kRetold;
  }
  note_news();
  return Heard::kNews;
}

bool RequestProgress::echo_is_whole(const Choice& choice) const {
  return !echo_wanted_ || choice.echo_told.tokens == prompt_tokens_;
}

// A replay may cut the prompt into deltas elsewhere, so that only a part of one is news. Tokens and bytes are
// counted apart: a long text comes in pieces, of which but one has the tokens.
Heard RequestProgress::on_echo(Choice& choice, ipc::Delta& event) {
  Echoed& heard = choice.echo_heard;
  Echoed& told = choice.echo_told;
  const size_t end = size_t{event.index} + event.tokens.size();
  if (!echo_wanted_ || end > prompt_tokens_) return Heard::kLie;
  if (event.index != heard.tokens) {
    return !event.tokens.empty() && end <= heard.tokens ? Heard::kRepeat : Heard::kLie;
  }
  if (!choice.tokens.empty()) return Heard::kLie;
  const size_t tokens_old = std::min<size_t>(told.tokens - heard.tokens, event.tokens.size());
  const size_t bytes_old = std::min(told.text_bytes - heard.text_bytes, event.text.size());
  heard.tokens = static_cast<uint32_t>(end);
  heard.text_bytes += event.text.size();
  if (tokens_old == event.tokens.size() && bytes_old == event.text.size()) return Heard::kRepeat;
  const auto erase_first = [](auto& list, size_t count) {
    list.erase(list.begin(), list.begin() + static_cast<ptrdiff_t>(std::min(count, list.size())));
  };
  event.index += static_cast<uint32_t>(tokens_old);
  erase_first(event.tokens, tokens_old);
  erase_first(event.logprobs, tokens_old);
  event.text.erase(0, bytes_old);
  told = {std::max(told.tokens, heard.tokens), std::max(told.text_bytes, heard.text_bytes)};
  note_news();
  return Heard::kNews;
}

Heard RequestProgress::on_embedding(const ipc::Embedding& event) {
  if (!accepted_ || work_ != ipc::Work::kEmbed || embedding_heard_) return Heard::kLie;
  if (event.values.empty() || event.values.size() > ipc::kEmbeddingWidthMax) return Heard::kLie;
  if (!std::ranges::all_of(event.values, [](float value) { return std::isfinite(value); })) {
    return Heard::kLie;
  }
  embedding_heard_ = true;
  return std::exchange(embedding_told_, true) ? Heard::kRepeat : Heard::kNews;
}

Heard RequestProgress::on_finished(ipc::Finished& event) {
  if (event.choice >= choices_.size()) return Heard::kLie;
  auto& choice = choices_[event.choice];
  if (choice.ended) return Heard::kRepeat;
  if (!echo_is_whole(choice) || embedding_told_ != (work_ == ipc::Work::kEmbed)) return Heard::kLie;
  choice.ended = true;
  --open_choices_;
  if (replays_ == 0) {
    if (event.last != (open_choices_ == 0)) return Heard::kLie;
    return Heard::kNews;
  }
  event.last = open_choices_ == 0;
  if (event.last) {
    event.usage.prompt_tokens = prompt_tokens_;
    event.usage.cached_tokens = cached_tokens_;
    event.usage.completion_tokens = generated_tokens_;
  }
  return Heard::kNews;
}

bool RequestProgress::on_runner_died(Blame blame, bool alone) {
  ++replays_;
  ++in_vain_;
  alone_in_vain_ = alone ? alone_in_vain_ + 1 : 0;
  for (auto& choice : choices_) {
    choice.text_skip_bytes = choice.text_told_bytes;
    choice.echo_heard = {};
  }
  embedding_heard_ = false;
  bool kills = false;
  if (blame == Blame::kRunner) {
    kills = alone && is_suspect();
    was_suspected_ = true;
    suspected_at_ = generated_tokens_;
  }
  return !kills && alone_in_vain_ <= kReplaysMax;
}

std::vector<ipc::ResumedChoice> RequestProgress::resumed() const {
  std::vector<ipc::ResumedChoice> resumed;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const auto& [tokens, before] = std::tie(choices_[i].tokens, choices_[i].before);
    const size_t unheard = before.size() - std::min(before.size(), tokens.size());
    const auto& all = unheard > 0 ? before : tokens;
    if (!all.empty()) resumed.push_back({static_cast<uint16_t>(i), all, static_cast<uint32_t>(unheard)});
  }
  return resumed;
}

uint32_t RequestProgress::resumed_tokens() const {
  size_t count = 0;
  for (const Choice& choice : choices_) count += std::max(choice.tokens.size(), choice.before.size());
  return static_cast<uint32_t>(count);
}

}  // namespace deepserve::daemon
