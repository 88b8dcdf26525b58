// Drain and resume, on ctl.sock: POST /ctl/drain and /ctl/resume (the host), /ctl/drain/{model...},
// /ctl/resume/{model...}, /ctl/runners/{id}/drain and /resume. A drain answers once nothing is left there.
#pragma once

#include "daemon/http/router.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

// `router` and `serving` as Control has them.
void add_drain_routes(Router& router, Serving& serving);

}  // namespace deepserve::daemon
