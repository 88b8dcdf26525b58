// What a client agrees to get instead of what it asked for, rather than being refused (DESIGN 7): the opt-in
// steps of the brownout ladder. In words as X-Deepserve-Degraded announces them.
#pragma once

#include <optional>
#include <string_view>

namespace deepserve::daemon {

struct Agreement {
  bool truncated_context = false;  // a long prompt without its middle or its beginning (prompt_cut.h)
  bool smaller_model = false;      // the answer of a fallback of the model

  bool operator==(const Agreement&) const = default;
};

inline constexpr std::string_view kTruncatedContext = "truncated_context";
inline constexpr std::string_view kSmallerModel = "smaller_model";
inline constexpr std::string_view kAgreementWords = "truncated_context or smaller_model";

// Adds what `word` says; false: it is none of these.
inline bool agree(Agreement& agreement, std::string_view word) {
  if (word == kTruncatedContext) return agreement.truncated_context = true;
  if (word == kSmallerModel) return agreement.smaller_model = true;
  return false;
}

}  // namespace deepserve::daemon
