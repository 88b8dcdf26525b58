#include "daemon/api/routes.h"
#include "daemon/http/error_response.h"

namespace deepserve::daemon {

void add_health_routes(Router& router, const ApiParts& parts) {
  router.add("GET", "/healthz", [](Exchange& exchange, const PathParameters&) {
    exchange.respond({.content_type = "text/plain; charset=utf-8", .body = "ok\n"});
    return nullptr;
  });
  router.add("GET", "/readyz", [&serving = parts.serving](Exchange& exchange, const PathParameters&) {
    if (serving.ready()) {
      exchange.respond({.content_type = "text/plain; charset=utf-8", .body = "ready\n"});
    } else {
      exchange.respond(error_response({Code::kModelNotReady, "no runner is ready and making progress"},
                                      {.reason = "not_ready", .retry_after_ms = 1000}));
    }
    return nullptr;
  });
  router.add("GET", "/metrics", [parts](Exchange& exchange, const PathParameters&) {
    const HttpServer* server = parts.options.server;
    const HttpCounters* counters = server == nullptr ? nullptr : &server->counters();
    parts.metrics.set_kept(parts.kept.size(), parts.kept.bytes());
    exchange.respond({.content_type = "text/plain; version=0.0.4; charset=utf-8",
                      .body = parts.metrics.render(parts.serving, counters)});
    return nullptr;
  });
}

}  // namespace deepserve::daemon
