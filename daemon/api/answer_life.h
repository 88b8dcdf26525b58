// What every answer goes through, whatever it says: begun, accepted, and ended once, told to the log and the
// metrics.
#pragma once

#include <optional>
#include <string>

#include "daemon/api/answer_log.h"
#include "daemon/api/answer_terms.h"
#include "daemon/http/error_response.h"
#include "daemon/observe/metrics.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct ApiParts;

class AnswerLife {
 public:
  // Borrows the parts. An answer of an earlier dsd goes on from when it began; the metrics hear of its end
  // alone.
  AnswerLife(const ApiParts& parts, const RequestSpec& request, const AnswerTerms& terms);

  const AnswerStatus& status() const { return status_; }
  bool ended() const { return ended_; }
  bool is_adopted() const { return adopted_; }
  double seconds_since_start() const;

  // Its first request has this id. `answer` must outlive this life or its end.
  void begin(RequestId id, RunningAnswer& answer);
  // Its answer will not be what was asked for: X-Deepserve-Degraded says how. Of an answer to several
  // prompts: each of them.
  void degrade(const Degraded& degraded);
  void announce(HttpResponse& head) const;
  // One of its requests was accepted.
  void count_accepted(const ipc::Accepted& event);
  // The last of them was.
  void run();
  void note_first_token();

  // Each of these ends it; none may follow another.
  HttpResponse refuse(const Refusal& refusal);
  void finish(AnswerStatus last);  // `last`: status(), with what only its owner knows
  void fail(const Error& error, AnswerStatus last);
  // The client went before the end, if it has not come.
  void leave(AnswerStatus last);

  // The answer in one piece that tells of a failure before anything else was told.
  HttpResponse failure_response(const Error& error, const std::string& param) const;
  // What to fail with, once its total time is over.
  std::optional<Error> overdue(uint64_t now_ns) const;

 private:
  void end(AnswerState state, const std::optional<Error>& error, AnswerStatus last);

  Serving& serving_;
  Metrics& metrics_;
  AnswerLog& log_;
  const uint64_t timeout_ns_;  // 0: none
  const bool adopted_;
  AnswerStatus status_;
  std::string degraded_;  // empty: it is not
  double predicted_ttft_s_ = 0;
  bool booked_ = false;  // it came back for its slot, and was not accepted yet
  bool ended_ = false;
};

}  // namespace deepserve::daemon
