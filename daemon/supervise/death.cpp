#include "daemon/supervise/death.h"

#include <csignal>
#include <cstring>

namespace deepserve::daemon {
namespace {

std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name == nullptr ? fmt::format("signal {}", signal) : fmt::format("SIG{}", name);
}

std::string cause_text(const ipc::DeathCause& cause) {
  const std::string_view text(cause.text.data(), strnlen(cause.text.data(), cause.text.size()));
  std::string printable;
  for (const char c : text) printable += c >= ' ' && c <= '~' ? c : '?';
  return printable;
}

// What the model, the build or the command line cannot do today it cannot do in half a second either.
bool is_permanent(Code code) {
  return code == Code::kBadModelFile || code == Code::kNotSupported || code == Code::kInvalidConfig ||
         code == Code::kInvalidRequest || code == Code::kUsage;
}

}  // namespace

Death classify_death(const DeathFacts& facts) {
  const std::string how = facts.exited ? fmt::format("exited with status {}", facts.exit_status)
                                       : fmt::format("was ended by {}", signal_name(facts.signal));
  if (facts.reported) {
    return {Blame::kRunner, is_permanent(facts.reported->code), "refused", facts.reported->message};
  }
  if (facts.signalled_by_us) return {Blame::kNobody, false, "operator", how + " on dsd's signal"};
  const std::string cause = cause_text(facts.cause);
  if (facts.cause.kind != 0) {
    return {Blame::kRunner, false, "crash", cause.empty() ? how : fmt::format("{}: {}", how, cause)};
  }
  if (!facts.exited && facts.signal == SIGKILL) {
    if (facts.out_of_memory) return {Blame::kRunner, false, "oom", "was killed by the kernel: out of memory"};
    return {Blame::kNobody, false, "killed", "was killed from outside (SIGKILL)"};
  }
  return {Blame::kRunner, false, facts.exited ? "exit" : "crash", how};
}

}  // namespace deepserve::daemon
