#include "ctl/bench/generator.h"

#include <sys/resource.h>

#include <algorithm>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

constexpr uint64_t kObserve_every_ns = 500 * kMillisecond_ns;
constexpr uint64_t kBlocked_wait_ns = kMillisecond_ns;
constexpr size_t kRetries_pending_max = 200'000;
constexpr uint64_t kUnsaid_wait_ns =
    kSecond_ns;  // of a closed loop's client that was not told when to return

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

bool is_refusal(unsigned status) {
  return status == 503 || status == 429;
}

}  // namespace

Generator::Generator(const Endpoint& endpoint, Poller& poller, GeneratorOptions options)
    : endpoint_(endpoint), poller_(poller), options_(std::move(options)) {
  connections_.reserve(options_.connections_max);
  for (size_t i = 0; i < options_.connections_max; ++i) {
    connections_.emplace_back(endpoint_, poller_, i);
    idle_.push_back(options_.connections_max - 1 - i);
  }
  requests_.resize(options_.connections_max);
}

RunResult Generator::run(Schedule& schedule, const Run& run,
                         const std::function<void(const Moment&)>& observe) {
  schedule_ = &schedule;
  run_ = run;
  tally_.emplace(options_.shape.slo, run.window, options_.client_weights);
  answers_ = 0;
  saw_nobody_ = false;
  const double cpu_before_s = cpu_seconds();
  start_ns_ = monotonic_ns();
  uint64_t observe_at_ns = kObserve_every_ns;
  bool was_cut_short = false;
  for (;;) {
    take_due();
    give_up_on_late();
    send_waiting();
    was_cut_short = tally_->missed() > run_.missed_max;
    if (is_over() || was_cut_short || poller_.interrupted()) break;
    if (now_ns() >= observe_at_ns) {
      observe({now_ns(), in_flight_, waiting_.size(), retries_.size(), &*tally_});
      observe_at_ns = now_ns() + kObserve_every_ns;
    }
    const uint64_t wake_ns = std::min(next_wake_ns(), observe_at_ns);
    for (const epoll_event& event : poller_.wait(start_ns_ + wake_ns)) handle(event.data.u64);
  }
  hang_up();
  RunResult result{.tally = *std::move(tally_), .was_cut_short = was_cut_short};
  result.was_interrupted = poller_.interrupted();
  result.is_unreachable = saw_nobody_ && answers_ == 0;
  result.length_s = static_cast<double>(now_ns()) / static_cast<double>(kSecond_ns);
  result.cpu_s = cpu_seconds() - cpu_before_s;
  tally_.reset();
  return result;
}

uint64_t Generator::now_ns() const {
  return monotonic_ns() - start_ns_;
}

void Generator::take_due() {
  const uint64_t now = now_ns();
  const auto admit = [&](Request request, uint64_t intended_ns) {
    request.one = Try();
    request.one.intended_ns = intended_ns;
    ++request.tries;
    request.waited = idle_.size() <= waiting_.size();
    waiting_.push_back(std::move(request));
  };
  while (!retries_.empty() && retries_.top().at_ns <= now) {
    // The queue gives its top only to look at; it leaves in the next line.
    Retry retry = std::move(const_cast<Retry&>(retries_.top()));
    retries_.pop();
    admit(std::move(retry.request), retry.at_ns);
  }
  for (auto due_ns = schedule_->next_at_ns(); due_ns && *due_ns <= now; due_ns = schedule_->next_at_ns()) {
    Request request;
    request.planned = schedule_->take();
    tally_->wants(request.planned, *due_ns);
    admit(std::move(request), *due_ns);
  }
}

void Generator::give_up_on_late() {
  while (!waiting_.empty() && waiting_.front().one.intended_ns + options_.unsent_after_ns < now_ns()) {
    const Request request = std::move(waiting_.front());
    waiting_.pop_front();
    end(request, End::kUnsent, now_ns());
  }
}

