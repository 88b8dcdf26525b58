// Orders for a model's generations, on ctl.sock: /ctl/orders/{verb}/{model...} and /ctl/history/{model...}.
#pragma once

#include "daemon/api/json_writer.h"
#include "daemon/http/router.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

// `router` and `serving` as Control has them.
void add_model_order_routes(Router& router, Serving& serving);

void append_row(JsonWriter& json, const GenerationRow& row);

}  // namespace deepserve::daemon
