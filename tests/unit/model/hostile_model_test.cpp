// Whole model files that were cut or bent: refused with a reason, or accepted, but never a crash or a read
// outside.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "runner/model/gguf/gguf_config.h"
#include "runner/model/gguf/gguf_vocabulary.h"
#include "runner/model/model_weights.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

// All that loading does before a tensor is computed with.
Result<void> open(const std::vector<uint8_t>& bytes) {
  TRY_ASSIGN(const Gguf file, Gguf::parse(bytes, "m.gguf"));
  TRY_ASSIGN(const ModelConfig config, read_gguf_config(file));
  ModelTensors tensors("m.gguf", TensorNaming::kGguf);
  TRY(tensors.add_file(file.name(), file.tensors()));
  TRY_ASSIGN(const ModelWeights weights, bind_model_weights(tensors, config));
  TRY(read_gguf_vocabulary(file, weights.embedding.rows));
  return {};
}

TinyModel smallest() {
  return {.vocabulary = 6,
          .layers = 1,
          .embedding = 8,
          .feed_forward = 8,
          .heads = 2,
          .kv_heads = 1,
          .head_dim = 4};
}

TEST(HostileModel, EveryTruncationIsRefusedWithItsOffset) {
  const auto whole = smallest().gguf();
  ASSERT_TRUE(open(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<uint8_t> part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    const auto opened = open(part);
    ASSERT_FALSE(opened) << "cut to " << size << " of " << whole.size();
    ASSERT_NE(opened.error().message.find("m.gguf: offset "), std::string::npos) << opened.error().message;
  }
}

TEST(HostileModel, RandomDamageNeverCrashes) {
  const uint32_t seed = 7;
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  const auto whole = smallest().gguf();
  const size_t header_end = 2'600;  // beyond lies tensor data, where any byte is right
  int refused = 0;
  for (int round = 0; round < 30'000; ++round) {
    auto bytes = whole;
    for (int damage = 0; damage < 1 + round % 3; ++damage) {
      const size_t at = random() % std::min(header_end, bytes.size());
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<uint8_t>(random());
          break;
        case 1:
          bytes[at] ^= static_cast<uint8_t>(1u << random() % 8);
          break;
        case 2:
          std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at), std::min<size_t>(8, bytes.size() - at),
                      0xff);
          break;
        case 3:
          bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at));
          break;
      }
    }
    const auto opened = open(bytes);
    if (!opened) {
      ++refused;
      ASSERT_FALSE(opened.error().message.empty());
    }
  }
  EXPECT_GT(refused, 15'000);
}

}  // namespace
}  // namespace deepserve::runner
