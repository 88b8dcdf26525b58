// What is remembered of a runner's lives from one dsd to the next in the same process (an upgrade in place).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ipc/base/bytes.h"

namespace deepserve::daemon {

struct SupervisionRecord {
  uint32_t restarts = 0;
  uint32_t unready_kills = 0;
  bool failed = false;           // for good, unless an operator says otherwise
  uint64_t backoff_ns = 0;       // before the restart after the next blamed death
  uint64_t timer_at_ns = 0;      // it waits until then to be started again; 0: it does not
  std::vector<uint64_t> deaths;  // the blamed ones of late, CLOCK_MONOTONIC
  std::string last_error;
  std::string last_reason;

  bool operator==(const SupervisionRecord&) const = default;

  void encode(ByteWriter& out) const;
  // Leaves it to the caller to look at in.ok().
  static SupervisionRecord decode(ByteReader& in);
};

}  // namespace deepserve::daemon
