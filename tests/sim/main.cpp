// admission_sim: policies over loads in the simulator, and the figures that the core is held to.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/sim/capacity.h"
#include "tests/sim/figures.h"
#include "tests/sim/policy.h"
#include "tests/sim/sweep.h"

namespace {

using namespace deepserve::sim;

struct Arguments {
  FigureOptions options;
  std::string shape = "cpu";
  double step_max_seconds = 0;  // 0: the shape's
  std::string mix = "fixed";
  std::string arrivals = "poisson";
  std::string capacity_policy = "deepserve";
  std::vector<std::string> policies;
  std::vector<double> loads = {0.5, 1, 2, 5, 10};
  double capacity = 0;
  bool no_sweep = false;
  bool no_figures = false;
  std::string csv;
  std::string svg;
};

void describe(CLI::App& app, Arguments& arguments) {
  std::vector<std::string> names;
  for (const auto& policy : policy_names()) names.emplace_back(policy.name);
  app.add_option("--policy", arguments.policies, "of these, by commas; all when not named")
      ->delimiter(',')
      ->check(CLI::IsMember(names));
  app.add_option("--loads", arguments.loads, "multiples of the capacity, by commas")->delimiter(',');
  app.add_option("--seeds", arguments.options.seeds, "runs of each point")->check(CLI::Range(1, 1000));
  app.add_option("--seconds", arguments.options.seconds, "simulated, of each run")
      ->check(CLI::Range(60.0, 1e6));
  app.add_option("--shape", arguments.shape, "of the device")->check(CLI::IsMember({"cpu", "core", "gpu"}));
  app.add_option("--step-max", arguments.step_max_seconds, "the longest step beside vip work, in seconds")
      ->check(CLI::Range(0.005, 10.0));
  app.add_option("--mix", arguments.mix, "vip fixed at 0.3 of the capacity, or growing with the load")
      ->check(CLI::IsMember({"fixed", "proportional"}));
  app.add_option("--arrivals", arguments.arrivals, "bursty: gamma, CV 4")
      ->check(CLI::IsMember({"poisson", "bursty"}));
  app.add_option("--capacity", arguments.capacity, "requests a second at a load of 1; 0: found by bisection");
  app.add_option("--capacity-policy", arguments.capacity_policy, "under which it is found")
      ->check(CLI::IsMember(names));
  app.add_flag("--no-sweep", arguments.no_sweep, "only the figures");
  app.add_flag("--no-figures", arguments.no_figures, "only the sweep");
  app.add_option("--csv", arguments.csv, "folder for sweep.csv and figures.csv");
  app.add_option("--svg", arguments.svg, "folder for the charts");
}

bool write_file(const std::string& folder, const std::string& name, const std::string& text) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  std::ofstream file(folder + "/" + name);
  file << text;
  if (file.flush()) return true;
  fmt::print(stderr, "{}/{} cannot be written\n", folder, name);
  return false;
}

bool run_sweep(const Arguments& arguments) {
  auto policies = arguments.policies;
  if (policies.empty()) {
    for (const auto& policy : policy_names()) policies.emplace_back(policy.name);
  }
  const auto begin = std::chrono::steady_clock::now();
  auto points = sweep(arguments.options, policies, arguments.loads);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  fmt::print("{}", table_of(points));
  uint64_t asks = 0;
  for (const auto& point : points) asks += point.tally.total().attempts;
  fmt::print("{:.2f} million requests a minute\n\n", 60e-6 * static_cast<double>(asks) / taken.count());
  bool written = true;
  if (!arguments.csv.empty()) written &= write_file(arguments.csv, "sweep.csv", csv_of(points));
  if (!arguments.svg.empty()) {
    for (const auto& [file, chart] : charts_of(points)) {
      written &= write_file(arguments.svg, file + ".svg", svg_of(chart));
    }
  }
  return written;
}

bool print_figures(const Arguments& arguments) {
  bool passes = true;
  std::string csv = "what,value,bar,verdict\n";
  for (const auto& figure : figures(arguments.options)) {
    const char* verdict = figure.bar.empty() ? "" : figure.passes ? "PASS" : "FAIL";
    fmt::print("{:100} {:>8}  {:14} {}\n", figure.what, figure.value, figure.bar, verdict);
    csv += fmt::format("\"{}\",{},{},{}\n", figure.what, figure.value, figure.bar, verdict);
    passes &= figure.passes;
  }
  if (!arguments.csv.empty()) passes &= write_file(arguments.csv, "figures.csv", csv);
  return passes;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Admission policies in a simulator: the daemon's core, baselines, and an oracle");
  describe(app, arguments);
  CLI11_PARSE(app, argc, argv);
  auto& options = arguments.options;
  if (arguments.shape == "core") options.shape = kCoreShape;
  if (arguments.shape == "gpu") options.shape = kGpuShape;
  if (arguments.step_max_seconds > 0) options.shape.step_seconds_max = arguments.step_max_seconds;
  if (arguments.mix == "proportional") options.mix = Mix::kProportional;
  if (arguments.arrivals == "bursty") options.arrivals = ArrivalKind::kBursty;
  options.capacity = arguments.capacity;
  if (options.capacity <= 0) {
    auto run = usual_options(options, 1);
    run.policy = arguments.capacity_policy;
    options.capacity = find_capacity(run, options.seeds);
  }
  fmt::print(
      "{} shape, {} arrivals, {} mix, capacity {:.3f} requests/s, {} seeds of {:.0f} s, from seed 1\n\n",
      arguments.shape, arguments.arrivals, arguments.mix, options.capacity, options.seeds, options.seconds);
  bool done = arguments.no_sweep || run_sweep(arguments);
  if (!arguments.no_figures) done &= print_figures(arguments);
  return done ? 0 : 1;
}
