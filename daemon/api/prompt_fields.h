// Reads the prompts of a completion and the inputs of an embedding, which are written alike.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class Fields;

// The field `name`: a string, a list of token ids, or a list of up to `prompts_max` of these, strings and
// token ids not mixed. A list of token ids is never empty; a string may be.
void read_prompts(Fields& fields, std::string_view name, size_t prompts_max,
                  std::vector<ipc::Prompt>& prompts);

}  // namespace deepserve::daemon
