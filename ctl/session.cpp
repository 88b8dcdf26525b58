#include "ctl/session.h"

#include <cctype>
#include <cmath>
#include <random>

#include "ctl/error_body.h"
#include "ctl/interrupt.h"
#include "ctl/progress.h"
#include "ctl/units.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl {
namespace {

double draw_unit_random() {
  static std::mt19937_64 generator(std::random_device{}());
  return std::uniform_real_distribution<double>(0.0, 1.0)(generator);
}

std::string when_to_retry(uint64_t retry_after_ms) {
  return human_duration(static_cast<double>(retry_after_ms) / 1000.0);
}

std::optional<Failure> run_control(const std::string& socket_path, const HttpRequest& request,
                                   WaitLimits limits, HttpHead& head, std::string& body) {
  const auto failed = [](Error& error) { return Failure{std::move(error), std::nullopt}; };
  auto exchange = HttpExchange::start(socket_path, request, limits);
  if (!exchange) return failed(exchange.error());
  auto answer_head = exchange->read_head();
  if (!answer_head) return failed(answer_head.error());
  auto answer_body = read_body(*exchange);
  if (!answer_body) return failed(answer_body.error());
  head = *answer_head;
  body = std::move(*answer_body);
  if (head.status >= 200 && head.status < 300) return std::nullopt;
  return failure_from_answer(head, body);
}

}  // namespace

Session::Session(GlobalOptions options)
    : options_(std::move(options)), terminal_(inspect_terminal(options_.no_color)) {}

Result<std::string> Session::control(const HttpRequest& request, std::string_view doing, int silence_max_ms) {
  std::string body;
  TRY(with_retries(-1, [&] {
    const Progress progress(terminal_, std::string(doing));
    const uint64_t start_ns = monotonic_ns();
    HttpHead head;
    auto failure = run_control(socket_path("ctl.sock"), request, {-1, silence_max_ms}, head, body);
    if (head.status != 0) {
      note(fmt::format("{} {}: {} in {} ms", request.method, request.path, head.status,
                       (monotonic_ns() - start_ns) / kMillisecond_ns));
    }
    return failure;
  }));
  return body;
}

Result<void> Session::with_retries(int interrupt_fd, const Attempt& attempt) {
  RetryPolicy policy;
  if (options_.no_retry) policy.tries_max = 1;
  RetrySchedule schedule(policy, draw_unit_random);
  const Wait wait = [&](double wait_s, const Failure& failure) {
    complain(fmt::format("{}; try {} of {} in {:.1f} s", failure.error.message, schedule.next_try(),
                         schedule.policy().tries_max, wait_s));
    const Progress progress(terminal_, "waiting to try again");
    const int wait_ms = static_cast<int>(std::ceil(wait_s * 1000.0));
    return wait_readable(-1, interrupt_fd, wait_ms) != Ready::kInterrupted;
  };
  auto failure = run_with_retries(schedule, wait, attempt);
  retry_after_ms_.reset();
  if (!failure) return {};
  retry_after_ms_ = failure->retry_after_ms;
  const ErrorRow& row = error_row(failure->error.code);
  if (row.retryable && failure->retry_after_ms) {
    failure->error.message += fmt::format("; try again in {}", when_to_retry(*failure->retry_after_ms));
  } else if (row.exit_code == 4) {
    failure->error.message += "; try again later (the daemon did not say when)";
  }
  return tl::unexpected<Error>(std::move(failure->error));
}

std::string Session::socket_path(std::string_view name) const {
  return fmt::format("{}/{}", options_.runtime_dir, name);
}

void Session::note(std::string_view line) const {
  if (options_.verbose) complain(line);
}

std::string path_segment(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_kept = byte < 0x80 && (std::isalnum(byte) != 0 ||
                                         std::string_view("-._~@:,").find(c) != std::string_view::npos);
    out += is_kept ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

Result<std::string> read_body(HttpExchange& exchange) {
  constexpr size_t kBody_bytes_max = size_t{256} << 20;
  std::string body;
  for (;;) {
    TRY_ASSIGN(const std::string piece, exchange.read_some());
    if (piece.empty()) return body;
    body += piece;
    if (body.size() > kBody_bytes_max)
      return fail(Code::kPayloadTooLarge, "the daemon's answer is too large");
  }
}

Result<void> print_json(Session& session, std::string_view body) {
  while (body.ends_with('\n')) body.remove_suffix(1);
  return session.out().write(std::string(body) + "\n");
}

}  // namespace deepserve::ctl
