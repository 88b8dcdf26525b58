#include "runner/model/tokenizer/normalizer.h"

#include "runner/model/tokenizer/unicode_normalization.h"

namespace deepserve::runner {
namespace {

// Three conjoining jamo, nine bytes, become one syllable of three; no composition does more.
constexpr uint32_t kCompositionShrinks = 3;

NormalForm form_of(NormalizerStep::Kind kind) {
  switch (kind) {
    case NormalizerStep::Kind::kNfd:
      return NormalForm::kNfd;
    case NormalizerStep::Kind::kNfkc:
      return NormalForm::kNfkc;
    case NormalizerStep::Kind::kNfkd:
      return NormalForm::kNfkd;
    default:
      return NormalForm::kNfc;
  }
}

}  // namespace

std::string with_replaced(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string replaced;
  replaced.reserve(text.size() + text.size() / 4);
  for (size_t found = text.find(pattern); found != text.npos; found = text.find(pattern)) {
    replaced.append(text.substr(0, found)).append(content);
    text.remove_prefix(found + pattern.size());
  }
  return replaced.append(text);
}

Normalizer::Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {
  std::string changed;
  apply("\u0301", changed);  // makes the forms' tables now, not under the first request
}

std::string_view Normalizer::apply(std::string_view text, std::string& changed) const {
  std::string next;
  for (const NormalizerStep& step : steps_) {
    if (text.empty()) break;
    switch (step.kind) {
      case NormalizerStep::Kind::kPrepend:
        next.assign(step.content).append(text);
        break;
      case NormalizerStep::Kind::kReplace:
        if (text.find(step.pattern) == text.npos) continue;
        next = with_replaced(text, step.pattern, step.content);
        break;
      default:
        if (normalize(text, form_of(step.kind), next).data() == text.data()) continue;
        break;
    }
    changed.swap(next);
    text = changed;
  }
  return text;
}

std::optional<uint32_t> Normalizer::shrinks_at_most() const {
  uint32_t factor = 1;
  for (const NormalizerStep& step : steps_) {
    if (step.kind == NormalizerStep::Kind::kPrepend) continue;
    if (step.kind != NormalizerStep::Kind::kReplace) {
      factor *= kCompositionShrinks;
    } else if (step.content.empty()) {
      return std::nullopt;
    } else {
      factor *= static_cast<uint32_t>(1 + step.pattern.size() / step.content.size());
    }
    if (factor > 1000) return std::nullopt;
  }
  return factor;
}

}  // namespace deepserve::runner
