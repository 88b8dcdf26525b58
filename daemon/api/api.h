// The OpenAI-shaped API of api.sock (DESIGN 11), on top of Serving.
//
// Which class a request gets: X-Deepserve-Class (vip, normal, batch), else the body's `priority` (the same
// words, or vLLM's integer: below 0 vip, 0 normal, above 0 batch), else `service_tier` (priority: vip, auto
// and default: normal, flex: batch), else normal. Serving lowers it to what the client may ask for.
#pragma once

#include <functional>
#include <string>

#include "daemon/api/answer_log.h"
#include "daemon/api/kept_answers.h"
#include "daemon/http/judge.h"
#include "daemon/http/router.h"
#include "daemon/http/server.h"
#include "daemon/observe/metrics.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct ApiParts;

struct ApiOptions {
  // The name that a peer's requests go under; not set: "uid:<uid>", or "tcp" for a peer that is not known.
  std::function<std::string(const Peer&)> client_name;
  // Whether a peer may name its end users in X-Deepserve-Client; not set: none may.
  std::function<bool(const Peer&)> is_trusted_proxy = {};
  const HttpServer* server = nullptr;  // for the connection counts in /metrics
  uint64_t keep_alive_ms = 10'000;     // a stream that is silent for so long sends an SSE comment
  // What one request may keep in memory of its answer, text and log probabilities: an answer in one piece
  // until its end, a stream while its client does not read. Beyond it the request fails.
  size_t answer_bytes_max = 64 * 1024 * 1024;
  // How long an answer that outlives its connection can be resumed (answer_terms.h), and what all of those
  // may keep (kept_answers.h).
  uint64_t resume_window_ns = 30'000'000'000;
  size_t kept_bytes_max = 256 * 1024 * 1024;
  // Until then requests of an earlier dsd may still come back with their runners: who asks for one that is
  // not known waits so long. CLOCK_MONOTONIC; 0: none will come.
  uint64_t return_until_ns = 0;
  uint64_t request_timeout_ns = 0;  // of a request that names none in X-Deepserve-Timeout-Ms; 0: none
};

// Everything named here outlives the routes' use: before it goes, HttpServer::close_all() (running requests
// are forgotten then) or the server's own end.
class Api {
 public:
  Api(Serving& serving, Metrics& metrics, ApiOptions options);

  // /v1/..., /tokenize, /detokenize and the observe routes: for api.sock and TCP.
  void add_routes(Router& router);
  // For HttpServer::listen of the sockets that have the routes: what is refused on the head alone.
  Judge judge();
  // For ServiceOptions::adopt: a request that an earlier dsd began becomes an answer that can be resumed.
  ResponseSink* adopt(RequestId id, const RequestSpec& spec);
  // Every kTick_ms: ends what is over of the answers that nobody reads.
  static constexpr uint64_t kTick_ms = 250;
  void tick(uint64_t now_ns) { kept_.tick(now_ns); }
  const KeptAnswers& kept() const { return kept_; }
  // ApiOptions::request_timeout_ns, of requests that come from now on.
  void set_request_timeout(uint64_t timeout_ns) { options_.request_timeout_ns = timeout_ns; }
  // Before the loop runs, where it is known: what is to come back of an earlier dsd
  // (ApiOptions::return_until_ns).
  void expect(std::vector<ExpectedAnswer> answers) { kept_.expect(std::move(answers)); }
  // The same for the dsd that takes this one's place; nothing: it is not known yet.
  std::optional<std::vector<ExpectedAnswer>> expected_next() const;
  // /healthz, /readyz, /metrics: for [observe] listen; ctl.sock has them too.
  void add_observe_routes(Router& router);

 private:
  ApiParts parts();

  Serving& serving_;
  Metrics& metrics_;
  ApiOptions options_;
  AnswerLog log_;
  KeptAnswers kept_;  // goes before the log
};

}  // namespace deepserve::daemon
