#include "runner/lane/fatal_signals.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>
#include <system_error>

#include "runner/model/mapped_file.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kSignal = 1;
constexpr uint32_t kAbort = 2;
constexpr uint32_t kReported = 3;
constexpr uint32_t kModelChanged = 4;
constexpr uint32_t kDeviceFailed = 5;

constexpr size_t kStackBytes = 32 * 1024;
alignas(16) char alternate_stack[kStackBytes];

std::atomic<ipc::Lane*> dying_lane{nullptr};
std::atomic<const ipc::GroupMemory*> dying_group{nullptr};
uint32_t dying_rank = 0;              // of the group; stored before it
ipc::DeathCause out_of_memory_cause;  // composed beforehand: there will be no memory to do it in

void set_text(ipc::DeathCause& cause, std::string_view text) noexcept {
  const size_t size = std::min(text.size(), cause.text.size() - 1);
  std::memcpy(cause.text.data(), text.data(), size);
  cause.text[size] = '\0';
}

Code code_of(const ipc::DeathCause& cause) noexcept {
  if (cause.kind == kReported) return static_cast<Code>(cause.number);
  return cause.kind == kModelChanged ? Code::kBadModelFile : Code::kInternal;
}

void record(const ipc::DeathCause& cause) noexcept {
  if (auto* lane = dying_lane.load()) lane->record_death(cause);
  if (const auto* group = dying_group.load()) {
    group->record_failure(dying_rank, code_of(cause), std::string_view(cause.text.data()));
  }
}

std::string_view signal_text(int number) noexcept {
  switch (number) {
    case SIGSEGV:
      return "SIGSEGV: segmentation fault";
    case SIGBUS:
      return "SIGBUS: bus error";
    case SIGFPE:
      return "SIGFPE: arithmetic fault";
    case SIGILL:
      return "SIGILL: illegal instruction";
    case SIGABRT:
      return "SIGABRT: a CHECK failed, or abort was called";
    default:
      return "a fatal signal";
  }
}

void on_fatal_signal(int number, siginfo_t* info, void*) noexcept {
  ipc::DeathCause cause;
  cause.kind = number == SIGABRT ? kAbort : kSignal;
  cause.number = static_cast<uint32_t>(number);
  if (number == SIGBUS && info->si_code > 0 && address_in_mapped_model(info->si_addr)) {  // not a kill()
    cause.kind = kModelChanged;
    set_text(cause, "the model file changed under us or cannot be read any more (SIGBUS)");
  } else {
    set_text(cause, signal_text(number));
  }
  record(cause);
  raise(number);  // SA_RESETHAND has put the default action back: it is taken on return
}

[[noreturn]] void on_out_of_memory() {
  record(out_of_memory_cause);
  const std::string_view text(out_of_memory_cause.text.data());
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, text.data(), text.size());
  written = write(STDERR_FILENO, "\n", 1);
  _exit(1);
}

// The only exception that nothing here catches is that of a thread that cannot be made: its stack counts,
// too.
[[noreturn]] void on_uncaught() {
  try {
    if (const auto exception = std::current_exception()) std::rethrow_exception(exception);
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again) on_out_of_memory();
  } catch (...) {
  }
  std::abort();
}

void handle_fatal_signals(uint64_t memory_limit_bytes) {
  out_of_memory_cause.kind = kReported;
  out_of_memory_cause.number = static_cast<uint32_t>(Code::kOutOfMemory);
  set_text(out_of_memory_cause,
           memory_limit_bytes == 0
               ? std::string("out of memory")
               : fmt::format("out of memory: memory_limit is {} bytes", memory_limit_bytes));
  std::set_new_handler(on_out_of_memory);
  if (memory_limit_bytes != 0) std::set_terminate(on_uncaught);

  stack_t stack{};
  stack.ss_sp = alternate_stack;
  stack.ss_size = sizeof alternate_stack;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_fatal_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(number, &action, nullptr);
}

}  // namespace

void report_fatal_signals_to(ipc::Lane& lane, uint64_t memory_limit_bytes) {
  dying_lane.store(&lane);
  handle_fatal_signals(memory_limit_bytes);
}

void redirect_fatal_signals_to(ipc::Lane& lane) {
  dying_lane.store(&lane);
}

void report_fatal_signals_to(const ipc::GroupMemory& group, uint32_t rank, uint64_t memory_limit_bytes) {
  dying_rank = rank;
  dying_group.store(&group);
  handle_fatal_signals(memory_limit_bytes);
}

void record_reported_error(ipc::Lane& lane, const Error& error, bool model_changed) {
  ipc::DeathCause cause;
  cause.kind = model_changed ? kModelChanged : kReported;
  cause.number = static_cast<uint32_t>(error.code);
  if (error.code == Code::kDeviceFault) {
    cause.kind = kDeviceFailed;
    cause.number = static_cast<uint32_t>(error.device_error);
  }
  set_text(cause, error.message);
  lane.record_death(cause);
}

}  // namespace deepserve::runner
