// What the runner of a request keeps for the API (RequestSpec::opaque): enough to go on with its answer in
// another life of dsd, together with what the request itself says.
//
// Versioned as serving/kept_request.h is: a reader takes what an older or a newer dsd wrote as long as that
// says that it may, and passes over fields that it does not know.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/api/answer_terms.h"
#include "daemon/api/completion_spec.h"

namespace deepserve::daemon {

inline constexpr uint16_t kBlobVersion = 1;       // of what is written
inline constexpr uint16_t kBlobReadableFrom = 1;  // the oldest reader that understands it

struct AnswerBlob {
  AnswerTerms terms;
  uint32_t member = 0;  // its place among the requests of its answer
  bool embeds = false;  // the answer is vectors, and of `shape` nothing counts
  CompletionShape shape;
  uint32_t dimensions = 0;
  bool base64 = false;
};

std::vector<std::byte> encode_blob(const AnswerBlob& blob);

// kBadLane: it is none, or cut short. kNotSupported: a dsd wrote it that this one does not understand.
Result<AnswerBlob> decode_blob(std::span<const std::byte> bytes);

// How long the requests of one answer may take to come back after the first of them, and what an answer fails
// with if they do not.
inline constexpr uint64_t kAdoptionMax_ns = 5'000'000'000;
Error lost_part(size_t present, size_t parts);

}  // namespace deepserve::daemon
