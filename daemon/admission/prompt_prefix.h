// By what prompts that begin alike are known, without their tokens: hashes of leading pieces of their bytes.
// Pure.
//
// What a runner has computed of a prompt's beginning it computes only once (prefix_cache of a model). Which
// tokens these are is the runner's business; two prompts whose bytes begin alike have alike tokens there, but
// for one or two at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

struct PromptPrefix {
  static constexpr size_t kPieceBytes = 256;
  static constexpr size_t kPiecesMax = 1'024;

  std::vector<uint64_t> pieces;  // of each of the leading pieces: a hash of all up to its end
  uint64_t bytes = 0;            // of the whole prompt, with what parts its messages

  // The part (0..1) of the prompt that so many leading pieces are.
  double part(size_t count) const {
    return bytes == 0 ? 0 : static_cast<double>(count * kPieceBytes) / static_cast<double>(bytes);
  }
};

// In the order in which chat templates write them: tools, then the messages. Prompts of another `salt` are
// never alike.
PromptPrefix prefix_of(const ipc::Prompt& prompt, const ipc::PrefixSalt& salt);

}  // namespace deepserve::daemon
