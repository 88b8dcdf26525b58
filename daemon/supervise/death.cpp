#include "daemon/supervise/death.h"

#include <csignal>
#include <cstring>

#include "daemon/supervise/device_fault.h"

namespace deepserve::daemon {
namespace {

std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name == nullptr ? fmt::format("signal {}", signal) : fmt::format("SIG{}", name);
}

// It goes into logs and onto terminals: no newline and no escape of a runner's gets there.
std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text) result += c >= ' ' && c <= '~' ? c : '?';
  return result;
}

std::string cause_text(const ipc::DeathCause& cause) {
  return printable({cause.text.data(), strnlen(cause.text.data(), cause.text.size())});
}

// What the model, the build or the command line cannot do today it cannot do in half a second either.
bool is_permanent(Code code) {
  return code == Code::kBadModelFile || code == Code::kNotSupported || code == Code::kInvalidConfig ||
         code == Code::kInvalidRequest || code == Code::kUsage;
}

constexpr uint32_t kDeviceFailed = 5;  // of a cause, see ipc::DeathCause

// What a runner said of its device before it ended; nothing: it said nothing of it.
std::optional<Error> device_fault_of(const DeathFacts& facts) {
  const bool recorded = facts.cause.kind == kDeviceFailed;
  const int number = recorded ? static_cast<int>(facts.cause.number) : 0;
  if (facts.reported && facts.reported->code == Code::kDeviceFault) {
    Error fault = *facts.reported;
    if (fault.device_error == 0) fault.device_error = number;
    return fault;
  }
  if (!facts.reported && recorded) return Error{Code::kDeviceFault, cause_text(facts.cause), number};
  return std::nullopt;
}

Death death_by_device(const Error& error) {
  const CudaFault& fault = cuda_fault(error.device_error);
  return {fault.blame, fault.action == DeviceAction::kGiveUp, "device",
          fmt::format("{}: {}", cuda_fault_text(error.device_error), printable(error.message)),
          error.device_error};
}

}  // namespace

Death classify_death(const DeathFacts& facts) {
  if (const auto fault = device_fault_of(facts)) return death_by_device(*fault);
  const std::string how = !facts.status_known ? "ended"
                          : facts.exited      ? fmt::format("exited with status {}", facts.exit_status)
                                              : fmt::format("was ended by {}", signal_name(facts.signal));
  if (facts.reported) {
    const bool permanent = !facts.was_ready && is_permanent(facts.reported->code);
    return {Blame::kRunner, permanent, facts.was_ready ? "exit" : "refused",
            printable(facts.reported->message)};
  }
  if (facts.drained && (!facts.status_known || (facts.exited && facts.exit_status == 0))) {
    return {Blame::kNobody, false, "drained", "drained and exited"};
  }
  if (facts.signalled_by_us) return {Blame::kNobody, false, "operator", how + " on dsd's signal"};
  const std::string cause = cause_text(facts.cause);
  if (facts.cause.kind != 0) {
    return {Blame::kRunner, false, "crash", cause.empty() ? how : fmt::format("{}: {}", how, cause)};
  }
  if (!facts.status_known || (!facts.exited && facts.signal == SIGKILL)) {
    if (facts.out_of_memory) return {Blame::kRunner, false, "oom", "was killed by the kernel: out of memory"};
    return {Blame::kNobody, false, "killed",
            facts.status_known ? "was killed from outside (SIGKILL)" : "ended without a word, as if killed"};
  }
  return {Blame::kRunner, false, facts.exited ? "exit" : "crash", how};
}

}  // namespace deepserve::daemon
