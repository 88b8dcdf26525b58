#include "daemon/config/model_change.h"

#include <algorithm>
#include <array>
#include <tuple>

namespace deepserve::daemon {
namespace {

template <typename Model>  // const or not
auto runner_keys(Model& model) {
  return std::tie(model.path, model.devices, model.tensor_parallel, model.context_tokens,
                  model.kv_memory_bytes, model.kv_type, model.sequences_max, model.step_target_ns,
                  model.step_max_ns, model.prefix_cache, model.chat_template, model.speculation,
                  model.deterministic);
}

}  // namespace

bool is_runner_key(std::string_view key) {
  constexpr std::array<std::string_view, 5> kOwn{"aliases", "fallback", "fallback_reply", "keep_alive",
                                                 "keep_warm"};
  return std::find(kOwn.begin(), kOwn.end(), key) == kOwn.end();
}

bool has_same_runners(const ModelConfig& left, const ModelConfig& right) {
  return runner_keys(left) == runner_keys(right);
}

void take_runner_keys(const ModelConfig& from, ModelConfig& to) {
  runner_keys(to) = runner_keys(from);
}

}  // namespace deepserve::daemon
