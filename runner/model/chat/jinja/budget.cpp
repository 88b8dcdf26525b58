#include "runner/model/chat/jinja/budget.h"

namespace deepserve::runner::jinja {

Result<void> Budget::take_steps(uint64_t steps) {
  if (steps > steps_) return fail(Code::kInvalidRequest, "the template takes too many steps");
  steps_ -= steps;
  return {};
}

Result<void> Budget::take_bytes(uint64_t bytes) {
  if (bytes > bytes_) return fail(Code::kInvalidRequest, "the template makes too much text");
  bytes_ -= bytes;
  return {};
}

Result<void> Budget::take_search(uint64_t text_bytes, uint64_t part_bytes) {
  return take_steps((text_bytes / 64) * (part_bytes / 64));
}

}  // namespace deepserve::runner::jinja
