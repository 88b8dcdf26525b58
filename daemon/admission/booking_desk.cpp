#include "daemon/admission/booking_desk.h"

#include <algorithm>
#include <array>

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(TicketOutcome::kCount)> kNames = {
    "none", "on_time", "early", "expired", "forged", "foreign", "replayed"};
static_assert(!kNames.back().empty());

constexpr TicketOutcome outcome_of(TicketFault fault) {
  switch (fault) {
    case TicketFault::kForged:
      return TicketOutcome::kForged;
    case TicketFault::kForeign:
      return TicketOutcome::kForeign;
    default:
      return TicketOutcome::kExpired;
  }
}

// splitmix64's finish: neighbouring numbers become unlike each other.
uint64_t mixed(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

std::string_view ticket_outcome_name(TicketOutcome value) {
  return kNames.at(static_cast<size_t>(value));
}

BookingDesk::BookingDesk(uint32_t models, const TicketKey& key, uint64_t epoch, BookingSerial first_serial)
    : calendar_(models, first_serial), office_(key, epoch) {}

size_t BookingDesk::HolderHash::operator()(const Holder& holder) const {
  const uint64_t small = uint64_t{holder.model} << 8 | static_cast<uint64_t>(holder.service_class) << 1 |
                         (holder.by_length ? 1 : 0);
  return mixed(holder.client ^ mixed(holder.body + small));
}

BookingDesk::Holder BookingDesk::holder_of(const Claimant& claimant, bool by_length) {
  return {short_hash(claimant.client), by_length ? claimant.body_bytes : claimant.body_hash, claimant.model,
          claimant.service_class, by_length};
}

// Of this body first; else one that was made before the body was known. Null: there is none.
const BookingDesk::Slots* BookingDesk::find_open(const Claimant& claimant) const {
  if (by_holder_.empty()) return nullptr;
  for (const bool by_length : {false, true}) {
    if (!by_length && claimant.body_hash == 0) continue;
    const auto found = by_holder_.find(holder_of(claimant, by_length));
    if (found != by_holder_.end()) return &found->second;
  }
  return nullptr;
}

BookingDesk::Offer BookingDesk::offer(const Claimant& claimant, double cost_s, const DrainState& line,
                                      ipc::RequestId request, const Redeemed& back, uint64_t now_ns) {
  tick(now_ns);
  const bool keeps_slot = back.outcome == TicketOutcome::kEarly && back.by_ticket;
  std::optional<Booking> booking;
  if (const Booking* own = keeps_slot ? calendar_.find(back.serial) : nullptr) {
    booking = *own;
  } else if (const Slots* slots = find_open(claimant); slots != nullptr && slots->size() >= kEqualMax) {
    booking = *calendar_.find(slots->rbegin()->second);
  } else {
    booking = calendar_.book(claimant.model, claimant.service_class, cost_s, line, now_ns);
    if (!booking) {
      return {false, kFarMin_ms + mixed(request) % (kFarMax_ms - kFarMin_ms + 1), 0, {}};
    }
    const Holder holder = holder_of(claimant, claimant.body_hash == 0);
    by_holder_[holder].emplace(booking->instant_ns, booking->serial);
    holders_.emplace(booking->serial, std::pair(holder, booking->instant_ns));
  }
  const uint64_t wait_ns = std::max(booking->instant_ns, now_ns) - now_ns;
  return {true, std::max(kRetryMin_ms, (wait_ns + kMillisecond_ns - 1) / kMillisecond_ns),
          booking->instant_ns, office_.issue(claimant, booking->serial, booking->instant_ns)};
}

BookingDesk::Redeemed BookingDesk::judge(uint64_t instant_ns, BookingSerial serial, bool by_ticket,
                                         uint64_t now_ns) {
  const bool late = instant_ns + DrainCalendar::kGrace_ns < now_ns;
  const bool never_promised = now_ns + DrainCalendar::kHorizon_ns < instant_ns;
  if (late || never_promised) return {TicketOutcome::kExpired, 0, 0, false};
  const bool early = now_ns + DrainCalendar::kEarly_ns < instant_ns;
  return {early ? TicketOutcome::kEarly : TicketOutcome::kOnTime, serial, instant_ns, by_ticket};
}

BookingDesk::Redeemed BookingDesk::look(const Claimant& claimant, std::string_view text,
                                        uint64_t now_ns) const {
  if (text.empty()) {
    const Slots* slots = find_open(claimant);
    if (slots == nullptr) return {};
    return judge(slots->begin()->first, slots->begin()->second, false, now_ns);
  }
  const auto checked = office_.check(text, claimant);
  if (checked.fault != TicketFault::kNone) return {outcome_of(checked.fault), 0, 0, false};
  if (used_serials_.contains(checked.ticket.serial)) return {TicketOutcome::kReplayed, 0, 0, false};
  return judge(checked.ticket.instant_ns, checked.ticket.serial, true, now_ns);
}

BookingDesk::Redeemed BookingDesk::redeem(const Claimant& claimant, std::string_view text, uint64_t now_ns) {
  tick(now_ns);
  const Redeemed found = look(claimant, text, now_ns);
  if (found.outcome != TicketOutcome::kOnTime) return found;
  if (used_.size() >= kUsedMax) return {};
  used_.emplace(found.instant_ns + DrainCalendar::kGrace_ns, found.serial);
  used_serials_.insert(found.serial);
  forget(found.serial);
  calendar_.claim(found.serial, now_ns);  // not there: of an earlier life of the daemon
  return found;
}

void BookingDesk::release(BookingSerial serial) {
  forget(serial);
  calendar_.release(serial);
}

void BookingDesk::tick(uint64_t now_ns) {
  calendar_.expire(now_ns, [this](const Booking& missed) { forget(missed.serial); });
  while (!used_.empty() && used_.begin()->first < now_ns) {
    used_serials_.erase(used_.begin()->second);
    used_.erase(used_.begin());
  }
}

void BookingDesk::forget(BookingSerial serial) {
  const auto found = holders_.find(serial);
  if (found == holders_.end()) return;
  const auto& [holder, instant_ns] = found->second;
  const auto slots = by_holder_.find(holder);
  slots->second.erase({instant_ns, serial});
  if (slots->second.empty()) by_holder_.erase(slots);
  holders_.erase(found);
}

}  // namespace deepserve::daemon
