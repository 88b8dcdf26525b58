#include "tests/crash/lane_kill/ledger.h"

#include <algorithm>
#include <cstring>

namespace deepserve::crash {
namespace {

// splitmix64: every bit of the output depends on every bit of the input.
uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

void make_body(uint64_t seed, uint64_t number, std::vector<std::byte>& body) {
  uint64_t state = mix(seed ^ mix(number));
  // Of eight: six fit a slot, one is a few hundred bytes, one is of any size.
  const uint64_t kind = state % 8;
  const size_t limit = kind < 6 ? 40 : kind == 6 ? 600 : kBody_bytes_max - sizeof number;
  const size_t tail_bytes = (state >> 8) % (limit + 1);
  body.resize(sizeof number + tail_bytes);
  std::memcpy(body.data(), &number, sizeof number);
  for (size_t at = sizeof number; at < body.size(); at += sizeof state) {
    state = mix(state);
    std::memcpy(body.data() + at, &state, std::min(sizeof state, body.size() - at));
  }
}

void Bookkeeper::book(std::span<const std::byte> message) {
  uint64_t number = 0;
  if (message.size() < sizeof number) {
    ++ledger_.torn;
    return;
  }
  std::memcpy(&number, message.data(), sizeof number);
  make_body(seed_, number, expected_);
  if (!std::ranges::equal(message, expected_)) ++ledger_.torn;
  if (has_previous_ && number != previous_ + 1) ++ledger_.disordered;
  has_previous_ = true;
  previous_ = number;
  const uint64_t next = ledger_.next.load();
  if (number < next) {
    ++ledger_.repeats;
  } else if (number > next) {
    ++ledger_.lost;
  } else {
    ledger_.next.store(next + 1);
  }
}

}  // namespace deepserve::crash
