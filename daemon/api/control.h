// The control API of ctl.sock: what dsctl shows and does. JSON as in DESIGN 11.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "daemon/http/router.h"
#include "daemon/serving/serving.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

struct ControlOptions {
  std::string runtime_dir;
  std::string config_path;
  std::function<std::string()> config_json;  // the effective config as one JSON value
  // What the file would change, as one JSON value; `applies`: and takes it over, whole or not at all.
  std::function<Result<std::string>(bool applies)> config_changes = nullptr;
  uint64_t started_ns = monotonic_ns();
};

// Everything named here outlives the routes. /healthz, /readyz and /metrics come from
// Api::add_observe_routes.
class Control {
 public:
  Control(Serving& serving, ControlOptions options);
  void add_routes(Router& router);

 private:
  Serving& serving_;
  const ControlOptions options_;
};

}  // namespace deepserve::daemon
