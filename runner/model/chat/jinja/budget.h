// What a rendering may still cost: templates and conversations are hostile input, and a template of one line
// can ask for more than any machine has. Whatever makes texts or lists takes from it before it makes them.
#pragma once

#include <cstdint>

#include "ipc/base/result.h"

namespace deepserve::runner::jinja {

// Beside its bytes, each text of a list takes about so much.
inline constexpr uint64_t kPartBytes = 128;

class Budget {
 public:
  Budget(uint64_t steps, uint64_t bytes) : steps_(steps), bytes_(bytes) {}

  // kInvalidRequest when there is not as much left. A step is some hundred nanoseconds.
  Result<void> take_steps(uint64_t steps);
  Result<void> take_bytes(uint64_t bytes);  // of all texts and lists that are read and made
  // Looking for a part in a text, which at worst compares all of it at each place.
  Result<void> take_search(uint64_t text_bytes, uint64_t part_bytes);

 private:
  uint64_t steps_;
  uint64_t bytes_;
};

}  // namespace deepserve::runner::jinja
