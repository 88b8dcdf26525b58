// What a client says of a request that was refused before.
#include <algorithm>

#include "daemon/admission/ticket.h"
#include "daemon/api/completion_spec.h"

namespace deepserve::daemon {
namespace {

// Of a long body the two ends and the length are enough: nobody is hurt by his own two bodies being alike.
uint64_t hash_of(const std::string& body) {
  constexpr size_t kEnd = 64 * 1024;
  if (body.size() <= 2 * kEnd) return short_hash(body);
  return short_hash(body.substr(0, kEnd) + body.substr(body.size() - kEnd) + std::to_string(body.size()));
}

// OpenAI's libraries count their own repetitions.
bool says_retry(const HttpRequest& request) {
  const auto* count = request.field("x-stainless-retry-count");
  return count != nullptr && !count->empty() && *count != "0";
}

}  // namespace

void read_retry(const HttpRequest& request, RequestSpec& spec) {
  spec.body_bytes = request.body.size();
  spec.body_hash = request.body.empty() ? 0 : hash_of(request.body);
  spec.is_retry = says_retry(request);
  const auto* ticket = request.field("x-deepserve-ticket");
  // A longer one is no ticket of ours: what is kept of it is enough to say so.
  if (ticket != nullptr) spec.ticket = ticket->substr(0, TicketOffice::kTextBytes + 1);
}

}  // namespace deepserve::daemon
