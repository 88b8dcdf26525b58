#include "runner/model/model_config.h"

#include <cmath>
#include <iterator>

namespace deepserve::runner {
namespace {

constexpr std::string_view kNames[] = {"llama", "qwen2", "qwen3"};
static_assert(std::size(kNames) == static_cast<size_t>(Architecture::kCount));

}  // namespace

std::string_view architecture_name(Architecture architecture) {
  return kNames[static_cast<size_t>(architecture)];
}

double yarn_attention_factor(double factor, double weight) {
  return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
}

}  // namespace deepserve::runner
