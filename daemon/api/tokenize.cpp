#include <boost/json.hpp>

#include "daemon/api/chat_fields.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/error_details.h"
#include "daemon/api/json_fields.h"
#include "daemon/api/json_writer.h"
#include "daemon/api/model_lookup.h"
#include "daemon/api/routes.h"
#include "daemon/http/error_response.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

struct QuerySpec {
  std::string model;
  ipc::Query query;
  std::optional<uint64_t> timeout_ns;  // as in CompletionSpec
};

// Waits for a runner's answer to one question.
class QueryResponder final : public Responder {
 public:
  QueryResponder(Exchange& exchange, const ApiParts& parts, const ModelRow& model, QuerySpec spec)
      : exchange_(exchange),
        serving_(parts.serving),
        started_ns_(monotonic_ns()),
        timeout_ns_(spec.timeout_ns.value_or(parts.options.request_timeout_ns)),
        kind_(spec.query.kind),
        context_tokens_(model.facts ? model.facts->context_tokens : 0) {
    id_ = serving_.query(model.name, std::move(spec.query), [this](Result<ipc::Answer> answer) {
      id_ = 0;
      answered(std::move(answer));
    });
  }
  ~QueryResponder() override {
    if (id_ != 0) serving_.drop_query(id_);
  }

  void tick(uint64_t now_ns) override {
    if (id_ == 0 || timeout_ns_ == 0 || now_ns < started_ns_ + timeout_ns_) return;
    serving_.drop_query(std::exchange(id_, 0));
    answered(fail(Code::kRequestTimeout, "the answer took longer than {} ms", timeout_ns_ / kMillisecond_ns));
  }

 private:
  void answered(Result<ipc::Answer> answer) {
    if (answer && answer->failed) answer = tl::unexpected(Error{answer->code, answer->text});
    if (!answer) {
      exchange_.respond(error_response(answer.error(), failure_details(answer.error(), ipc::Class::kNormal)));
      return;
    }
    HttpResponse response;
    JsonWriter json(response.body);
    json.begin_object();
    if (kind_ == ipc::QueryKind::kTokenize) {
      json.member("count", answer->tokens.size());
      json.member("max_model_len", context_tokens_);
      json.member("tokens", answer->tokens);
    } else {
      json.member("prompt", answer->text);
    }
    json.end_object();
    exchange_.respond(std::move(response));
  }

  Exchange& exchange_;
  Serving& serving_;
  const uint64_t started_ns_;
  const uint64_t timeout_ns_;  // 0: none
  const ipc::QueryKind kind_;
  const uint32_t context_tokens_;
  uint64_t id_ = 0;
};

Parsed<QuerySpec> parse_tokenize(const HttpRequest& request) {
  const auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  QuerySpec spec;
  fields.read_string("model", spec.model);
  fields.read_bool("add_special_tokens", spec.query.add_special);
  if (fields.has("messages")) {
    if (fields.has("prompt")) fields.fail_at("prompt", "and messages exclude each other");
    read_chat(fields, request.body, spec.query.prompt);
  } else {
    if (!fields.has("prompt")) fields.fail_at("prompt", "is missing (or messages)");
    fields.read_string("prompt", spec.query.prompt.text);
  }
  read_timeout(fields, request, spec.timeout_ns);
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  return spec;
}

Parsed<QuerySpec> parse_detokenize(const HttpRequest& request) {
  const auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  QuerySpec spec;
  spec.query.kind = ipc::QueryKind::kDetokenize;
  spec.query.prompt.kind = ipc::PromptKind::kTokens;
  fields.read_string("model", spec.model);
  const auto* tokens = fields.take("tokens");
  const auto* list = tokens == nullptr ? nullptr : tokens->if_array();
  if (list == nullptr) fields.fail_at("tokens", "must be a list of token ids");
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const auto token = integer_in((*list)[i], 0, INT32_MAX);
    if (!token) fields.fail_at("tokens", "must be a list of token ids");
    spec.query.prompt.tokens.push_back(static_cast<ipc::TokenId>(token.value_or(0)));
  }
  read_timeout(fields, request, spec.timeout_ns);
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  return spec;
}

std::unique_ptr<Responder> start_query(Exchange& exchange, const ApiParts& parts, Parsed<QuerySpec> spec) {
  if (!spec) {
    exchange.respond(spec.error().response());
    return nullptr;
  }
  const auto model = find_model(parts.serving, spec->model);
  if (!model) {
    exchange.respond(error_response(model.error(), {.param = "model"}));
    return nullptr;
  }
  return std::make_unique<QueryResponder>(exchange, parts, *model, std::move(*spec));
}

}  // namespace

void add_tokenize_routes(Router& router, const ApiParts& parts) {
  router.add("POST", "/tokenize", [parts](Exchange& exchange, const PathParameters&) {
    return start_query(exchange, parts, parse_tokenize(exchange.request()));
  });
  router.add("POST", "/detokenize", [parts](Exchange& exchange, const PathParameters&) {
    return start_query(exchange, parts, parse_detokenize(exchange.request()));
  });
}

}  // namespace deepserve::daemon
