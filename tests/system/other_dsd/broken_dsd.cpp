// A dsd that passes its trial, or not, and then does not take over. How it fails is its own file's name.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "daemon/upgrade/roll_back.h"
#include "daemon/upgrade/sealed_document.h"
#include "daemon/upgrade/trial.h"
#include "ipc/base/check.h"

namespace {

using namespace deepserve;
using namespace deepserve::daemon;

int overflow(int depth) {
  volatile char page[4096] = {};
  page[depth % 4096] = 1;
  return depth < 0 ? 0 : overflow(depth + 1) + page[0];
}

Result<void> judge(const std::string& how, const HandedState&) {
  if (how == "refuses_the_version") return fail(Code::kNotSupported, "the state is of another version");
  return {};
}

// As far as the real one comes before it is ready: the descriptors are its own.
void own_descriptors(int state_fd) {
  const auto bytes = read_document(state_fd);
  CHECK(bytes);
  const auto state = HandedState::decode(*bytes);
  CHECK(state);
  const auto descriptors = state->descriptors();
  roll_back::remember(descriptors);
  for (const int fd : descriptors) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int fail_as(const std::string& how) {
  if (how == "hangs") {
    for (;;) ::pause();
  }
  if (how == "is_killed") ::kill(::getpid(), SIGKILL);
  if (how == "aborts") std::abort();
  if (how == "checks") CHECK(false);
  if (how == "overflows") return overflow(0);
  if (how == "exits") std::exit(3);
  if (how == "fails") roll_back::now("no such luck");
  return 1;
}

}  // namespace

int main(int argument_count, char** argument_values) {
  std::vector<std::string> arguments(argument_values, argument_values + argument_count);
  const std::string how = std::filesystem::read_symlink("/proc/self/exe").filename();
  if (const auto trial = trial_argument(arguments)) {
    if (how == "aborts_in_its_trial") std::abort();
    return answer_trial(*trial, [&how](const HandedState& state) { return judge(how, state); });
  }
  const auto take_over = take_over_argument(arguments);
  if (!take_over) return 2;
  roll_back::arm(*take_over, arguments);
  own_descriptors(take_over->state_fd);
  return fail_as(how);
}
