#include "daemon/api/answer_life.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "daemon/api/error_details.h"
#include "daemon/api/routes.h"
#include "daemon/http/json_text.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

double seconds(uint64_t ns) {
  return static_cast<double>(ns) / static_cast<double>(kSecond_ns);
}

void log_end(RequestId id, const Error& error) {
  const ErrorRow& row = error_row(error.code);
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  spdlog::log(kLevels[static_cast<size_t>(row.log_level)], "request {}: {}: {}", hex16(id), row.name,
              error.message);
}

}  // namespace

AnswerLife::AnswerLife(const ApiParts& parts, const RequestSpec& request, const AnswerTerms& terms)
    : serving_(parts.serving),
      metrics_(parts.metrics),
      log_(parts.log),
      timeout_ns_(terms.timeout_ns.value_or(parts.options.request_timeout_ns)),
      adopted_(terms.started_ns != 0) {
  status_.client = request.client;
  status_.endpoint = request.endpoint;
  status_.model = request.model;
  status_.service_class = request.service_class;
  status_.created_unix = adopted_ ? terms.created_unix : unix_seconds();
  status_.started_ns = adopted_ ? terms.started_ns : monotonic_ns();
}

double AnswerLife::seconds_since_start() const {
  return seconds(monotonic_ns() - status_.started_ns);
}

void AnswerLife::begin(RequestId id, RunningAnswer& answer) {
  status_.id = id;
  log_.add(id, answer);
  if (adopted_) return;
  if (const auto row = serving_.request(id)) {
    status_.service_class = row->service_class;
    predicted_ttft_s_ = row->predicted_ttft_s;
    booked_ = row->booked;
  }
}

void AnswerLife::degrade(const Degraded& degraded) {
  // Of an answer with several parts it is counted once.
  if (!adopted_) metrics_.count_degraded(degraded_.empty() ? degraded.how : "", degraded.truncated_bytes);
  if (degraded_.find(degraded.how) == std::string::npos) {
    degraded_ += (degraded_.empty() ? "" : ", ") + degraded.how;
  }
  status_.truncated_bytes += degraded.truncated_bytes;
}

void AnswerLife::announce(HttpResponse& head) const {
  if (!degraded_.empty()) head.fields.emplace_back("X-Deepserve-Degraded", degraded_);
}

void AnswerLife::count_accepted(const ipc::Accepted& event) {
  if (!adopted_) {
    metrics_.count_accepted({.service_class = status_.service_class,
                             .client = status_.client,
                             .queue_seconds = seconds_since_start(),
                             .prompt_tokens = event.prompt_tokens,
                             .degraded = !degraded_.empty()});
  }
  if (std::exchange(booked_, false)) metrics_.observe_retry_after_error(seconds_since_start());
  status_.usage.prompt_tokens += event.prompt_tokens;
  status_.usage.cached_tokens += event.cached_tokens;
}

void AnswerLife::run() {
  status_.accepted_ns = monotonic_ns();
  status_.state = AnswerState::kRunning;
}

void AnswerLife::note_first_token() {
  if (status_.first_token_ns != 0) return;
  status_.first_token_ns = monotonic_ns();
  if (adopted_) return;
  const double ttft_s = seconds(status_.first_token_ns - status_.started_ns);
  metrics_.observe_first_token(status_.service_class, ttft_s);
  if (predicted_ttft_s_ > 0) metrics_.observe_prediction_error(ttft_s - predicted_ttft_s_);
}

HttpResponse AnswerLife::refuse(const Refusal& refusal) {
  ended_ = true;
  log_.drop(status_.id);
  if (std::exchange(booked_, false)) {  // a promise is broken by what it has to wait still
    const double still_s = static_cast<double>(refusal.retry_after_ms) * 1e-3;
    metrics_.observe_retry_after_error(seconds_since_start() + still_s);
  }
  const ErrorDetails details = refusal_details(refusal);
  metrics_.count_refused(refusal.service_class,
                         details.reason.empty() ? error_row(refusal.error.code).name : details.reason,
                         status_.client);
  log_end(status_.id, refusal.error);
  return error_response(refusal.error, details);
}

void AnswerLife::finish(AnswerStatus last) {
  metrics_.observe_whole(seconds_since_start());
  end(AnswerState::kFinished, std::nullopt, std::move(last));
}

void AnswerLife::fail(const Error& error, AnswerStatus last) {
  end(error.code == Code::kCancelled ? AnswerState::kCancelled : AnswerState::kFailed, error,
      std::move(last));
  metrics_.count_failed(error.code, seconds_since_start());
  log_end(status_.id, error);
}

void AnswerLife::leave(AnswerStatus last) {
  if (ended_) return;
  metrics_.count_failed(Code::kCancelled, seconds_since_start());
  end(AnswerState::kCancelled, Error{Code::kCancelled, "the client left"}, std::move(last));
}

HttpResponse AnswerLife::failure_response(const Error& error, const std::string& param) const {
  ErrorDetails details = failure_details(error, status_.service_class);
  details.param = param;
  return error_response(error, details);
}

std::optional<Error> AnswerLife::overdue(uint64_t now_ns) const {
  if (ended_ || timeout_ns_ == 0 || now_ns < status_.started_ns + timeout_ns_) return std::nullopt;
  return Error{Code::kRequestTimeout,
               fmt::format("the answer took longer than {} ms", timeout_ns_ / kMillisecond_ns)};
}

void AnswerLife::end(AnswerState state, const std::optional<Error>& error, AnswerStatus last) {
  ended_ = true;
  last.state = state;
  last.error = error;
  last.ended_ns = monotonic_ns();
  status_ = last;
  log_.end(std::move(last));
}

}  // namespace deepserve::daemon
