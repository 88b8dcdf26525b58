// Which runner gets a request: of those that serve its model and have room, the one with most. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace deepserve::daemon {

struct RunnerLoad {
  bool ready = false;        // serves the model and takes work
  bool outbox_full = false;  // it does not read its lane: no room, whatever it has free
  uint32_t sequences = 0;    // choices of the requests that it has
  uint32_t sequences_max = 0;
  uint32_t kv_blocks_free = 0;
};

// A request of `sequences` choices fits when that many are free, or, when it asks for more than there are at
// all, once the runner is empty. Most room: the smallest part of sequences_max taken, then most free KV
// blocks, then the first.
std::optional<size_t> choose_runner(std::span<const RunnerLoad> runners, uint32_t sequences);

}  // namespace deepserve::daemon
