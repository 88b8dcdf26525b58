// What a request's runner keeps for dsd, in Submit::opaque: enough to go on with the request in another life
// of dsd (DESIGN 6), together with the Submit itself.
//
// The encoding is versioned: a reader takes what an older or a newer dsd wrote as long as that says that it
// may, and passes over fields that it does not know.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

inline constexpr uint16_t kKeptVersion = 1;       // of what is written
inline constexpr uint16_t kKeptReadableFrom = 1;  // the oldest reader that understands it

struct KeptRequest {
  RequestId id = 0;
  // As it was taken: clamped class, client by name, prompt perhaps truncated, of the generation what the
  // ladder left. Without `agreed` and `truncates`, which have done their work.
  RequestSpec spec;
  uint64_t arrived_ns = 0;                  // CLOCK_MONOTONIC: it goes on when dsd does not
  uint64_t deadline_ns = 0;                 // of the first token
  Degraded degraded;                        // how its answer is not what was asked for; empty: it is
  std::vector<ipc::ResumedChoice> resumed;  // what it had generated at an earlier runner
};

// For Submit::opaque. Of the spec all but what the Submit says itself.
std::vector<std::byte> encode_kept(const RequestSpec& spec, uint64_t arrived_ns, const Degraded& degraded);

// Never less than what encode_kept makes of it; the part of `degraded` that is bounded by its few words
// included.
uint64_t kept_bytes(const RequestSpec& spec);
// Of the submit that is sent to a runner, its opaque part included: never less than what Submit::encode
// makes.
uint64_t submit_bytes(const RequestSpec& spec);

// The request of a Submit that came back. kBadLane: its opaque part is none of ours, or cut short.
// kNotSupported: a dsd wrote it whose requests this one does not understand; names both versions.
Result<KeptRequest> decode_kept(ipc::Submit&& submit);

}  // namespace deepserve::daemon
