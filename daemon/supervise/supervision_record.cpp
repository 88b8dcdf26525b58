#include "daemon/supervise/supervision_record.h"

namespace deepserve::daemon {

void SupervisionRecord::encode(ByteWriter& out) const {
  out.put(restarts);
  out.put(unready_kills);
  out.put(failed);
  out.put(backoff_ns);
  out.put(timer_at_ns);
  out.put_array<uint64_t>(deaths);
  out.put_string(last_error);
  out.put_string(last_reason);
}

SupervisionRecord SupervisionRecord::decode(ByteReader& in) {
  SupervisionRecord record;
  record.restarts = in.get<uint32_t>();
  record.unready_kills = in.get<uint32_t>();
  record.failed = in.get<uint8_t>() != 0;
  record.backoff_ns = in.get<uint64_t>();
  record.timer_at_ns = in.get<uint64_t>();
  record.deaths = in.get_array<uint64_t>();
  record.last_error = in.get_string();
  record.last_reason = in.get_string();
  return record;
}

}  // namespace deepserve::daemon
