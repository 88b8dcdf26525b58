// dsd: the daemon. Reads its arguments, then either checks a configuration or serves it until it is told to
// stop.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "daemon/config/config.h"
#include "daemon/config/cpuset.h"
#include "daemon/process/daemon.h"
#include "ipc/base/log.h"

namespace {

using namespace deepserve;
using namespace deepserve::daemon;

struct Arguments {
  std::string config;
  std::string runtime_dir = "/run/deepserve";
  std::string state_dir = "/var/lib/deepserve";
  std::string runner;
  bool state_dir_given = false;
  bool check = false;
  bool json = false;
};

std::string beside_this_program(const std::string& name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return self.parent_path() / name;
}

int check_config(const Arguments& arguments, const ConfigSurroundings& surroundings) {
  const auto config = load_config(arguments.config, surroundings);
  const ConfigProblems problems = config ? ConfigProblems{} : config.error();
  if (arguments.json) {
    std::cout << problems_json(arguments.config, problems) << "\n";
  } else {
    std::cerr << problems_text(arguments.config, problems);
    if (problems.empty()) std::cout << arguments.config << ": ok\n";
  }
  return problems.empty() ? 0 : 1;
}

int serve(const Arguments& arguments, const ConfigSurroundings& surroundings) {
  auto config = load_config(arguments.config, surroundings);
  if (!config) {
    std::cerr << problems_text(arguments.config, config.error());
    return 1;
  }
  init_log("dsd", LogLevel::kInfo);
  return run_daemon(*config,
                    {.runner_binary = arguments.runner, .state_dir_wanted = arguments.state_dir_given});
}

}  // namespace

int main(int argument_count, char** argument_values) {
  Arguments arguments;
  CLI::App app("dsd " DEEPSERVE_VERSION ": serves language models on this host");
  app.set_version_flag("--version", "dsd " DEEPSERVE_VERSION);
  app.add_option("--config", arguments.config, "The configuration, a TOML file")->required();
  app.add_option("--runtime-dir", arguments.runtime_dir, "Where the sockets lie")
      ->envname("DEEPSERVE_RUNTIME_DIR")
      ->capture_default_str();
  const auto* state_dir = app.add_option("--state-dir", arguments.state_dir, "Where what outlives dsd lies");
  app.add_option("--runner", arguments.runner, "The runner's program (default: ds-runner beside dsd)");
  const auto* check = app.add_flag("--check", arguments.check, "Check the configuration, serve nothing");
  app.add_flag("--json", arguments.json, "With --check: say it as JSON")
      ->needs(const_cast<CLI::Option*>(check));
  try {
    app.parse(argument_count, argument_values);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  arguments.state_dir_given = state_dir->count() != 0;
  if (arguments.runner.empty()) arguments.runner = beside_this_program("ds-runner");
  const ConfigSurroundings surroundings{arguments.runtime_dir, arguments.state_dir, host_cpuset()};
  return arguments.check ? check_config(arguments, surroundings) : serve(arguments, surroundings);
}
