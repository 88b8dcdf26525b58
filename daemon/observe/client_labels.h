// Which clients have a label of their own in the metrics: the first kLabels that asked; all others share one.
// However many clients there are, the metrics stay small, and no series ever changes its meaning.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace deepserve::daemon {

class ClientLabels {
 public:
  static constexpr size_t kLabels = 32;
  static constexpr std::string_view kOther = "other";

  // Valid as long as this object and `client`.
  std::string_view label(std::string_view client) {
    if (const auto known = names_.find(client); known != names_.end()) return *known;
    if (names_.size() >= kLabels) return kOther;
    return *names_.emplace(client).first;
  }

 private:
  std::set<std::string, std::less<>> names_;
};

}  // namespace deepserve::daemon
