// A request with some of everything, and a row of a model's shape.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::runner::testing {

using ipc::TokenId;

// Most of the row is far below a few.
struct RandomDraw {
  explicit RandomDraw(uint64_t seed, uint32_t vocabulary = 0) : random(seed) {
    const uint32_t own = below(4) == 0 ? 1 + below(60) : 1 + below(6000);
    row.resize(vocabulary == 0 ? own : vocabulary);
    std::normal_distribution<float> normal(0, 0.5f + static_cast<float>(below(5)));
    for (float& logit : row) logit = std::round(normal(random) * 64) / 64;  // so that some are equal
    for (uint32_t peaks = below(20); peaks > 0; --peaks) row[token()] += static_cast<float>(below(20));
    if (below(4) == 0) row[token()] = -std::numeric_limits<float>::infinity();
    row[0] = std::max(row[0], -50.0f);
    generation.seed = random();
    if (below(5) == 0) generation.temperature = 0;
    if (below(3) == 0) generation.temperature = 0.1f + 0.1f * static_cast<float>(below(19));
    if (below(3) == 0) generation.top_k = 1 + below(60);
    if (below(3) == 0) generation.top_p = 0.01f * static_cast<float>(1 + below(99));
    if (below(4) == 0) generation.min_p = 0.001f * static_cast<float>(1 + below(300));
    if (below(4) == 0) generation.repetition_penalty = 1.3f;
    if (below(4) == 0) generation.frequency_penalty = 0.7f;
    if (below(4) == 0) generation.presence_penalty = -0.4f;
    for (uint32_t tokens = below(40); tokens > 0; --tokens) prompt.push_back(token());
    for (uint32_t tokens = below(40); tokens > 0; --tokens) answer.push_back(token());
    for (uint32_t tokens = below(2) * below(9); tokens > 0; --tokens) {
      generation.logit_bias.emplace_back(token(), static_cast<float>(below(200)) - 100.0f);
    }
    if (below(3) == 0 && row.size() > 2) masked = {1, 2};
    if (below(3) == 0) {
      allowed.resize((row.size() + 63) / 64);
      for (auto& word : allowed) word = below(3) == 0 ? random() : 0;
      allowed[0] |= 1;
    }
  }
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random() % bound); }
  TokenId token() { return below(static_cast<uint32_t>(row.size())); }

  std::mt19937_64 random;
  std::vector<float> row;
  ipc::Generation generation;
  std::vector<TokenId> prompt, answer, masked;
  std::vector<uint64_t> allowed;
};

}  // namespace deepserve::runner::testing
