#include "daemon/api/live_answer.h"

#include <algorithm>

#include "ipc/base/clock.h"

namespace deepserve::daemon {

void LiveAnswer::keep() {
  kept_ = true;
  kept_since_ns_ = monotonic_ns();
}

void LiveAnswer::detach(AnswerReader& reader, uint64_t now_ns) {
  readers_.erase(std::remove(readers_.begin(), readers_.end(), &reader), readers_.end());
  if (readers_.empty()) left_ns_ = now_ns;
}

void LiveAnswer::note_accepted() {
  accepted_ = true;
  life_.run();
  for (AnswerReader* reader : readers_) reader->on_accepted();
}

void LiveAnswer::tell_news() const {
  for (AnswerReader* reader : readers_) reader->on_news();
}

void LiveAnswer::respond(HttpResponse response) {
  if (!kept_ && readers_.size() == 1) return readers_.front()->on_response(std::move(response));
  for (AnswerReader* reader : readers_) reader->on_response(response);
  response_ = std::move(response);
}

}  // namespace deepserve::daemon
