// Bookings from one daemon to the next (an upgrade in place, DESIGN 10): what was promised holds on, and what
// was used up stays so.
#include <cmath>

#include "daemon/admission/booking_desk.h"

namespace deepserve::daemon {
namespace {

void put(const Booking& booking, ByteWriter& out) {
  out.put(booking.serial);
  out.put(booking.model);
  out.put(booking.service_class);
  out.put(booking.cost_s);
  out.put(booking.instant_ns);
}

Booking get_booking(ByteReader& in) {
  Booking booking;
  booking.serial = in.get<uint64_t>();
  booking.model = in.get<uint32_t>();
  booking.service_class = in.get<ipc::Class>();
  booking.cost_s = in.get<double>();
  booking.instant_ns = in.get<uint64_t>();
  return booking;
}

constexpr size_t kBookingBytes = 29;
constexpr size_t kHeldBytes = 38;

}  // namespace

void DrainCalendar::encode(ByteWriter& out) const {
  out.put(next_serial_);
  out.put(static_cast<uint32_t>(lines_.size()));
  for (const Line& one : lines_) out.put(one.claim_rate);
  out.put(static_cast<uint32_t>(claimed_.size()));
  for (const auto& [instant_ns, index] : claimed_) {
    out.put(instant_ns);
    out.put(static_cast<uint32_t>(index));
  }
  out.put(static_cast<uint32_t>(bookings_.size()));
  for (const auto& [serial, booking] : bookings_) put(booking, out);
}

void DrainCalendar::take_over(ByteReader& in, uint64_t now_ns) {
  next_serial_ = std::max(next_serial_, in.get<uint64_t>());
  const uint32_t lines = in.get_count(sizeof(double));
  for (uint32_t i = 0; i < lines; ++i) {
    const auto rate = in.get<double>();
    if (i < lines_.size() && rate > 0 && rate <= 1) lines_[i].claim_rate = rate;
  }
  const auto may_be = [now_ns](uint64_t instant_ns) {
    return instant_ns + kGrace_ns >= now_ns && instant_ns <= now_ns + kHorizon_ns;
  };
  const uint32_t claims = in.get_count(sizeof(uint64_t) + sizeof(uint32_t));
  for (uint32_t i = 0; i < claims; ++i) {
    const auto instant_ns = in.get<uint64_t>();
    const auto index = in.get<uint32_t>();
    const bool fits = index < lines_.size() && claimed_.size() < kBookingsMax && may_be(instant_ns);
    if (fits) claimed_.emplace(instant_ns, index);
  }
  const uint32_t count = in.get_count(kBookingBytes);
  for (uint32_t i = 0; i < count; ++i) {
    const Booking booking = get_booking(in);
    const bool has_line =
        booking.model < lines_.size() / kClasses && booking.service_class < ipc::Class::kCount;
    const bool has_cost = std::isfinite(booking.cost_s) && booking.cost_s > 0;
    const bool is_new = booking.serial != 0 && booking.serial < next_serial_ &&
                        bookings_.size() < kBookingsMax && !bookings_.contains(booking.serial);
    if (in.ok() && has_line && has_cost && is_new && may_be(booking.instant_ns)) insert(booking);
  }
}

void BookingDesk::encode(ByteWriter& out) const {
  calendar_.encode(out);
  out.put(ticked_ns_);
  out.put(static_cast<uint32_t>(used_.size()));
  for (const auto& [until_ns, serial] : used_) {
    out.put(until_ns);
    out.put(serial);
  }
  out.put(static_cast<uint32_t>(held_.size()));
  for (const auto& [serial, held] : held_) {
    out.put(serial);
    out.put(held.holder.client);
    out.put(held.holder.body);
    out.put(held.holder.model);
    out.put(held.holder.service_class);
    out.put(held.holder.by_length);
    out.put(held.by_length.body);
  }
}

void BookingDesk::take_over(ByteReader& in, uint64_t now_ns) {
  calendar_.take_over(in, now_ns);
  ticked_ns_ = std::min(in.get<uint64_t>(), now_ns);
  const uint32_t used = in.get_count(2 * sizeof(uint64_t));
  for (uint32_t i = 0; i < used; ++i) {
    const auto until_ns = in.get<uint64_t>();
    const auto serial = in.get<uint64_t>();
    if (used_.size() < kUsedMax && used_serials_.insert(serial).second) used_.emplace(until_ns, serial);
  }
  const uint32_t count = in.get_count(kHeldBytes);
  for (uint32_t i = 0; i < count; ++i) {
    const auto serial = in.get<uint64_t>();
    Holder holder;
    holder.client = in.get<uint64_t>();
    holder.body = in.get<uint64_t>();
    holder.model = in.get<uint32_t>();
    holder.service_class = in.get<ipc::Class>();
    holder.by_length = in.get<uint8_t>() != 0;
    const Holder by_length{holder.client, in.get<uint64_t>(), Ticket::kAnyModel, ipc::Class::kCount, true};
    const Booking* booking = calendar_.find(serial);
    // The weight is told anew with the client's next booking.
    if (in.ok() && booking != nullptr && !held_.contains(serial)) hold(*booking, holder, by_length, 1);
  }
}

}  // namespace deepserve::daemon
