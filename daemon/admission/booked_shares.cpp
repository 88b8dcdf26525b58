#include "daemon/admission/booked_shares.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::daemon {

size_t BookedShares::PlaceHash::operator()(const Place& place) const {
  return (place.client ^ line_of(place)) * 0x9e3779b97f4a7c15;  // the client's is a hash already
}

void BookedShares::add(const Place& place, double weight, double cost_s) {
  CHECK(weight > 0);
  Share& share = shares_[place];
  Line& line = lines_[line_of(place)];
  if (share.bookings == 0) {
    ++line.clients;
  } else {
    line.weights -= share.weight;
  }
  line.weights += weight;
  share.weight = weight;
  share.booked_s += cost_s;
  ++share.bookings;
}

void BookedShares::remove(const Place& place, double cost_s) {
  const auto found = shares_.find(place);
  CHECK(found != shares_.end());
  Share& share = found->second;
  share.booked_s = std::max(0.0, share.booked_s - cost_s);
  if (--share.bookings > 0) return;
  const auto line = lines_.find(line_of(place));
  line->second.weights -= share.weight;
  if (--line->second.clients == 0) lines_.erase(line);  // no rounding is left behind
  shares_.erase(found);
}

double BookedShares::work_before_s(const Place& place) const {
  const auto found = shares_.find(place);
  if (found == shares_.end()) return 0;
  const Share& share = found->second;
  const double weights = std::max(lines_.at(line_of(place)).weights, share.weight);
  return share.booked_s * weights / share.weight;
}

}  // namespace deepserve::daemon
