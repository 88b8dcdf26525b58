// What one dsd tells the next of a client that reads an answer, when it hands its connections over (DESIGN
// 10): Responder::hand_over makes it, Router::resume takes it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct HandedReading {
  RequestId request = 0;
  bool streams = false;    // events, else all in one piece
  bool head_told = false;  // its stream has begun
  // The SSE id up to which its client has it; empty, where nothing is told: from the start.
  std::string position = {};

  bool operator==(const HandedReading&) const = default;
};

// "whole <request>", "stream <request>", "stream <position>" of one that has begun, "resume <position>" of
// one that has not: its client came back for the rest.
std::string handed_text(const HandedReading& reading);
std::optional<HandedReading> parse_handed(std::string_view text);

}  // namespace deepserve::daemon
