#include "daemon/serving/adoption.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <optional>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

std::optional<ipc::ProcessIdentity> process_of(std::string_view name) {
  ipc::ProcessIdentity process;
  const char* end = name.data() + name.size();
  const auto pid = std::from_chars(name.data(), end, process.pid);
  if (pid.ec != std::errc() || pid.ptr == end || *pid.ptr != '-') return std::nullopt;
  const auto start = std::from_chars(pid.ptr + 1, end, process.start_ticks);
  if (start.ec != std::errc() || std::string_view(start.ptr, end) != ".sock") return std::nullopt;
  return process;
}

}  // namespace

std::string rendezvous_name(const ipc::ProcessIdentity& process) {
  return fmt::format("{}-{}.sock", process.pid, process.start_ticks);
}

void end_runners(const std::string& directory) {
  constexpr int kPatience_ms = 5'000;
  std::error_code error;
  std::vector<Child> ending;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const auto process = process_of(entry.path().filename().string());
    auto child = process ? Child::adopt(*process) : Result<Child>(fail(Code::kNotFound, "no process"));
    ::unlink(entry.path().c_str());
    if (!child) continue;
    spdlog::info("ending the runner that is left, pid {}", child->pid());
    child->signal(SIGKILL);
    ending.push_back(std::move(*child));
  }
  for (const Child& child : ending) {
    pollfd ended{child.pidfd(), POLLIN, 0};
    if (::poll(&ended, 1, kPatience_ms) != 1) spdlog::error("pid {} does not end", child.pid());
  }
}

Adoption::Adoption(Loop& loop, const std::string& directory, uint64_t limit_ns,
                   std::function<void(RunnerCandidate)> found, std::function<void()> done)
    : loop_(loop), found_(std::move(found)), done_(std::move(done)), limit_(loop, [this] {
        for (auto& one : std::exchange(pending_, {}))
          end(std::move(one->process), one->path, "it does not answer");
        finish_when_heard();
      }) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    look_at(entry.path().string(), entry.path().filename().string());
  }
  if (!pending_.empty()) limit_.start(limit_ns / kMillisecond_ns);
  loop_.defer([this, alive = alive_] {
    if (*alive) finish_when_heard();
  });
}

void Adoption::look_at(const std::string& path, const std::string& name) {
  const auto process = process_of(name);
  auto child = process ? Child::adopt(*process) : Result<Child>(fail(Code::kNotFound, "no process"));
  if (!child) {
    ::unlink(path.c_str());
    return;
  }
  auto pending = std::make_unique<Pending>(Pending{path, std::move(*child), {}, nullptr});
  auto connection = ipc::connect_to_rendezvous(path);
  if (!connection) return end(std::move(pending->process), path, connection.error().message);
  pending->connection = std::move(*connection);
  pending->poll = std::make_unique<Poll>(loop_, pending->connection.get(),
                                         [this, one = pending.get()](int, int) { hear(*one); });
  pending->poll->watch(kReadable);
  pending_.push_back(std::move(pending));
}

void Adoption::hear(Pending& pending) {
  auto heard = ipc::receive_hello(pending.connection.get());
  if (heard && !*heard) return;
  const auto place = std::find_if(pending_.begin(), pending_.end(),
                                  [&pending](const auto& one) { return one.get() == &pending; });
  const auto taken = std::move(*place);
  pending_.erase(place);
  taken->poll.reset();
  if (!heard) {
    end(std::move(taken->process), taken->path, heard.error().message);
  } else if ((*heard)->hello.process.pid != static_cast<uint64_t>(taken->process.pid())) {
    end(std::move(taken->process), taken->path, "it says that it is another process");
  } else {
    found_({taken->path, std::move(taken->process), std::move(taken->connection), std::move((*heard)->hello),
            std::move((*heard)->group)});
  }
  finish_when_heard();
}

void Adoption::end(Child process, const std::string& path, std::string_view why) {
  spdlog::warn("a runner of an earlier daemon (pid {}) is ended: {}", process.pid(), why);
  process.signal(SIGKILL);
  ::unlink(path.c_str());
  auto& ending = *ending_.emplace_back(std::make_unique<Ending>(Ending{std::move(process), nullptr}));
  ending.poll = std::make_unique<Poll>(loop_, ending.process.pidfd(), [this](int, int) { forget_ended(); });
  ending.poll->watch(kReadable);
}

void Adoption::forget_ended() {
  std::erase_if(ending_, [](const auto& one) {
    if (!one->process.has_ended()) return false;
    one->process.reap();
    return true;
  });
}

void Adoption::finish_when_heard() {
  if (over_ || !pending_.empty()) return;
  over_ = true;
  limit_.stop();
  done_();
}

void Adoption::end_all() {
  for (auto& one : std::exchange(pending_, {})) end(std::move(one->process), one->path, "the daemon ends");
  limit_.stop();
  over_ = true;
  *alive_ = false;
}

}  // namespace deepserve::daemon
