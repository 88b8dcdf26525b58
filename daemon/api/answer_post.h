// What every POST that is answered by a runner has in common: whether its answer outlives the connection, and
// whether it repeats an earlier one.
#pragma once

#include <functional>
#include <memory>

#include "daemon/api/field_error.h"
#include "daemon/api/live_answer.h"
#include "daemon/api/routes.h"

namespace deepserve::daemon {

using MadeAnswer = Parsed<std::shared_ptr<LiveAnswer>>;
using MakeAnswer = std::function<MadeAnswer(Exchange& exchange, const AnswerTerms& terms)>;

// Answers out of what `make` starts. A POST under an Idempotency-Key that its client used before, while that
// answer is kept, starts nothing: it gets that answer, from the start. kKeyReused: the same key, and another
// path or body. An answer that was refused or failed before it was accepted is not kept, and frees its key.
std::unique_ptr<Responder> answer_post(Exchange& exchange, const ApiParts& parts, const MakeAnswer& make);

}  // namespace deepserve::daemon
