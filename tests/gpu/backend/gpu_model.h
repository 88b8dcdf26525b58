// Small models on the GPU (or its emulator), and what they may differ by from the CPU's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <vector>

#include "runner/backend/cuda/cuda_backend.h"
#include "runner/model/loaded_model.h"
#include "tests/gpu/relative_error.h"
#include "tests/unit/backend/sequence_runner.h"

namespace deepserve::runner {

// Of logits. Inputs of products are rounded to 8 bits of mantissa, 2^-9 each; these models' attention, whose
// scores reach some hundreds, makes more of it.
inline constexpr double kErrorMax = 0.03;

inline BackendOptions gpu_options() {
  BackendOptions options;
  options.make = cuda::make_cuda_backend;
  options.kv_type = kernels::KvType::kF16;
  options.kv_bytes = 4 << 20;
  options.deterministic = true;
  return options;
}

// As exact as the CPU can.
inline BackendOptions exact_options() {
  BackendOptions options;
  options.rounds_inputs = false;
  return options;
}

// Null where it fails, which is a failure of the test.
inline std::unique_ptr<Backend> load_backend(const std::filesystem::path& path,
                                             const BackendOptions& options) {
  auto loaded = load_model(path, options);
  EXPECT_TRUE(loaded) << loaded.error().message;
  return loaded ? std::move(loaded->backend) : nullptr;
}

inline std::vector<TokenId> random_tokens(size_t count, uint32_t vocabulary, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = random() % vocabulary;
  return tokens;
}

// [tokens, vocabulary], of one sequence that comes `chunk` tokens a step.
inline Result<std::vector<float>> logits_of(Backend& backend, const std::vector<TokenId>& tokens,
                                            size_t chunk) {
  TestSequence sequence;
  sequence.tokens = tokens;
  for (BlockId b = 0; b * backend.info().block_tokens < tokens.size(); ++b) sequence.blocks.push_back(b);
  while (sequence.done < tokens.size()) {
    const size_t count = std::min(chunk, tokens.size() - sequence.done);
    TRY(run_step(backend, {&sequence, 1}, {&count, 1}));
  }
  return sequence.logits;
}

// Of a model that is loaded for it, all tokens in one step. Empty where that fails.
inline std::vector<float> logits_of(const std::filesystem::path& path, const BackendOptions& options,
                                    const std::vector<TokenId>& tokens) {
  const auto backend = load_backend(path, options);
  if (backend == nullptr) return {};
  auto logits = logits_of(*backend, tokens, tokens.size());
  EXPECT_TRUE(logits) << logits.error().message;
  return logits ? std::move(*logits) : std::vector<float>();
}

}  // namespace deepserve::runner
