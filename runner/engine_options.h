// Options that several of ds-runner's commands have, and how each reads its own. What an option is written to
// holds its default and outlives the parsing.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "kernels/cpu/kv_format.h"

namespace deepserve::runner {

inline void add_kv_type_option(CLI::App& app, kernels::KvType& type) {
  const std::string chosen(kernels::kv_type_name(type));
  app.add_option_function<std::string>(
         "--kv-type", [&type](const std::string& name) { kernels::kv_type_from_name(name, type); },
         "What the KV cache stores its numbers as: f32, f16 or q8 (" + chosen + ")")
      ->check(CLI::IsMember({"f32", "f16", "q8"}));
}

inline void add_kind_option(CLI::App& app, std::string& kind) {
  app.add_option("--kind", kind, "Of device: cpu or cuda (" + kind + ")")
      ->check(CLI::IsMember({"cpu", "cuda"}));
}

// What a GPU may do, by hand: flags, off unless given.
inline void add_gpu_flags(CLI::App& app, bool& deterministic, bool& allow_jit) {
  app.add_flag("--deterministic", deterministic,
               "On a GPU: equal bits whatever a step's shape is, as under dsd; a CPU always is");
  app.add_flag("--allow-jit", allow_jit, "A GPU's driver may compile what there is no machine code for");
}

inline void add_speculation_option(CLI::App& app, bool& speculation) {
  app.add_option_function<std::string>(
         "--speculation", [&speculation](const std::string& value) { speculation = value == "auto"; },
         "\"auto\": tokens are drafted and checked where that pays; or \"off\"")
      ->check(CLI::IsMember({"auto", "off"}));
}

// The words after the command's name. kUsage, naming the command; where its help was asked for, this prints
// it and ends the process.
inline Result<void> parse_words(CLI::App& app, std::string_view command, std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) std::exit(app.exit(error));
    return fail(Code::kUsage, "{}: {}", command, error.what());
  }
  return {};
}

}  // namespace deepserve::runner
