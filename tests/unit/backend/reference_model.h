// The forward pass once more, written in the plainest way in float64: what the backend is held against.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ipc/wire/messages.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {

// Logits [tokens, vocabulary] of `tokens` under the GGUF file `bytes`, which `model` describes.
std::vector<double> reference_logits(const TinyModel& model, std::span<const uint8_t> bytes,
                                     std::span<const ipc::TokenId> tokens);

}  // namespace deepserve::runner
