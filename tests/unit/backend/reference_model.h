// The forward pass once more, written in the plainest way in float64: what the backend is held against.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ipc/wire/messages.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {

// Logits [tokens, vocabulary] of `tokens` under the GGUF file `bytes`, which `model` describes. Inputs of
// matrices that the backend packs are rounded to 255 levels per 32, as kernels/cpu/quantized_inputs.h says.
//
// `nearest_tie` gets how near, in levels, an input came to the middle between two of them (0.5 where nothing
// is rounded): within its own error the backend may take the other one there.
std::vector<double> reference_logits(const TinyModel& model, std::span<const uint8_t> bytes,
                                     std::span<const ipc::TokenId> tokens, double* nearest_tie = nullptr);

struct ReferencePrompt {
  std::vector<ipc::TokenId> tokens;
  std::vector<double> logits;
};

// Random tokens, `count` of them, with the reference's logits. Where inputs are rounded, one that lies in the
// middle between two levels may fall on either side of it, and then both results are right but differ by far
// more than float32's error. So the tokens are some of which every input is clear of the middle by more than
// that; a CHECK when there are none, as with many tokens.
ReferencePrompt clear_prompt(const TinyModel& model, std::span<const uint8_t> bytes, size_t count);

}  // namespace deepserve::runner
