// dsd: the daemon. Reads its arguments, then either checks a configuration or serves it until it is told to
// stop.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "daemon/config/config.h"
#include "daemon/config/cpuset.h"
#include "daemon/gpu/inventory_probe.h"
#include "daemon/gpu/nvml_gpus.h"
#include "daemon/process/daemon.h"
#include "daemon/process/runtime_dir.h"
#include "daemon/process/service_manager.h"
#include "daemon/serving/adoption.h"
#include "daemon/supervise/mps_processes.h"
#include "daemon/upgrade/roll_back.h"
#include "daemon/upgrade/sealed_document.h"
#include "daemon/upgrade/trial.h"
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
  bool end_runners = false;
  std::vector<std::string> all;  // as given, the program's name first
};

std::string beside_this_program(const std::string& name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return self.parent_path() / name;
}

// Asked of the driver once, and only where the configuration has a GPU.
Result<GpuInventory> host_gpus() {
  constexpr uint64_t kDriverLimit_ms = 3'000;
  static const auto gpus = probe_inventory(open_nvml_gpus, kDriverLimit_ms);
  return gpus;
}

int check_config(const Arguments& arguments, const ConfigSurroundings& surroundings) {
  const auto config = load_config(arguments.config, surroundings);
  const ConfigProblems problems = config ? config->warnings : config.error();
  if (arguments.json) {
    std::cout << problems_json(arguments.config, problems) << "\n";
  } else {
    std::cerr << problems_text(arguments.config, problems);
    if (config) std::cout << arguments.config << ": ok\n";
  }
  return config ? 0 : 1;
}

int serve(const Arguments& arguments, const ConfigSurroundings& surroundings) {
  auto config = load_config(arguments.config, surroundings);
  if (!config) {
    std::cerr << problems_text(arguments.config, config.error());
    return 1;
  }
  std::cerr << problems_text(arguments.config, config->warnings);
  return run_daemon(*config, {.runner_binary = arguments.runner,
                              .state_dir_wanted = arguments.state_dir_given,
                              .arguments = arguments.all});
}

// What another program's configuration and state are to this one.
Result<Config> fit(const Arguments& arguments, const ConfigSurroundings& surroundings,
                   const HandedState& state) {
  auto config = parse_config(arguments.config, state.config_text, surroundings);
  if (!config) return fail(Code::kInvalidConfig, "{}", problems_text(arguments.config, config.error()));
  if (::access(arguments.runner.c_str(), X_OK) != 0) {
    return fail_errno(fmt::format("the runner '{}' cannot be run", arguments.runner));
  }
  return std::move(*config);
}

// Serves in the place of the program that this process was.
int go_on(const Arguments& arguments, const ConfigSurroundings& surroundings, const TakeOver& take_over) {
  const auto start = [&]() -> Result<int> {
    TRY_ASSIGN(const auto bytes, read_document(take_over.state_fd));
    TRY_ASSIGN(auto state, HandedState::decode(bytes));
    roll_back::remember(state.descriptors());
    TRY_ASSIGN(const Config config, fit(arguments, surroundings, state));
    return run_daemon(config, {.runner_binary = arguments.runner,
                               .state_dir_wanted = arguments.state_dir_given,
                               .arguments = arguments.all,
                               .handed = std::move(state),
                               .rolled_back = take_over.rolled_back});
  };
  const auto status = start();
  if (status) return *status;
  roll_back::now(status.error().message);
  std::cerr << "dsd cannot go on: " << status.error().message << "\n";
  return 1;
}

}  // namespace

int main(int argument_count, char** argument_values) {
  Arguments arguments;
  arguments.all.assign(argument_values, argument_values + argument_count);
  const auto trial = trial_argument(arguments.all);
  const auto take_over = take_over_argument(arguments.all);
  if (take_over) roll_back::arm(*take_over, arguments.all);
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
  app.add_flag(
      "--end-runners", arguments.end_runners,
      "End the runners that a dsd has left in the runtime directory, serve nothing; as ExecStopPost= "
      "after a stop alone, not after a death");
  try {
    app.parse(std::vector<std::string>(arguments.all.rbegin(), arguments.all.rend() - 1));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  arguments.state_dir_given = state_dir->count() != 0;
  if (arguments.runner.empty()) arguments.runner = beside_this_program("ds-runner");
  ConfigSurroundings surroundings{arguments.runtime_dir, arguments.state_dir, host_cpuset()};
  // One that goes on for another serves what that one served, whatever has become of a GPU meanwhile.
  if (!trial && !take_over) surroundings.gpus = host_gpus;
  if (arguments.check) return check_config(arguments, surroundings);
  init_log("dsd", LogLevel::kInfo);
  if (arguments.end_runners) {
    if (!service_was_stopped()) return 0;
    end_runners(rendezvous_dir(arguments.runtime_dir));
    end_left_mps(mps_dir(std::filesystem::absolute(arguments.runtime_dir).lexically_normal()));
    return 0;
  }
  if (trial) {
    return answer_trial(*trial, [&](const HandedState& state) -> Result<void> {
      TRY(fit(arguments, surroundings, state));
      return {};
    });
  }
  return take_over ? go_on(arguments, surroundings, *take_over) : serve(arguments, surroundings);
}
