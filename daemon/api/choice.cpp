#include "daemon/api/choice.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace deepserve::daemon {
namespace {

double mean_logprob(const Choice& choice) {
  if (choice.tokens == 0) return -std::numeric_limits<double>::infinity();
  return choice.logprob_sum / choice.tokens;
}

// The text of an echoed prompt's first token: what the others of its delta leave over. Nothing predicts that
// token, so that no log probability names it.
std::string_view first_token_text(const ipc::Delta& event) {
  size_t others_bytes = 0;
  for (const auto& alternatives : event.logprobs) {
    if (!alternatives.empty()) others_bytes += alternatives[0].text.size();
  }
  const size_t bytes = event.text.size() > others_bytes ? event.text.size() - others_bytes : 0;
  return std::string_view(event.text).substr(0, bytes);
}

}  // namespace

void Choice::take(const ipc::Delta& event, bool chat, uint8_t top) {
  reader.take(event.text, text, calls);
  if (!event.echo) {
    tokens += static_cast<uint32_t>(event.tokens.size());
    for (const auto& alternatives : event.logprobs) {
      if (!alternatives.empty()) logprob_sum += static_cast<double>(alternatives[0].logprob);
    }
  }
  if (top == ipc::kNoLogprobs) return;
  for (size_t i = 0; i < event.logprobs.size(); ++i) {
    const auto& alternatives = event.logprobs[i];
    if (!alternatives.empty()) {
      logprobs.add(chat, top, alternatives);
    } else if (event.echo && event.index + i == 0) {
      logprobs.add_unpredicted(chat, first_token_text(event));
    }
  }
}

size_t Choice::held_bytes() const {
  size_t bytes = text.size() + logprobs.bytes() + reader.held_bytes();
  for (const ToolCall& call : calls) bytes += sizeof(ToolCall) + call.name.size() + call.arguments.size();
  return bytes;
}

void Choice::finish_with(ipc::FinishReason reason) {
  reader.finish(text, calls);
  finish = reason;
}

void Choice::release() {
  clear_keeping_little(text);
  calls_told += calls.size();
  calls.clear();
  logprobs.clear();
}

std::vector<size_t> best_choices(const std::vector<Choice>& choices, size_t first, size_t count,
                                 size_t told) {
  std::vector<size_t> places(count);
  std::iota(places.begin(), places.end(), first);
  std::stable_sort(places.begin(), places.end(), [&choices](size_t a, size_t b) {
    return mean_logprob(choices[a]) > mean_logprob(choices[b]);
  });
  places.resize(std::min(told, count));
  return places;
}

}  // namespace deepserve::daemon
