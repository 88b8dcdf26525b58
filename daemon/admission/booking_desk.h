// Where refused requests book their return and where they come back (DESIGN 7): the drain calendar, the
// tickets for its slots, and who holds which. Pure.
//
//   arrival:  const auto back = desk.redeem(claimant, ticket_text, now_ns);
//             back.outcome is kOnTime: it goes ahead of fresh arrivals. Anything else: it is a fresh one.
//   admitted: desk.release(back.serial) of one that came early: its slot is free again.
//   refused:  const auto offer = desk.offer(claimant, cost_s, line, request, now_ns);
//
// A ticket that is expired, forged, foreign or used up is as none: it never helps, and it never hurts.
// Without a ticket the booking is found by client and body (by its length where the body is not known).
// Whoever is refused again before his instant hears of the same slot again: asking often books nothing more.
// Clients book by their weights, whoever asks more often (booked_shares.h).
//
// Bounded: kUsedMax remembered claims besides the calendar's own bookings. Where no more claims can be
// remembered, none is honoured until the oldest are out of date.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "daemon/admission/booked_shares.h"
#include "daemon/admission/drain_calendar.h"
#include "daemon/admission/ticket.h"

namespace deepserve::daemon {

enum class TicketOutcome : uint8_t {
  kNone,      // no ticket, and no booking was found
  kOnTime,    // its slot has come: used up now
  kEarly,     // its slot is still to come: stays open
  kExpired,   // its slot is gone
  kForged,    // not ours
  kForeign,   // another client's, or for another model, class or body
  kReplayed,  // used up before
};

class BookingDesk {
 public:
  static constexpr size_t kUsedMax = 65'536;
  static constexpr size_t kEqualMax = 1'024;
  // Beyond the horizon, so that they do not all come back at once: spread evenly over this.
  static constexpr uint64_t kFarMin_ms = 30'000;
  static constexpr uint64_t kFarMax_ms = 60'000;
  static constexpr uint64_t kRetryMin_ms = 50;

  // `epoch`: see TicketOffice. `first_serial`: random, so that two lives of a daemon do not share serials.
  BookingDesk(uint32_t models, const TicketKey& key, uint64_t epoch, BookingSerial first_serial);
  // More models, behind those that there are.
  void grow(uint32_t models) { calendar_.grow(models); }

  struct Offer {
    bool booked = false;          // else it is beyond the horizon: no promise
    uint64_t retry_after_ms = 0;  // from now on
    uint64_t instant_ns = 0;      // of the slot; 0: none
    BookingSerial serial = 0;     // of the slot; 0: none
    std::string ticket;           // empty: none
  };
  struct Redeemed {
    TicketOutcome outcome = TicketOutcome::kNone;
    BookingSerial serial = 0;  // kOnTime, kEarly: the booking's
    uint64_t instant_ns = 0;   // kOnTime, kEarly: when it was told to come
    bool by_ticket = false;    // kOnTime, kEarly: it showed its ticket
  };
  // `cost_s` above 0; `request` spreads those who get no slot; `back`: what redeem() or look() said of it.
  Offer offer(const Claimant& claimant, double cost_s, const DrainState& line, ipc::RequestId request,
              const Redeemed& back, uint64_t now_ns);

  // `ticket`: as the client sent it; empty: none.
  Redeemed redeem(const Claimant& claimant, std::string_view ticket, uint64_t now_ns);
  // The same without using anything up: at stage 0, where the body is still to come.
  Redeemed look(const Claimant& claimant, std::string_view ticket, uint64_t now_ns) const;
  // Whether the claimant, of whose body only the length is known, may have a slot now that was booked when
  // the body was known: that body then says whether it has.
  bool may_be_due(const Claimant& claimant, uint64_t now_ns) const;
  // It was served ahead of its slot. Unknown serials and 0 are none.
  void release(BookingSerial serial);

  // For the desk of a next daemon with the same key and models: which slots are whose, and which tickets are
  // used up. A malformed encoding refuses `in`. Before anything else.
  void encode(ByteWriter& out) const;
  void take_over(ByteReader& in, uint64_t now_ns);

  // Forgets what is out of date; at least once a second or so.
  void tick(uint64_t now_ns);

  const DrainCalendar& calendar() const { return calendar_; }

 private:
  // Client, then body: its hash or, where that is not known, its length (`by_length`). What was not known
  // either has a model, or a class, that there is not.
  struct Holder {
    uint64_t client = 0;
    uint64_t body = 0;
    uint32_t model = 0;
    ipc::Class service_class = ipc::Class::kNormal;
    bool by_length = false;
    bool operator==(const Holder&) const = default;
  };
  struct HolderHash {
    size_t operator()(const Holder& holder) const;
  };

  using Slots = std::set<std::pair<uint64_t, BookingSerial>>;  // by instant
  using SlotsOf = std::unordered_map<Holder, Slots, HolderHash>;
  struct Held {
    Holder holder;
    Holder by_length;  // under which may_be_due() finds it
    uint64_t instant_ns = 0;
    BookedShares::Place place;
    double cost_s = 0;
  };

  static Redeemed judge(uint64_t instant_ns, BookingSerial serial, bool by_ticket, uint64_t now_ns);
  static bool is_any(const Holder& holder);
  static Holder holder_of(const Claimant& claimant, bool by_length);
  static Holder length_of(const Claimant& claimant);  // whatever the model and class
  void hold(const Booking& booking, const Holder& holder, const Holder& by_length, double weight);
  static void take_out(SlotsOf& slots, const Holder& holder, const std::pair<uint64_t, BookingSerial>& slot);
  const Slots* find_open(const Claimant& claimant) const;
  const Slots* find_any(const Claimant& claimant) const;
  void forget(BookingSerial serial);

  DrainCalendar calendar_;
  const TicketOffice office_;
  uint64_t ticked_ns_ = 0;  // what came due and went since, nobody could have claimed
  SlotsOf by_holder_;
  SlotsOf by_length_;  // those that were booked by their bodies
  std::unordered_map<BookingSerial, Held> held_;
  BookedShares shares_;                          // of what is in held_
  size_t any_open_ = 0;                          // of whose holders not all was known
  std::multimap<uint64_t, BookingSerial> used_;  // by the end of the ticket's grace
  std::unordered_set<BookingSerial> used_serials_;
};

}  // namespace deepserve::daemon
