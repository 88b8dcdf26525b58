#include "daemon/api/model_orders.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>
#include <utility>

#include "daemon/api/control_rows.h"
#include "daemon/api/json_fields.h"
#include "daemon/api/late_responder.h"
#include "daemon/api/model_lookup.h"
#include "daemon/http/error_response.h"

namespace deepserve::daemon {
namespace {

using Nobody = std::unique_ptr<Responder>;  // answered at once

double rounded(double seconds) {
  return std::round(seconds * 1000) / 1000;
}

void append_instant(JsonWriter& json, std::string_view name, double ago_s) {
  json.key(name);
  if (ago_s < 0) {
    json.value(nullptr);
  } else {
    json.value(rounded(ago_s));
  }
}

// What the model is like now, and its generations.
HttpResponse model_response(const Serving& serving, const std::string& name) {
  HttpResponse response;
  JsonWriter json(response.body);
  const auto model = find_model(serving, name);
  if (!model) return error_response(model.error());
  json.begin_object().key("model");
  append_row(json, *model);
  json.key("generations").begin_list();
  for (const GenerationRow& row : serving.generations(name)) append_row(json, row);
  json.end_list().end_object();
  response.body += '\n';
  return response;
}

// Waits until an order holds.
std::unique_ptr<Responder> carry_out(Exchange& exchange, Serving& serving, const ModelOrder& order) {
  return std::make_unique<LateResponder>(
      exchange,
      [&serving, model = order.model](const Result<void>& result) {
        return result ? model_response(serving, model) : error_response(result.error());
      },
      [&](LateResponder::Done done) { serving.order(order, std::move(done)); });
}

Parsed<ModelOrder> parse_order(const HttpRequest& request, std::string_view verb, const std::string& model) {
  ModelOrder order;
  order.model = model;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(ModelVerb::kCount); ++i) {
    order.verb = static_cast<ModelVerb>(i);
    if (order.verb == ModelVerb::kCount || model_verb_name(order.verb) == verb) break;
  }
  if (order.verb == ModelVerb::kCount) {
    return tl::unexpected(FieldError{{Code::kNotFound, fmt::format("there is no order '{}'", verb)}, ""});
  }
  if (request.body.empty()) return order;
  auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  auto percent = static_cast<float>(order.percent);
  fields.read_string("path", order.path);
  fields.read_number("percent", 0.1, order.verb == ModelVerb::kShadow ? 100 : 50, percent);
  if (order.verb != ModelVerb::kShadow) fields.read_bool("judged", order.judged);
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  order.percent = static_cast<double>(percent);
  return order;
}

}  // namespace

void append_row(JsonWriter& json, const GenerationRow& row) {
  json.begin_object()
      .member("generation", row.generation)
      .member("state", row.state)
      .member("path", row.path)
      .member("runners", row.runners)
      .member("requests", row.requests)
      .member("load_s", rounded(row.load_s))
      .member("reason", row.reason)
      .member("evidence", row.evidence);
  append_instant(json, "begun_ago_s", row.begun_ago_s);
  append_instant(json, "live_ago_s", row.live_ago_s);
  append_instant(json, "ended_ago_s", row.ended_ago_s);
  json.end_object();
}

void add_model_order_routes(Router& router, Serving& serving) {
  router.add("GET", "/ctl/history/{name...}",
             [&serving](Exchange& exchange, const PathParameters& parameters) -> Nobody {
               exchange.respond(model_response(serving, parameters[0]));
               return nullptr;
             });
  router.add("POST", "/ctl/orders/{verb}/{name...}",
             [&serving](Exchange& exchange, const PathParameters& parameters) -> Nobody {
               const auto order = parse_order(exchange.request(), parameters[0], parameters[1]);
               if (!order) {
                 exchange.respond(order.error().response());
                 return nullptr;
               }
               return carry_out(exchange, serving, *order);
             });
}

}  // namespace deepserve::daemon
