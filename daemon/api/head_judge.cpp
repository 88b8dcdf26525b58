#include "daemon/api/head_judge.h"

#include <charconv>

#include "daemon/api/client_identity.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/error_details.h"
#include "daemon/http/error_response.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

// What the endpoint is called in a request's row; empty: it makes no requests.
std::string_view endpoint_of(const HttpRequest& head) {
  if (head.method != "POST") return {};
  if (head.path == "/v1/chat/completions") return "chat";
  if (head.path == "/v1/completions") return "completions";
  return {};
}

std::optional<uint64_t> number_in(const std::string* text) {
  uint64_t value = 0;
  if (text == nullptr) return std::nullopt;
  const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (problem != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

}  // namespace

bool HeadJudge::may_return_key(const std::string& client, const std::string& key) const {
  return monotonic_ns() < options_.return_until_ns && kept_.may_return_key(client, key);
}

std::optional<HttpResponse> HeadJudge::judge(const HttpRequest& head) const {
  const auto endpoint = endpoint_of(head);
  const auto* class_text = head.field("x-deepserve-class");
  const auto body_bytes = number_in(head.field("content-length"));
  if (endpoint.empty() || !body_bytes || *body_bytes == 0) return std::nullopt;
  const bool class_named = class_text != nullptr;
  const auto service_class =
      class_named ? ipc::class_from_name(*class_text) : Result<ipc::Class>(ipc::Class::kNormal);
  const auto client = client_of(head, options_);
  const auto* deadline_text = head.field("x-deepserve-deadline-ms");
  const auto deadline_ms = number_in(deadline_text);
  const bool bad_deadline = deadline_text != nullptr && (!deadline_ms || !is_deadline(*deadline_ms));
  if (!service_class || !client || bad_deadline) return std::nullopt;
  const auto* key = head.field("idempotency-key");
  if (key != nullptr && (kept_.find_key(*client, *key) || may_return_key(*client, *key))) return std::nullopt;
  RequestSpec spec;
  if (!read_agreement_header(head, spec.agreed)) return std::nullopt;
  spec.class_named = class_named;
  spec.peer = head.peer;
  spec.client = *client;
  spec.endpoint = endpoint;
  spec.service_class = *service_class;
  spec.prompt_bytes = *body_bytes;
  if (deadline_ms) spec.deadline_ns = monotonic_ns() + *deadline_ms * kMillisecond_ns;
  read_retry(head, spec);
  spec.body_hash = 0;
  spec.body_bytes = *body_bytes;
  const auto refusal = serving_.glance(spec);
  if (!refusal) return std::nullopt;
  const ErrorDetails details = refusal_details(*refusal);
  metrics_.count_refused(refusal->service_class, details.reason, *client);
  return error_response(refusal->error, details);
}

}  // namespace deepserve::daemon
