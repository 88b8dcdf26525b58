// GET /v1/requests/{id}/events: what came of an answer after the event that the client has.
#include "daemon/api/awaited_reader.h"
#include "daemon/api/client_identity.h"
#include "daemon/api/live_answer.h"
#include "daemon/api/request_id.h"
#include "daemon/api/routes.h"
#include "daemon/http/error_response.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

std::unique_ptr<Responder> respond_error(Exchange& exchange, const Error& error,
                                         const std::string& param = {}) {
  exchange.respond(error_response(error, {.param = param, .retry_is_useless = true}));
  return nullptr;
}

// An id that this dsd did not give, and of which the client has events: another dsd did, and the runner that
// had it is gone with that.
Error reason_not_found(const ApiParts& parts, RequestId id, const std::string& client, bool has_events) {
  if (parts.kept.is_gone(id, client) || (has_events && id != 0 && !parts.kept.is_ours(id))) {
    return {Code::kGone, "the answer can be resumed no more"};
  }
  if (parts.log.find(id, client, monotonic_ns())) {
    return {Code::kConflict, "the answer cannot be resumed: its request had no X-Deepserve-Resume: 1"};
  }
  return {Code::kNotFound, "there is no request of this id, or not any more"};
}

std::unique_ptr<Responder> read(Exchange& exchange, const std::shared_ptr<LiveAnswer>& answer,
                                ReadingStart start) {
  if (const auto reason = answer->reason_not_to_stream()) return respond_error(exchange, *reason);
  return answer->reader(answer, exchange, std::move(start));
}

std::unique_ptr<Responder> resume(Exchange& exchange, const ApiParts& parts, const std::string& id_text) {
  const auto client = client_of(exchange.request(), parts.options);
  if (!client) return respond_error(exchange, client.error(), "X-Deepserve-Client");
  const RequestId id = request_id_of(id_text);
  ReadingStart start{.streams = true};
  if (const auto* last = exchange.request().field("last-event-id"); last != nullptr && !last->empty()) {
    start.from = parse_position(*last);
    if (!start.from || start.from->request != id) {
      return respond_error(exchange,
                           {Code::kInvalidRequest, "Last-Event-ID: is no id of this answer's events"},
                           "Last-Event-ID");
    }
  }
  if (const auto answer = parts.kept.find(id, *client)) return read(exchange, answer, std::move(start));
  const auto tell_why = [parts, id, client = *client, has_events = start.from.has_value()](Exchange& asked) {
    return respond_error(asked, reason_not_found(parts, id, client, has_events));
  };
  const uint64_t until_ns = parts.options.return_until_ns;
  const bool may_return = id != 0 && !parts.kept.is_ours(id) && parts.kept.may_return(id, *client);
  if (!may_return || monotonic_ns() >= until_ns) return tell_why(exchange);
  AwaitedReader::Wishes wishes;
  wishes.wants = [id, client = *client](const LiveAnswer& answer) {
    return answer.id() == id && answer.client() == client;
  };
  wishes.may_come = [&kept = parts.kept, id, client = *client] { return kept.may_return(id, client); };
  wishes.read = [start](Exchange& asked, const std::shared_ptr<LiveAnswer>& answer) {
    return read(asked, answer, start);
  };
  wishes.do_without = tell_why;
  return std::make_unique<AwaitedReader>(exchange, parts.kept, std::move(wishes), until_ns);
}

}  // namespace

void add_event_routes(Router& router, const ApiParts& parts) {
  router.add("GET", "/v1/requests/{id}/events", [parts](Exchange& exchange, const PathParameters& path) {
    return resume(exchange, parts, path[0]);
  });
}

}  // namespace deepserve::daemon
