#include "runner/serve_arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "ipc/base/clock.h"
#include "ipc/rank_group/group_memory.h"
#include "runner/engine_options.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kSequencesMax = 4096;
constexpr uint64_t kStepMax_ns = 10 * kSecond_ns;

// "0,1,5"; nothing means every core that the process may use.
Result<std::vector<uint32_t>> parse_cores(std::string_view text) {
  std::vector<uint32_t> cores;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    uint32_t core = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), core);
    if (error != std::errc() || end != word.data() + word.size()) {
      return fail(Code::kUsage, "--cores: \"{}\" is no core's number", word);
    }
    cores.push_back(core);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return cores;
}

}  // namespace

Result<ServeOptions> parse_serve_arguments(std::vector<std::string> words) {
  ServeOptions options;
  options.command = words;
  std::string model;
  std::string cores;
  std::string prefix_cache = "on", deterministic = "on", allow_jit = "off";
  uint64_t memory_limit_bytes = 0;
  CLI::App app("Serve one lane of dsd, which starts this with the lane's descriptors", "ds-runner serve");
  app.add_option("--name", options.name, "Who this is in the log: <model>@<device>")->required();
  app.add_option("--model", model, "The model's file")->required();
  app.add_option("--kind", options.kind, "Of device: \"cpu\" or \"cuda\"");
  app.add_option("--cores", cores, "Numbers separated by commas; all usable ones when not given");
  app.add_option("--context-tokens", options.context_tokens, "0: the model's own");
  app.add_option("--kv-bytes", options.kv_bytes, "Memory for the KV cache");
  add_kv_type_option(app, options.kv_type);
  app.add_option("--sequences-max", options.sequences_max, "How many run at once")
      ->check(CLI::Range(1u, kSequencesMax));
  app.add_option("--step-target-ns", options.step_target_ns,
                 "Of prefill in a step in which others decode; 0: no limit")
      ->check(CLI::Range(uint64_t{0}, kStepMax_ns));
  app.add_option("--step-max-ns", options.step_max_ns,
                 "Of a step without decodes, or of decodes beside vip work")
      ->check(CLI::Range(kMillisecond_ns, kStepMax_ns));
  app.add_option("--prefix-cache", prefix_cache, "\"on\" or \"off\"")->check(CLI::IsMember({"on", "off"}));
  app.add_option("--epoch", options.epoch, "Of the lane; 0: any");
  app.add_option("--ranks", options.ranks, "Processes that the model is spread over (1)")
      ->check(CLI::Range(1u, ipc::kRanksMax));
  app.add_option("--rank", options.rank, "Which of them this is; 0 has the lane");
  app.add_option("--orphan-limit-ns", options.orphan_limit_ns,
                 "Without a daemon for so long it drains and ends");
  app.add_option("--load-nice", options.load_nice, "So much the others go first until it is ready; 0: not")
      ->check(CLI::Range(0, 19));
  app.add_option("--memory-limit", memory_limit_bytes,
                 "Private memory of the process in bytes, or of its GPU; 0: no limit");
  app.add_option("--chat-template", options.chat_template, "A family by name, whatever the file says");
  app.add_option("--isa", options.isa,
                 "\"scalar\", \"avx2\" or \"avx512\"; without it the best this CPU has");
  add_speculation_option(app, options.speculation);
  app.add_option("--deterministic", deterministic, "\"on\", or \"off\": a GPU's library may choose by shape")
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--allow-jit", allow_jit, "\"on\": a GPU's driver may compile the kernels; or \"off\"")
      ->check(CLI::IsMember({"on", "off"}));
  TRY(parse_words(app, "serve", std::move(words)));
  if (options.rank >= options.ranks)
    return fail(Code::kUsage, "serve: --rank {} of --ranks {}", options.rank, options.ranks);
  options.model = model;
  options.prefix_cache = prefix_cache == "on";
  options.deterministic = deterministic == "on";
  options.allow_jit = allow_jit == "on";
  if (options.kind == "cuda")
    options.device_memory_bytes = memory_limit_bytes;
  else if (memory_limit_bytes != 0)
    options.memory_limit_bytes = memory_limit_bytes;
  TRY_ASSIGN(options.cores, parse_cores(cores));
  return options;
}

}  // namespace deepserve::runner
