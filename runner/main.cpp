// ds-runner: one process that computes. `serve` is dsd's; the other commands are for hands and scripts.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "runner/bench/bench.h"
#include "runner/generate.h"
#include "runner/lane/server.h"
#include "runner/logits.h"
#include "runner/serve_arguments.h"

namespace deepserve::runner {
namespace {

constexpr const char* kUsageText =
    "Usage: ds-runner COMMAND [arguments]\n"
    "  bench MODEL                    how fast steps are, against what this host could do at best\n"
    "  generate MODEL --prompt TEXT   one answer from a model file, and how fast it came\n"
    "  logits MODEL --tokens 1,5,9    the raw top logits at each position\n"
    "  serve ...                      serve one lane of dsd, which starts this\n"
    "  version                        print the version\n"
    "`ds-runner COMMAND --help` says more.\n";

Result<int> run_serve(std::vector<std::string> words) {
  TRY_ASSIGN(const ServeOptions options, parse_serve_arguments(std::move(words)));
  const int status = serve(options);
  std::fflush(nullptr);
  _exit(status);  // the backend's threads may be at work: nothing is torn down under them
}

Result<int> run(const std::string& command, std::vector<std::string> words) {
  if (command == "serve") return run_serve(std::move(words));
  if (command == "logits") return run_logits(std::move(words));
  if (command == "bench") return run_bench(std::move(words));
  if (command == "generate") return run_generate(std::move(words));
  if (command == "version" || command == "--version") {
    fmt::print("ds-runner {}\n", DEEPSERVE_VERSION);
    return 0;
  }
  if (command == "help" || command == "--help" || command == "-h") {
    fmt::print("{}", kUsageText);
    return 0;
  }
  return fail(Code::kUsage, "no such command: \"{}\"\n{}", command, kUsageText);
}

}  // namespace
}  // namespace deepserve::runner

int main(int count, char** words) {
  const std::vector<std::string> all(words, words + count);
  if (all.size() < 2) {
    fmt::print(stderr, "{}", deepserve::runner::kUsageText);
    return deepserve::error_row(deepserve::Code::kUsage).exit_code;
  }
  const auto status = deepserve::runner::run(all[1], {all.begin() + 2, all.end()});
  if (status) return *status;
  fmt::print(stderr, "ds-runner: {}\n", status.error().message);
  return deepserve::error_row(status.error().code).exit_code;
}
