// How dsd starts a runner: the arguments of `ds-runner serve`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cpu/kv_format.h"
#include "runner/backend/backend.h"

namespace deepserve::runner {

struct ServeOptions {
  std::string name;  // "tiny@cpu0": in every log line
  std::filesystem::path model;
  std::string kind = "cpu";     // of device
  std::vector<uint32_t> cores;  // the runner's threads are bound to these; empty: all that it may use
  uint32_t context_tokens = 0;  // 0: the model's own
  uint64_t kv_bytes = 0;
  kernels::KvType kv_type = kernels::KvType::kF16;  // what the KV cache stores its numbers as
  uint32_t sequences_max = 64;
  uint64_t step_target_ns = 25'000'000;  // of prefill in a step in which others decode; 0: no limit
  uint64_t step_max_ns = 100'000'000;    // of a step without decodes, or beside vip work
  bool prefix_cache = true;
  bool speculation = true;    // drafts tokens where that pays
  bool deterministic = true;  // on a GPU: a replay says the same
  bool allow_jit = false;     // on a GPU: its driver may compile the kernels
  uint64_t epoch = 0;         // of the lane, and of the rank group; 0: any
  uint32_t rank = 0;          // of `ranks` processes that the model is spread over; rank 0 has the lane
  uint32_t ranks = 1;
  uint64_t orphan_limit_ns = 30'000'000'000;   // without a dsd for so long it drains and ends
  int load_nice = 0;                           // until it is ready; 0: others do not go first
  std::vector<std::string> command;            // the words that these options were made of
  std::optional<uint64_t> memory_limit_bytes;  // of the process
  uint64_t device_memory_bytes = 0;            // of a GPU; 0: all of it
  std::string chat_template;                   // a family by name; empty: what the model's file says
  std::string isa;                             // "scalar", "avx2", "avx512"; empty: the best there is
  // Called with the backend once its model is loaded: a test's way to have it fail. Empty: it stays.
  std::function<std::unique_ptr<Backend>(std::unique_ptr<Backend>)> replace_backend;
};

}  // namespace deepserve::runner
