// Options that several of ds-runner's commands have. What an option is written to holds its default and
// outlives the parsing.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "kernels/cpu/kv_format.h"

namespace deepserve::runner {

inline void add_kv_type_option(CLI::App& app, kernels::KvType& type) {
  const std::string chosen(kernels::kv_type_name(type));
  app.add_option_function<std::string>(
         "--kv-type", [&type](const std::string& name) { kernels::kv_type_from_name(name, type); },
         "What the KV cache stores its numbers as: f32, f16 or q8 (" + chosen + ")")
      ->check(CLI::IsMember({"f32", "f16", "q8"}));
}

inline void add_speculation_option(CLI::App& app, bool& speculation) {
  app.add_option_function<std::string>(
         "--speculation", [&speculation](const std::string& value) { speculation = value == "auto"; },
         "\"auto\": tokens are drafted and checked where that pays; or \"off\"")
      ->check(CLI::IsMember({"auto", "off"}));
}

}  // namespace deepserve::runner
