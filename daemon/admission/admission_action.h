// What the admission core decides.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/admission/brownout.h"
#include "ipc/base/errors.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// Why a request was refused. Rows are only appended: their names are metrics' labels and clients' words.
enum class RefusalReason : uint8_t {
  kQueueFull,       // as many wait as may, or their bytes are too many
  kDeadline,        // its first token would be, or is, too late
  kHorizon,         // as kDeadline, and no slot within the calendar's reach either
  kClientRequests,  // 429: the client has as many at once as it may
  kClientTokens,    // 429: the client had its tokens of this minute
  kRetryBudget,     // 429: too many of the client's requests are retries that do not heed Retry-After
  kBrownout,        // its class is not served at present
  kBreakerOpen,     // its model's generation fails
  kCount,
};
std::string_view refusal_reason_name(RefusalReason value);  // "queue_full", "deadline", ...

// Send it to this runner.
struct Dispatch {
  ipc::RequestId request = 0;
  uint32_t runner = 0;
  uint32_t tokens_max = ipc::kRestOfContext;  // less than asked for only in a brownout
  bool raised = false;  // batch work whose share is due: the runner is to take it for normal
};

// It has ended with this; nothing further is heard or said of it.
struct Refuse {
  ipc::RequestId request = 0;
  Code code = Code::kServerOverloaded;
  RefusalReason reason = RefusalReason::kDeadline;
  ipc::Class service_class = ipc::Class::kNormal;
  uint64_t predicted_ttft_ns = 0;  // 90 of 100 are within; 0: nothing is known
  uint64_t deadline_ns = 0;        // for the first token, from its arrival on
  uint64_t retry_after_ms = 0;     // from now on; 0: none
  bool booked = false;             // there is a slot at retry_after_ms, and `ticket` is for it
  std::string ticket = {};
};

// Answers that begin from now on are announced as degraded so.
struct BrownoutChanged {
  BrownoutLevel level = BrownoutLevel::kNone;
};

using AdmissionAction = std::variant<Dispatch, Refuse, BrownoutChanged>;
using AdmissionActions = std::vector<AdmissionAction>;

}  // namespace deepserve::daemon
