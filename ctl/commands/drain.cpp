#include "ctl/commands.h"
#include "ctl/show.h"

namespace deepserve::ctl {
namespace {

namespace json = boost::json;

constexpr int kNo_limit_ms = -1;  // requests that run take what they take

Result<void> order(Session& session, const std::string& path, const std::string& what,
                   const std::string& doing) {
  const auto render = [&what](const json::value& answer) {
    return fmt::format("{} is {}\n", visible_line(what), visible_line(text_of(answer, "state")));
  };
  return ask_and_show(session, {.method = "POST", .path = path}, render, fmt::format("{} {}", doing, what),
                      kNo_limit_ms);
}

std::string runner_path(const std::string& id, const char* verb) {
  return "/ctl/runners/" + path_segment(id) + verb;
}

}  // namespace

Result<void> drain_host(Session& session) {
  return order(session, "/ctl/drain", "the host", "draining");
}

Result<void> resume_host(Session& session) {
  return order(session, "/ctl/resume", "the host", "resuming");
}

Result<void> drain_model(Session& session, const std::string& name) {
  return order(session, "/ctl/drain/" + path_segment(name), "model " + name, "draining");
}

Result<void> resume_model(Session& session, const std::string& name) {
  return order(session, "/ctl/resume/" + path_segment(name), "model " + name, "resuming");
}

Result<void> drain_runner(Session& session, const std::string& id) {
  return order(session, runner_path(id, "/drain"), "runner " + id, "draining");
}

Result<void> resume_runner(Session& session, const std::string& id) {
  return order(session, runner_path(id, "/resume"), "runner " + id, "resuming");
}

}  // namespace deepserve::ctl
