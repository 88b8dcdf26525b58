#include "daemon/upgrade/trial.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>

#include "daemon/upgrade/sealed_document.h"

namespace deepserve::daemon {
namespace {

constexpr std::string_view kOption = "--trial";
constexpr int kStateFd = 3;
constexpr int kReportFd = 4;
constexpr size_t kReportBytesMax = 1000;

// One line that can be shown: what another program wrote is not trusted.
std::string report_text(const Fd& report) {
  std::array<char, kReportBytesMax> bytes;
  const ssize_t size = ::pread(report.get(), bytes.data(), bytes.size(), 0);
  std::string text(bytes.data(), size > 0 ? static_cast<size_t>(size) : 0);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = ' ';
  }
  return text;
}

}  // namespace

Trial::Trial(Loop& loop, std::function<void(Result<void>)> done)
    : loop_(loop), done_(std::move(done)), timer_(loop, [this] {
        late_ = true;
        child_->signal(SIGKILL);
      }) {}

Trial::~Trial() {
  if (!child_) return;
  child_->signal(SIGKILL);
  child_->reap();
}

Result<void> Trial::start(const Program& program, const std::vector<std::string>& arguments,
                          const HandedState& state) {
  TRY_ASSIGN(const Fd document, seal_document(state.encode()));
  Fd report(::memfd_create("deepserve-trial", MFD_CLOEXEC));
  if (!report) return fail_errno("memfd_create");
  std::vector<std::string> all = arguments;
  all[0] = program.path;
  all.emplace_back(kOption);
  all.push_back(fmt::format("{}:{}", kStateFd, kReportFd));
  const std::pair<int, int> inherited[] = {{document.get(), kStateFd}, {report.get(), kReportFd}};
  TRY_ASSIGN(auto child, Child::spawn(all, inherited));
  path_ = program.path;
  report_ = std::move(report);
  late_ = false;
  child_ = std::move(child);
  ended_ = std::make_unique<Poll>(loop_, child_->pidfd(), [this](int, int) { finish(); });
  ended_->watch(kReadable);
  timer_.start(kLimit_ms);
  return {};
}

void Trial::finish() {
  timer_.stop();
  ended_.reset();
  const auto status = child_->reap();
  child_.reset();
  done_(verdict(status));
}

Result<void> Trial::verdict(const ChildStatus& status) const {
  if (late_) {
    return fail(Code::kConflict, "'{}' did not say within {} s whether it can take over", path_,
                kLimit_ms / 1000);
  }
  const std::string report = report_text(report_);
  if (!status.exited) {
    return fail(Code::kConflict, "'{}' ended by signal {} when asked whether it can take over", path_,
                status.signal);
  }
  if (status.exit_status == 0 && report == kTrialPassed) return {};
  if (!report.empty() && report != kTrialPassed) {
    return fail(Code::kConflict, "'{}' cannot take over: {}", path_, report);
  }
  return fail(Code::kConflict,
              "'{}' ended with {} and no verdict when asked whether it can take over: it is no dsd, or one "
              "that is too old",
              path_, status.exit_status);
}

std::optional<TrialDescriptors> trial_argument(std::vector<std::string>& arguments) {
  if (arguments.size() < 3 || arguments[arguments.size() - 2] != kOption) return std::nullopt;
  const std::string value = std::move(arguments.back());
  arguments.resize(arguments.size() - 2);
  TrialDescriptors descriptors;
  const char* end = value.data() + value.size();
  const auto [middle, problem] = std::from_chars(value.data(), end, descriptors.state);
  if (problem != std::errc() || middle == end || *middle != ':') return std::nullopt;
  const auto [last, other_problem] = std::from_chars(middle + 1, end, descriptors.report);
  if (other_problem != std::errc() || last != end) return std::nullopt;
  return descriptors;
}

int answer_trial(const TrialDescriptors& descriptors,
                 const std::function<Result<void>(const HandedState&)>& check) {
  const auto judge = [&]() -> Result<void> {
    TRY_ASSIGN(const auto bytes, read_document(descriptors.state));
    TRY_ASSIGN(const auto state, HandedState::decode(bytes));
    return check(state);
  };
  const auto judged = judge();
  const std::string text = judged ? std::string(kTrialPassed) : judged.error().message;
  const bool told =
      ::write(descriptors.report, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  return judged && told ? 0 : 1;
}

}  // namespace deepserve::daemon
