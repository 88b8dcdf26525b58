#include "daemon/admission/drain_calendar.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

constexpr double kLearning = 1.0 / 32;  // the weight of one more outcome
// However few were claimed lately: so much of a booking is always reckoned with.
constexpr double kClaimRateMin = 0.02;

}  // namespace

DrainCalendar::DrainCalendar(uint32_t models, BookingSerial first_serial)
    : lines_(models * kClasses), next_serial_(first_serial) {
  CHECK(first_serial != 0);
}

std::optional<Booking> DrainCalendar::book(uint32_t model, ipc::Class service_class, double cost_s,
                                           const DrainState& drain, uint64_t now_ns, double before_s) {
  expire(now_ns);
  if (!(drain.rate > 0) || bookings_.size() >= kBookingsMax) return std::nullopt;
  const Line& booked = line(model, service_class);
  const uint64_t first = now_ns / kBucket_ns;
  // What is overdue counts as due now: it was promised and may come any moment.
  const double seconds_of_work = booked.claim_rate / drain.rate;
  const double own_s = cost_s * seconds_of_work;
  double free_s =
      (drain.backlog_s + expected_s(model, service_class, now_ns, first * kBucket_ns)) / drain.rate;
  const double earliest_s = drain.backlog_s / drain.rate + before_s * seconds_of_work;
  for (uint64_t bucket = first; bucket <= first + kHorizon_ns / kBucket_ns; ++bucket) {
    const double promised_s = booked.booked_s[bucket % kBuckets] * seconds_of_work;
    if (promised_s <= 0) continue;
    const double begins_s = (static_cast<double>(bucket * kBucket_ns) - static_cast<double>(now_ns)) * 1e-9;
    if (std::max(free_s, earliest_s) + own_s <= begins_s) break;
    free_s = std::max(free_s, begins_s) + promised_s;
  }
  free_s = std::max(free_s, earliest_s);
  if (free_s > static_cast<double>(kHorizon_ns) * 1e-9) return std::nullopt;
  const Booking booking{next_serial_++, model, service_class, cost_s,
                        now_ns + static_cast<uint64_t>(free_s * 1e9)};
  insert(booking);
  return booking;
}

void DrainCalendar::insert(const Booking& booking) {
  Line& booked = line(booking.model, booking.service_class);
  booked.booked_s[booking.instant_ns / kBucket_ns % kBuckets] += booking.cost_s;
  ++booked.open;
  bookings_.emplace(booking.serial, booking);
  by_instant_.emplace(booking.instant_ns, booking.serial);
}

DrainCalendar::Claim DrainCalendar::claim(BookingSerial serial, uint64_t now_ns) {
  expire(now_ns);
  const auto found = bookings_.find(serial);
  if (found == bookings_.end()) return Claim::kUnknown;
  if (now_ns + kEarly_ns < found->second.instant_ns) return Claim::kEarly;
  const Booking booking = take_out(found);
  if (claimed_.size() < kBookingsMax) claimed_.emplace(booking.instant_ns, index_of(booking));
  return Claim::kOnTime;
}

bool DrainCalendar::release(BookingSerial serial) {
  const auto found = bookings_.find(serial);
  if (found == bookings_.end()) return false;
  take_out(found);
  return true;
}

void DrainCalendar::expire(uint64_t now_ns, const std::function<void(const Booking&)>& missed,
                           uint64_t seen_ns) {
  const auto is_over = [now_ns](const auto& by_instant) {
    return !by_instant.empty() && by_instant.begin()->first + kGrace_ns < now_ns;
  };
  while (is_over(by_instant_)) {
    const Booking booking = take_out(bookings_.find(by_instant_.begin()->second));
    learn_claimed(booking.instant_ns);
    if (booking.instant_ns <= seen_ns) learn(index_of(booking), false);
    if (missed) missed(booking);
  }
  if (is_over(claimed_)) learn_claimed(now_ns - kGrace_ns - 1);
}

const Booking* DrainCalendar::find(BookingSerial serial) const {
  const auto found = bookings_.find(serial);
  return found == bookings_.end() ? nullptr : &found->second;
}

double DrainCalendar::expected_s(uint32_t model, ipc::Class service_class, uint64_t now_ns,
                                 uint64_t until_ns) const {
  const Line& booked = line(model, service_class);
  if (booked.open == 0) return 0;
  // All buckets from the oldest open booking to `until_ns`; a bucket is cut by the part of it that is meant.
  const uint64_t oldest =
      std::max(by_instant_.begin()->first, now_ns - std::min(now_ns, kPunctual_ns)) / kBucket_ns;
  const uint64_t last = std::min(until_ns / kBucket_ns, oldest + kBuckets - 1);
  double sum_s = 0;
  for (uint64_t bucket = oldest; bucket <= last; ++bucket) {
    const double part = bucket < until_ns / kBucket_ns
                            ? 1.0
                            : static_cast<double>(until_ns % kBucket_ns) / static_cast<double>(kBucket_ns);
    sum_s += part * booked.booked_s[bucket % kBuckets];
  }
  return sum_s * booked.claim_rate;
}

double DrainCalendar::claim_rate(uint32_t model, ipc::Class service_class) const {
  return line(model, service_class).claim_rate;
}

void DrainCalendar::learn_claimed(uint64_t until_ns) {
  while (!claimed_.empty() && claimed_.begin()->first <= until_ns) {
    learn(claimed_.begin()->second, true);
    claimed_.erase(claimed_.begin());
  }
}

void DrainCalendar::learn(size_t line_index, bool claimed) {
  double& rate = lines_[line_index].claim_rate;
  rate = std::max(kClaimRateMin, rate + kLearning * ((claimed ? 1.0 : 0.0) - rate));
}

Booking DrainCalendar::take_out(std::unordered_map<BookingSerial, Booking>::iterator found) {
  const Booking booking = found->second;
  bookings_.erase(found);
  auto [at, end] = by_instant_.equal_range(booking.instant_ns);
  while (at != end && at->second != booking.serial) ++at;
  CHECK(at != end);
  by_instant_.erase(at);
  Line& booked = line(booking.model, booking.service_class);
  double& in_bucket = booked.booked_s[booking.instant_ns / kBucket_ns % kBuckets];
  in_bucket = std::max(0.0, in_bucket - booking.cost_s);
  if (--booked.open == 0) booked.booked_s.fill(0.0);  // no rounding is left behind
  return booking;
}

}  // namespace deepserve::daemon