void Generator::send_waiting() {
  is_blocked_ = false;
  while (!waiting_.empty() && !idle_.empty() && !is_blocked_) {
    if (!send(waiting_.front())) return;
    waiting_.pop_front();
  }
}

// False: it stays where it is.
bool Generator::send(Request& request) {
  const size_t index = idle_.back();
  Connection& connection = connections_[index];
  if (!connection.start(request_text(options_.shape, request.planned, request.ticket))) {
    is_blocked_ = true;
    return false;
  }
  idle_.pop_back();
  ++in_flight_;
  requests_[index] = std::move(request);
  if (connection.phase() == Connection::Phase::kLost) handle(index);
  return true;
}

void Generator::handle(size_t index) {
  Connection& connection = connections_[index];
  if (connection.phase() == Connection::Phase::kIdle) return connection.drop();
  const auto phase = connection.advance();
  Request& request = *requests_[index];
  read_times(connection, request);
  if (phase != Connection::Phase::kDone && phase != Connection::Phase::kLost) return;
  Request ended = std::move(request);
  requests_[index].reset();
  --in_flight_;
  finish(connection, std::move(ended));
  connection.release();
  idle_.push_back(index);
}

void Generator::read_times(Connection& connection, Request& request) {
  Try& one = request.one;
  if (one.sent_ns == 0 && connection.sent_ns() != 0) {
    one.sent_ns = connection.sent_ns() - start_ns_;
    const uint64_t late_ns = one.sent_ns > one.intended_ns ? one.sent_ns - one.intended_ns : 0;
    tally_->sent(request.planned, late_ns, request.waited);
  }
  if (connection.read_ns() == 0) return;
  const uint64_t read_ns = connection.read_ns() - start_ns_;
  if (one.head_ns == 0 && connection.reader().state() != AnswerReader::State::kHead) {
    one.head_ns = read_ns;
    one.status = connection.reader().status();
  }
  unsigned events = connection.reader().take_text_events();
  if (events == 0) return;
  one.text_events += events;
  uint64_t gap_ns = 0;
  if (one.first_token_ns == 0) {
    one.first_token_ns = read_ns;
    tally_->wants_no_more(request.planned, read_ns);
    --events;  // the first has no gap before it; more may have come with it
  } else {
    gap_ns = read_ns - one.last_token_ns;
  }
  one.last_token_ns = read_ns;
  tally_->text_events(request.planned, gap_ns, events);
}

void Generator::finish(Connection& connection, Request request) {
  Try& one = request.one;
  AnswerReader& reader = connection.reader();
  one.end_ns = now_ns();
  if (connection.phase() == Connection::Phase::kLost) {
    saw_nobody_ = saw_nobody_ || connection.was_unreachable();
    one.reason = connection.why();
    return end(request, End::kFailed, one.end_ns + kUnsaid_wait_ns);
  }
  ++answers_;
  one.end_ns = connection.read_ns() - start_ns_;
  one.degradation = reader.degradation();
  one.prompt_tokens = reader.prompt_tokens();
  one.completion_tokens = reader.completion_tokens() != 0 ? reader.completion_tokens() : one.text_events;
  note_comeback(request);
  if (one.status == 200 && reader.is_whole())
    return end(request, one.degradation.empty() ? End::kFull : End::kDegraded, one.end_ns);
  one.reason = reader.reason();
  if (!is_refusal(one.status)) return end(request, End::kFailed, one.end_ns);
  after_refusal(std::move(request), reader.retry_after_ms(), reader.ticket());
}

