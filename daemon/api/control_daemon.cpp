#include "daemon/api/control_daemon.h"

#include <unistd.h>

#include "daemon/api/json_fields.h"
#include "daemon/api/json_writer.h"
#include "daemon/api/late_responder.h"
#include "daemon/http/error_response.h"

namespace deepserve::daemon {
namespace {

constexpr std::string_view kHandedOver = "reexec";

// Waits for the upgrade: answered here if it fails, else by the next program.
class ReexecResponder final : public LateResponder {
 public:
  ReexecResponder(Exchange& exchange, const DaemonActions& actions, const std::string& binary)
      : LateResponder(
            exchange, [](const Result<void>& failed) { return error_response(failed.error()); },
            [&](const Done& done) {
              actions.reexec(binary, [done](const Error& error) { done(tl::unexpected<Error>(error)); });
            }) {}
  std::optional<std::string> hand_over() const override { return std::string(kHandedOver); }
};

Parsed<std::string> parse_binary(const HttpRequest& request) {
  std::string binary;
  if (request.body.empty()) return binary;
  const auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  fields.read_string("binary", binary);
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  return binary;
}

HttpResponse told(const UpgradeOutcome& outcome) {
  if (!outcome.rolled_back.empty()) {
    return error_response({Code::kConflict, "the new program did not take over: " + outcome.rolled_back +
                                                "; the one before goes on"});
  }
  HttpResponse response;
  JsonWriter json(response.body);
  json.begin_object()
      .member("pid", ::getpid())
      .member("version", DEEPSERVE_VERSION)
      .member("version_before", outcome.version_before)
      .member("pause_ms", outcome.pause_ms)
      .end_object();
  response.body += '\n';
  return response;
}

}  // namespace

void add_daemon_routes(Router& router, const DaemonActions& actions) {
  router.add("POST", "/ctl/daemon/reexec",
             [actions](Exchange& exchange, const PathParameters&) -> std::unique_ptr<Responder> {
               const auto binary = parse_binary(exchange.request());
               if (binary) return std::make_unique<ReexecResponder>(exchange, actions, *binary);
               exchange.respond(binary.error().response());
               return nullptr;
             });
  router.add("POST", "/ctl/daemon/stop", [actions](Exchange& exchange, const PathParameters&) {
    HttpResponse response{.close = true};
    JsonWriter(response.body)
        .begin_object()
        .member("pid", ::getpid())
        .member("state", "stopping")
        .end_object();
    response.body += '\n';
    exchange.respond(std::move(response));
    actions.stop();
    return nullptr;
  });
}

void resume_reexec(Router& router, const UpgradeOutcome& outcome) {
  router.set_resume([outcome](Exchange& exchange, std::string_view what) -> std::unique_ptr<Responder> {
    if (what == kHandedOver) exchange.respond(told(outcome));
    return nullptr;
  });
}

}  // namespace deepserve::daemon
