// When refused work may come back: slots of work up to a horizon (DESIGN 7). Pure.
//
// A line is what one class may use of one model. Its owner says how much admitted work is ahead of a newcomer
// and how fast the line drains; the calendar adds the bookings and answers with the earliest instant at which
// all work before it is done, and from which on this work is done before the next promised instant, so that
// gaps are filled and no promise is broken by a later one. A booking counts as its cost times the line's
// learnt claim rate: the share of past bookings that were claimed. It is learnt of each booking when its
// grace is over: were claims counted as they come and misses when it is certain, a pause of the claims would
// look like misses alone, and far too much would be promised behind it.
//
// A slot orders the queue and never idles a runner: nothing waits for a booking. Who admits fresh work counts
// expected_s() as work ahead of it. Bookings lie in buckets of kBucket_ns by their instant: a booking costs a
// walk over kBuckets numbers, whatever their count.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "ipc/base/bytes.h"
#include "ipc/base/clock.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// The state of one line now. Work is in seconds of its model's runners.
struct DrainState {
  double backlog_s = 0;  // admitted and not done, of this class and of those that go before it
  double rate = 0;       // seconds of work done a second; 0: it does not drain
};

using BookingSerial = uint64_t;  // from 1 on; 0: none

struct Booking {
  BookingSerial serial = 0;
  uint32_t model = 0;
  ipc::Class service_class = ipc::Class::kNormal;
  double cost_s = 0;
  uint64_t instant_ns = 0;  // when its work may begin
};

class DrainCalendar {
 public:
  static constexpr uint64_t kHorizon_ns = 60 * kSecond_ns;
  // Retry-After is in whole seconds, rounded up, and clients are not punctual: so much later is on time.
  static constexpr uint64_t kGrace_ns = 5 * kSecond_ns;
  // Clocks and networks: so much earlier is on time as well.
  static constexpr uint64_t kEarly_ns = kSecond_ns / 4;
  static constexpr uint64_t kBucket_ns = kSecond_ns / 4;
  // Who is later than this hardly comes any more, and is reckoned with no longer.
  static constexpr uint64_t kPunctual_ns = kSecond_ns;
  static constexpr size_t kBookingsMax = 32'768;

  // `first_serial` keeps the serials of two lives of a daemon apart.
  DrainCalendar(uint32_t models, BookingSerial first_serial = 1);
  // More models, behind those that there are.
  void grow(uint32_t models) { lines_.resize(models * kClasses); }

  // A slot for `cost_s` (above 0) of work, after the line's backlog and, gap or not, `before_s` of bookings.
  // Nothing: it lies beyond the horizon, the line does not drain, or kBookingsMax are open.
  std::optional<Booking> book(uint32_t model, ipc::Class service_class, double cost_s, const DrainState& line,
                              uint64_t now_ns, double before_s = 0);

  enum class Claim : uint8_t {
    kOnTime,   // the booking is used up
    kEarly,    // it stays open
    kUnknown,  // claimed, missed or released before, or of another life of the daemon
  };
  Claim claim(BookingSerial serial, uint64_t now_ns);
  // Its work was served without it: nothing is learnt. False: it is not open.
  bool release(BookingSerial serial);
  // Takes out what nobody claimed until its grace was over, and tells each. Cheap when there is none. Of what
  // came due after `seen_ns` nothing is learnt: nobody was there to claim it from.
  void expire(uint64_t now_ns, const std::function<void(const Booking&)>& missed = {},
              uint64_t seen_ns = UINT64_MAX);

  // For the calendar of a next daemon, which has the same lines: the open bookings, what was learnt, and the
  // serials that are taken. Of bookings whose time is over, or that cannot be, it takes none; a malformed
  // encoding refuses `in`. Before anything else.
  void encode(ByteWriter& out) const;
  void take_over(ByteReader& in, uint64_t now_ns);

  const Booking* find(BookingSerial serial) const;  // null: not open
  // Work of open bookings up to `until_ns` that is expected to be claimed; with what is overdue by no more
  // than kPunctual_ns.
  double expected_s(uint32_t model, ipc::Class service_class, uint64_t now_ns, uint64_t until_ns) const;
  // Of past bookings, the recent ones counting most; 1 before any has come to its end.
  double claim_rate(uint32_t model, ipc::Class service_class) const;
  size_t open() const { return bookings_.size(); }

 private:
  static constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);
  // The horizon, what is overdue, and the two buckets that are cut at either end.
  static constexpr size_t kBuckets = (kHorizon_ns + kGrace_ns) / kBucket_ns + 2;
  struct Line {
    std::array<double, kBuckets> booked_s{};  // by instant / kBucket_ns modulo kBuckets
    double claim_rate = 1.0;
    uint32_t open = 0;
  };

  Line& line(uint32_t model, ipc::Class service_class) {
    return lines_[model * kClasses + static_cast<size_t>(service_class)];
  }
  const Line& line(uint32_t model, ipc::Class service_class) const {
    return lines_[model * kClasses + static_cast<size_t>(service_class)];
  }
  static size_t index_of(const Booking& booking) {
    return booking.model * kClasses + static_cast<size_t>(booking.service_class);
  }
  void insert(const Booking& booking);
  void learn_claimed(uint64_t until_ns);
  void learn(size_t line_index, bool claimed);
  Booking take_out(std::unordered_map<BookingSerial, Booking>::iterator found);

  std::vector<Line> lines_;
  std::unordered_map<BookingSerial, Booking> bookings_;
  std::multimap<uint64_t, BookingSerial> by_instant_;
  std::multimap<uint64_t, size_t> claimed_;  // whose grace is not over, by instant: index in lines_
  BookingSerial next_serial_;
};

}  // namespace deepserve::daemon
