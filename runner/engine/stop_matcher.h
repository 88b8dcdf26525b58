// Finds stop strings in text that arrives in pieces, and holds back what may be the beginning of one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace deepserve::runner {

// The outcome does not depend on how the text is cut into pieces: the stop string that is completed first
// wins, and of two that end together the longer one.
class StopMatcher {
 public:
  // `stops` must outlive the matcher; none of them is empty.
  explicit StopMatcher(std::span<const std::string> stops) : stops_(stops) {}

  // Takes the next piece and appends to `out` what may be delivered. True: a stop string was completed; all
  // before it is in `out`, it and what follows are dropped.
  bool append(std::string_view text, std::string& out);
  // Appends what is held back to `out`: no more text will come.
  void flush(std::string& out);

 private:
  std::span<const std::string> stops_;
  std::string held_;  // shorter than the longest stop string, between two calls
};

}  // namespace deepserve::runner
