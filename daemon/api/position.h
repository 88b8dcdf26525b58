// Where a client stands in a stream: the SSE id of the last event that it has (DESIGN 6).
//
//   <request>:<choice>[.<choice>...][:u]      u: the event with the usage too
//   choice   "-"                              not even its first event, the role
//            [e]<tokens>[+<bytes>][c<calls>][f]
//   tokens   fully told; with e in front: of the echoed prompt, and none of the answer
//   bytes    of text beyond what those tokens completed: text that was held back until the end
//   calls    tool calls told, where that is not what those tokens completed
//   f        the event with the choice's finish_reason too
//
// Most often it is "<request>:<tokens>", or ".<tokens>" for each further choice.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct ChoicePosition {
  bool begun = true;
  bool finished = false;
  uint32_t echoed = 0;  // tokens of the prompt; 0 as soon as there are `tokens`
  uint32_t tokens = 0;
  uint64_t tail_bytes = 0;
  std::optional<uint32_t> calls = {};

  bool operator==(const ChoicePosition&) const = default;
};

struct StreamPosition {
  RequestId request = 0;
  std::vector<ChoicePosition> choices;
  bool usage_told = false;

  bool operator==(const StreamPosition&) const = default;
};

void append_position(std::string& out, const ChoicePosition& position);

// Nothing for anything that is no such id. It comes from a client: whether there are so many choices and
// tokens is the answer's to say.
std::optional<StreamPosition> parse_position(std::string_view text);

}  // namespace deepserve::daemon
