// A request's trace as JSON, for ctl.sock.
#pragma once

#include "daemon/api/json_writer.h"
#include "daemon/dispatch/request_trace.h"

namespace deepserve::daemon {

// Instants as seconds since the first event. `arrived_s` is that one, in seconds of the host's
// CLOCK_MONOTONIC: by it traces of several requests lie beside each other.
void append_row(JsonWriter& json, const RequestTrace& trace);

}  // namespace deepserve::daemon