void Generator::after_refusal(Request request, std::optional<uint64_t> retry_after_ms, std::string ticket) {
  tally_->refused(request.planned, request.one);
  const uint64_t refused_ns = request.one.end_ns;
  const auto wait_ns = retry_wait_ns(options_.retries, request.tries, options_.tries_max, retry_after_ms);
  const uint64_t free_at_ns = refused_ns + wait_ns.value_or(kUnsaid_wait_ns);
  if (tally_->counts(request.planned) && retry_after_ms) {
    ++tally_->honesty().booked;
    if (!ticket.empty()) ++tally_->honesty().ticketed;
  }
  if (!wait_ns) return end(request, End::kRefused, free_at_ns);
  const bool is_beyond = run_.end_ns != 0 && free_at_ns >= run_.end_ns;
  if (is_beyond || retries_.size() >= kRetries_pending_max) {
    if (tally_->counts(request.planned)) ++tally_->honesty().beyond_run;
    return end(request, End::kRefused, free_at_ns);
  }
  const bool obeys = options_.retries == Retries::kObey;
  request.was_booked = obeys;
  request.had_ticket = obeys && !ticket.empty();
  request.told_wait_ns = *wait_ns;
  request.ticket = obeys ? std::move(ticket) : "";
  ++request.bookings;
  retries_.push({free_at_ns, std::move(request)});
}

// The first retry that comes when the server said is what its promise is judged by.
void Generator::note_comeback(const Request& request) {
  if (!request.was_booked || request.bookings != 1 || !tally_->counts(request.planned)) return;
  Honesty& honesty = tally_->honesty();
  const bool was_served = request.one.status == 200;
  ++honesty.came_back;
  if (request.had_ticket) ++honesty.ticketed_back;
  if (!was_served) return;
  ++honesty.served;
  honesty.error.record(request.one.head_ns - request.one.intended_ns);
  if (!request.had_ticket) return;
  ++honesty.ticketed_served;
  if (request.one.first_token_ns == 0) return;
  const uint64_t late_ns = request.one.first_token_ns - request.one.intended_ns;
  const double part =
      static_cast<double>(late_ns) / static_cast<double>(Honesty::bound_ns(request.told_wait_ns));
  honesty.ticket_error.record(late_ns);
  honesty.ticket_error_part.record(static_cast<uint64_t>(part * static_cast<double>(kSecond_ns)));
}

void Generator::end(const Request& request, End how, uint64_t free_at_ns) {
  tell_end(request, how);
  schedule_->ended(request.planned, free_at_ns);
}

void Generator::tell_end(const Request& request, End how) {
  if (request.one.first_token_ns == 0) tally_->wants_no_more(request.planned, now_ns());
  tally_->ended({request.planned, request.one, request.tries, how});
}

bool Generator::is_over() const {
  const uint64_t now = now_ns();
  const bool more_to_start = schedule_->next_at_ns() || !retries_.empty() || !waiting_.empty();
  if (!more_to_start && in_flight_ == 0) return true;
  return run_.end_ns != 0 && now >= run_.end_ns + run_.drain_ns;
}

uint64_t Generator::next_wake_ns() const {
  uint64_t wake_ns = run_.end_ns != 0 ? run_.end_ns + run_.drain_ns : UINT64_MAX / 2;
  if (const auto due_ns = schedule_->next_at_ns()) wake_ns = std::min(wake_ns, *due_ns);
  if (!retries_.empty()) wake_ns = std::min(wake_ns, retries_.top().at_ns);
  if (!waiting_.empty())
    wake_ns = std::min(wake_ns, waiting_.front().one.intended_ns + options_.unsent_after_ns + 1);
  if (is_blocked_) wake_ns = std::min(wake_ns, now_ns() + kBlocked_wait_ns);
  return wake_ns;
}

// What is open at the end of a run has no place in the next one: its connection is closed.
void Generator::hang_up() {
  const auto abandon = [&](Request& request, End how) {
    request.one.end_ns = now_ns();
    tell_end(request, how);
  };
  for (size_t i = 0; i < connections_.size(); ++i) {
    if (!requests_[i]) continue;
    abandon(*requests_[i], End::kUnfinished);
    requests_[i].reset();
    connections_[i].hang_up();
    idle_.push_back(i);
  }
  in_flight_ = 0;
  for (Request& request : waiting_) abandon(request, End::kUnsent);
  waiting_.clear();
  for (; !retries_.empty(); retries_.pop()) {
    Request request = retries_.top().request;
    abandon(request, End::kRefused);
  }
}

}  // namespace deepserve::ctl::bench
