#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <vector>

#include "ctl/commands.h"
#include "ctl/show.h"
#include "ctl/toml_text.h"

namespace deepserve::ctl {
namespace {

// The dsd beside our own executable, if it can be run; empty otherwise.
std::string daemon_beside_us() {
  std::array<char, PATH_MAX> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) return {};
  std::string executable(path.data(), static_cast<size_t>(size));
  executable.replace(executable.rfind('/') + 1, std::string::npos, "dsd");
  return ::access(executable.c_str(), X_OK) == 0 ? executable : std::string();
}

std::string render_changes(const Session& session, const boost::json::value& answer, std::string_view none) {
  const auto& changes = rows_of(field(answer, "changes"));
  if (changes.empty()) return std::string(none);
  Table table({{"KEY"}, {"FROM"}, {"TO"}, {"TAKES EFFECT"}});
  for (const auto& row : changes) {
    const std::string takes = text_of(row, "takes_effect");
    table.add_row({{text_of(row, "key"), Style::kBold},
                   {text_of(row, "from")},
                   {text_of(row, "to")},
                   {takes == "reload" ? "at a reload" : "by a reload, which begins a " + takes}});
  }
  return table.render(session.terminal());
}

}  // namespace

Result<void> diff_config(Session& session) {
  return ask_and_show(session, {.path = "/ctl/config/diff"}, [&](const boost::json::value& answer) {
    return render_changes(session, answer, "the file says what is in effect\n");
  });
}

Result<void> reload_config(Session& session) {
  return ask_and_show(session, {.method = "POST", .path = "/ctl/config/reload"},
                      [&](const boost::json::value& answer) {
                        return render_changes(session, answer, "nothing has changed\n");
                      });
}

Result<void> check_config(Session& session, const std::string& file) {
  std::string beside = daemon_beside_us();
  std::vector<std::string> words = {beside.empty() ? "dsd" : beside, "--config", file, "--check"};
  if (session.options().json) words.emplace_back("--json");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::signal(SIGPIPE, SIG_DFL);  // an ignored signal would stay ignored in dsd
  ::execvp(arguments[0], arguments.data());
  const int error = errno;
  ::signal(SIGPIPE, SIG_IGN);
  return fail(Code::kIo, "dsd, which checks configs, was found neither beside dsctl nor in PATH: {}",
              std::strerror(error));
}

Result<void> show_config(Session& session) {
  return ask_and_show(session, {.path = "/ctl/config"}, [](const boost::json::value& answer) {
    const std::string origin = fmt::format("# in effect, from {}\n", visible_line(text_of(answer, "path")));
    return origin + toml_text(field(answer, "config"));
  });
}

}  // namespace deepserve::ctl
