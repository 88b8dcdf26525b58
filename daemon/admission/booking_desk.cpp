#include "daemon/admission/booking_desk.h"

#include <algorithm>

namespace deepserve::daemon {
namespace {

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

BookingDesk::BookingDesk(uint32_t models, const TicketKey& key, uint64_t epoch, BookingSerial first_serial)
    : calendar_(models, first_serial), office_(key, epoch) {}

size_t BookingDesk::HolderHash::operator()(const Holder& holder) const {
  const uint64_t small = uint64_t{holder.model} << 8 | static_cast<uint64_t>(holder.service_class) << 1 |
                         (holder.by_length ? 1 : 0);
  return mixed(holder.client ^ mixed(holder.body + small));
}

BookingDesk::Holder BookingDesk::holder_of(const Claimant& claimant, bool by_length) {
  return {claimant.hash_of_client(), by_length ? claimant.body_bytes : claimant.body_hash,
          claimant.any_model ? Ticket::kAnyModel : claimant.model,
          claimant.any_class ? ipc::Class::kCount : claimant.service_class, by_length};
}

BookingDesk::Holder BookingDesk::length_of(const Claimant& claimant) {
  return {claimant.hash_of_client(), claimant.body_bytes, Ticket::kAnyModel, ipc::Class::kCount, true};
}

bool BookingDesk::is_any(const Holder& holder) {
  return holder.model == Ticket::kAnyModel || holder.service_class == ipc::Class::kCount;
}

// Of this body first; else one that was made before the body was known. Null: there is none.
const BookingDesk::Slots* BookingDesk::find_open(const Claimant& claimant) const {
  if (by_holder_.empty()) return nullptr;
  for (const bool by_length : {false, true}) {
    if (!by_length && claimant.body_hash == 0) continue;
    const auto found = by_holder_.find(holder_of(claimant, by_length));
    if (found != by_holder_.end()) return &found->second;
  }
  return any_open_ == 0 ? nullptr : find_any(claimant);
}

// One that was made when less was known of what was asked.
const BookingDesk::Slots* BookingDesk::find_any(const Claimant& claimant) const {
  for (const auto& [any_model, any_class] : {std::pair{true, false}, {false, true}, {true, true}}) {
    Claimant vague = claimant;
    vague.any_model = vague.any_model || any_model;
    vague.any_class = vague.any_class || any_class;
    const auto found = by_holder_.find(holder_of(vague, true));
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
    const BookedShares::Place place{claimant.hash_of_client(), claimant.model, claimant.service_class};
    const double before_s = shares_.work_before_s(place);
    booking = calendar_.book(claimant.model, claimant.service_class, cost_s, line, now_ns, before_s);
    if (!booking) {
      return {false, kFarMin_ms + mixed(request) % (kFarMax_ms - kFarMin_ms + 1), 0, 0, {}};
    }
    hold(*booking, holder_of(claimant, claimant.body_hash == 0), length_of(claimant), claimant.weight);
  }
  const uint64_t wait_ns = std::max(booking->instant_ns, now_ns) - now_ns;
  return {true, std::max(kRetryMin_ms, (wait_ns + kMillisecond_ns - 1) / kMillisecond_ns),
          booking->instant_ns, booking->serial,
          office_.issue(claimant, booking->serial, booking->instant_ns)};
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
  calendar_.expire(
      now_ns, [this](const Booking& missed) { forget(missed.serial); }, ticked_ns_);
  ticked_ns_ = std::max(ticked_ns_, now_ns);
  while (!used_.empty() && used_.begin()->first < now_ns) {
    used_serials_.erase(used_.begin()->second);
    used_.erase(used_.begin());
  }
}

bool BookingDesk::may_be_due(const Claimant& claimant, uint64_t now_ns) const {
  if (by_length_.empty()) return false;
  const auto found = by_length_.find(length_of(claimant));
  if (found == by_length_.end()) return false;
  const auto& [instant_ns, serial] = *found->second.begin();
  return judge(instant_ns, serial, false, now_ns).outcome == TicketOutcome::kOnTime;
}

void BookingDesk::hold(const Booking& booking, const Holder& holder, const Holder& by_length, double weight) {
  by_holder_[holder].emplace(booking.instant_ns, booking.serial);
  if (!holder.by_length) by_length_[by_length].emplace(booking.instant_ns, booking.serial);
  any_open_ += is_any(holder) ? 1 : 0;
  const BookedShares::Place place{holder.client, booking.model, booking.service_class};
  shares_.add(place, weight, booking.cost_s);
  held_.emplace(booking.serial, Held{holder, by_length, booking.instant_ns, place, booking.cost_s});
}

void BookingDesk::take_out(SlotsOf& slots, const Holder& holder,
                           const std::pair<uint64_t, BookingSerial>& slot) {
  const auto found = slots.find(holder);
  found->second.erase(slot);
  if (found->second.empty()) slots.erase(found);
}

void BookingDesk::forget(BookingSerial serial) {
  const auto found = held_.find(serial);
  if (found == held_.end()) return;
  const Held& held = found->second;
  any_open_ -= is_any(held.holder) ? 1 : 0;
  shares_.remove(held.place, held.cost_s);
  take_out(by_holder_, held.holder, {held.instant_ns, serial});
  if (!held.holder.by_length) take_out(by_length_, held.by_length, {held.instant_ns, serial});
  held_.erase(found);
}

}  // namespace deepserve::daemon
