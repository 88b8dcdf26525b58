#include "tests/gpu/bench/attention_figures.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/cuda/random_bits.h"
#include "runner/backend/cuda/step_attention.h"
#include "runner/backend/cuda/stream_timer.h"

namespace deepserve::runner {
namespace {

using namespace cuda;

constexpr int kLaunches = 10;  // of a run

ModelConfig layer_of(const ModelShape& shape) {
  ModelConfig config;
  config.layers = 1;
  config.heads = shape.heads;
  config.kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  return config;
}

std::string name_of(const ModelShape& shape, const AttentionCase& one) {
  const bool is_round = one.context % 1024 == 0;
  const std::string name = fmt::format("paged decode attention {} x {}{}", one.sequences,
                                       is_round ? one.context / 1024 : one.context, is_round ? "k" : "");
  return shape.name == kShape7B.name ? name : fmt::format("{} {}", name, shape.name);
}

Result<void> fill(void* memory, uint64_t bytes, uint32_t seed, cudaStream_t stream) {
  return checked(kernels::cuda::fill_random_bf16(static_cast<uint16_t*>(memory), bytes / 2, seed, stream),
                 "timing");
}

}  // namespace

Result<void> time_attention(const ModelShape& shape, const AttentionCase& one, const DeviceLimits& limits,
                            uint32_t repeats, std::vector<Figure>& figures) {
  const ModelConfig config = layer_of(shape);
  const uint32_t sequence_blocks = (one.context + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  const uint32_t blocks = one.sequences * sequence_blocks;
  TRY_ASSIGN(const Gpu gpu, open_gpu(false));
  TRY_ASSIGN(const Stream stream, make_stream());
  TRY_ASSIGN(DeviceKvCache cache, DeviceKvCache::make(config, blocks));
  TRY(fill(cache.data(), blocks * DeviceKvCache::block_bytes(config), 1, stream.get()));
  const uint64_t row_bytes = uint64_t{shape.heads} * shape.head_dim * 2;
  TRY_ASSIGN(const DeviceMemory rows, DeviceMemory::make(2 * one.sequences * row_bytes, "timing"));
  auto* queries = reinterpret_cast<uint16_t*>(rows.data());
  TRY(fill(queries, one.sequences * row_bytes, 2, stream.get()));

  std::vector<BlockId> ids(blocks);
  std::iota(ids.begin(), ids.end(), BlockId{0});
  std::shuffle(ids.begin(), ids.end(), std::mt19937(3));
  const TokenId token = 0;
  std::vector<BatchEntry> batch(one.sequences);
  for (uint32_t i = 0; i < one.sequences; ++i) {
    batch[i].tokens = {&token, 1};
    batch[i].position = one.context - 1;
    batch[i].blocks = std::span(ids).subspan(size_t{i} * sequence_blocks, sequence_blocks);
  }
  TRY_ASSIGN(StepAttention attention, StepAttention::make(config, gpu, {one.sequences, blocks}));
  TRY(attention.send(batch, 0, stream.get()));
  TRY_ASSIGN(const auto seconds, seconds_of(stream.get(), static_cast<int>(repeats), [&]() -> Result<void> {
               for (int launch = 0; launch < kLaunches; ++launch) {
                 TRY(attention.run_any(cache, 0, queries, queries + one.sequences * row_bytes / 2,
                                       shape.heads * shape.head_dim, stream.get()));
               }
               return {};
             }));
  const double bytes = kLaunches * 2.0 * one.sequences * one.context * shape.kv_heads * shape.head_dim * 2;
  const auto share = [&](double taken) { return bytes / taken / limits.copy_bytes_per_second; };
  const auto microseconds = [&](double taken) { return taken / kLaunches * 1e6; };
  const double median = seconds[repeats / 2], least = seconds.front(), most = seconds.back();
  const std::string name = name_of(shape, one);
  figures.push_back({name + ", of copy bandwidth", share(median), "x", repeats, share(most), share(least)});
  figures.push_back({name, microseconds(median), "us", repeats, microseconds(least), microseconds(most)});
  return {};
}

}  // namespace deepserve::runner
