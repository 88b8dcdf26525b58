// One run of dsctl: its options, its terminal, and how it talks to the daemon.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "ctl/http_client.h"
#include "ctl/options.h"
#include "ctl/retry.h"
#include "ctl/terminal.h"

namespace deepserve::ctl {

class Session {
 public:
  explicit Session(GlobalOptions options);

  const GlobalOptions& options() const { return options_; }
  const Terminal& terminal() const { return terminal_; }
  Output& out() { return out_; }

  // The body of the answer to a request over ctl.sock. `doing` is the progress line ("restarting tiny@cpu0").
  // `silence_max_ms` as in WaitLimits.
  Result<std::string> control(const HttpRequest& request, std::string_view doing,
                              int silence_max_ms = 30'000);

  // Runs `attempt` as often as the retry rules allow, saying on stderr what is waited for.
  Result<void> with_retries(int interrupt_fd, const Attempt& attempt);

  // "api.sock" -> its path in the runtime directory.
  std::string socket_path(std::string_view name) const;

  // A line on stderr, with --verbose only.
  void note(std::string_view line) const;

  // When the daemon said to come back, if the last failure was a refusal.
  std::optional<uint64_t> retry_after_ms() const { return retry_after_ms_; }

 private:
  GlobalOptions options_;
  Terminal terminal_;
  Output out_;
  std::optional<uint64_t> retry_after_ms_;
};

// `text` with everything but unreserved characters, "@", ":" and "," percent-encoded (RFC 3986): one path
// segment.
std::string path_segment(std::string_view text);

// The rest of a body. kIo as in HttpExchange::read_some; kPayloadTooLarge beyond 256 MiB.
Result<std::string> read_body(HttpExchange& exchange);

// Prints the daemon's JSON as it came, on one line of its own.
Result<void> print_json(Session& session, std::string_view body);

}  // namespace deepserve::ctl
