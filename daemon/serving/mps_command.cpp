#include "daemon/serving/mps_command.h"

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>

namespace deepserve::daemon {
namespace {

Result<Fd> memory_file(const std::string& text) {
  Fd file(::memfd_create("deepserve-mps", MFD_CLOEXEC));
  if (!file) return fail_errno("cannot make a file in memory");
  const auto size = static_cast<ssize_t>(text.size());
  if (::pwrite(file.get(), text.data(), text.size(), 0) != size)
    return fail_errno("cannot write a file in memory");
  return file;
}

}  // namespace

MpsCommand::MpsCommand(Loop& loop, const std::string& program, const Environment& environment,
                       const std::string& words, Done done)
    : loop_(loop), done_(std::move(done)), limit_(loop, [this] {
        child_->kill_group();
        end(fail(Code::kUnreachable, "the MPS daemon did not answer within {} ms", kLimit_ms));
      }) {
  if (const auto started = start(program, environment, words); !started) {
    loop_.defer([this, alive = std::weak_ptr<bool>(alive_), error = started.error()] {
      if (!alive.expired()) end(tl::unexpected<Error>(error));
    });
  }
}

MpsCommand::~MpsCommand() {
  if (child_ == nullptr) return;
  child_->kill_group();
  child_->reap();
}

Result<void> MpsCommand::start(const std::string& program, const Environment& environment,
                               const std::string& words) {
  TRY_ASSIGN(const Fd input, memory_file(words));
  TRY_ASSIGN(answer_, memory_file(""));
  const std::pair<int, int> inherited[] = {
      {input.get(), STDIN_FILENO}, {answer_.get(), STDOUT_FILENO}, {answer_.get(), STDERR_FILENO}};
  TRY_ASSIGN(auto child, Child::spawn({program}, inherited, environment));
  child_ = std::make_unique<Child>(std::move(child));
  poll_ = std::make_unique<Poll>(loop_, child_->pidfd(), [this](int, int) { on_ended(); });
  poll_->watch(kReadable);
  limit_.start(kLimit_ms);
  return {};
}

void MpsCommand::on_ended() {
  const ChildStatus status = child_->reap();
  poll_.reset();
  child_.reset();
  if (!status.exited || status.exit_status != 0)
    return end(fail(Code::kUnreachable, "there is no MPS daemon that answers"));
  std::string answer(kAnswerBytesMax, '\0');
  const ssize_t size = ::pread(answer_.get(), answer.data(), answer.size(), 0);
  answer.resize(size > 0 ? static_cast<size_t>(size) : 0);
  end(std::move(answer));
}

void MpsCommand::end(Result<std::string> answer) {
  limit_.stop();
  const Done done = std::exchange(done_, nullptr);
  if (done) done(std::move(answer));
}

}  // namespace deepserve::daemon
