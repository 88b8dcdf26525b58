#include "runner/backend/kv_cache.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace deepserve::runner {
namespace {

uint64_t host_memory_bytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

Result<KvCache> KvCache::make(const ModelConfig& config, kernels::KvType type, uint64_t size_bytes) {
  KvCache cache;
  cache.kv_heads_ = config.kv_heads;
  cache.type_ = type;
  cache.key_bytes_ = kernels::kv_key_bytes(type, config.head_dim);
  cache.value_bytes_ = kernels::kv_value_bytes(type, config.head_dim);
  cache.block_bytes_ = size_t{config.layers} * config.kv_heads * (cache.key_bytes_ + cache.value_bytes_);
  const uint64_t block_bytes = cache.block_bytes_;
  const uint64_t context_blocks =
      (uint64_t{config.context_tokens} + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  const uint64_t wanted = size_bytes == 0 ? context_blocks : size_bytes / block_bytes;
  cache.blocks_ = static_cast<uint32_t>(std::min<uint64_t>(wanted, UINT32_MAX));
  if (cache.blocks_ == 0) {
    return fail(Code::kInvalidConfig,
                "{} bytes for the KV cache are less than one block of {} tokens ({} bytes)", size_bytes,
                kernels::kBlockTokens, block_bytes);
  }
  cache.mapped_bytes_ = cache.blocks_ * block_bytes;
  // The kernel would grant it, and end this process, or another, once it is used.
  if (const uint64_t host = host_memory_bytes(); cache.mapped_bytes_ > host) {
    return fail(Code::kInvalidConfig, "a KV cache of {} bytes is more than this host's memory of {} bytes",
                cache.mapped_bytes_, host);
  }
  void* address = mmap(nullptr, cache.mapped_bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return fail(Code::kOutOfMemory, "no memory for a KV cache of {} bytes", cache.mapped_bytes_);
  }
  madvise(address, cache.mapped_bytes_, MADV_HUGEPAGE);
  cache.data_ = static_cast<uint8_t*>(address);
  return cache;
}

KvCache::KvCache(KvCache&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      type_(other.type_),
      mapped_bytes_(other.mapped_bytes_),
      block_bytes_(other.block_bytes_),
      key_bytes_(other.key_bytes_),
      value_bytes_(other.value_bytes_),
      kv_heads_(other.kv_heads_),
      blocks_(other.blocks_) {}

KvCache::~KvCache() {
  if (data_ != nullptr) munmap(data_, mapped_bytes_);
}

void KvCache::copy_block(BlockId from, BlockId to) {
  std::memcpy(block(to), block(from), block_bytes_);
}

}  // namespace deepserve::runner
