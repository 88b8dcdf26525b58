// Answers that another dsd began: the requests come back with their runners, the connections with an upgrade
// in place, in either order.
#pragma once

#include <memory>
#include <string_view>

#include "daemon/api/routes.h"
#include "daemon/http/exchange.h"

namespace deepserve::daemon {

// Who hears of a request that came back. The answer that it is a part of is kept whatever its client asked
// for (answer_terms.h). Null: what its runner kept of it is not ours, or no part of any answer; logged.
ResponseSink* adopt_request(const ApiParts& parts, RequestId id, const RequestSpec& spec);

// Goes on with an answer to a connection that was handed over, by what its Responder::hand_over said. It
// waits for the answer for kAdoptionMax_ns, and as long as more may come back, and fails then. The answer
// ends with its connection again, unless its client asked for it to outlive that.
std::unique_ptr<Responder> resume_reading(Exchange& exchange, const ApiParts& parts, std::string_view handed);

}  // namespace deepserve::daemon
