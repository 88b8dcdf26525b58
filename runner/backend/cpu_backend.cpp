#include "runner/backend/cpu_backend.h"

#include <algorithm>

#include "ipc/base/check.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/logits.h"
#include "kernels/cpu/thread_pool.h"
#include "runner/backend/cpu_forward.h"
#include "runner/backend/expanded_weights.h"
#include "runner/backend/kv_cache.h"
#include "runner/backend/packed_weights.h"
#include "runner/backend/shard.h"
#include "runner/collective/collective.h"

namespace deepserve::runner {
namespace {

using kernels::kBlockTokens;

// What one rank computes with; a model that is not spread is the shard of rank 0 of 1.
struct CpuShard {
  ModelFiles files;
  uint64_t content_hash;
  ModelShard model;
  ExpandedWeights expanded;  // what some of the model's matrices point into
  PackedWeights packed;
};

BackendInfo describe(const CpuShard& shard, const kernels::Kernels& kernels, const KvCache& cache,
                     const BackendOptions& options) {
  const ModelShard& model = shard.model;
  BackendInfo info;
  info.architecture = architecture_name(model.config.architecture);
  info.weights_type = kernels::weight_format(model.weights.main_type).name;
  info.isa = kernels.isa;
  info.numerics_id =
      fmt::format("{:016x}-{}.{}-{}{}-{}-r{}-cpu", shard.content_hash, DEEPSERVE_VERSION,
                  kernels::kNumericsRevision, kernels.isa, options.rounds_inputs ? "" : "+float",
                  kernels::kv_type_name(cache.type()), model.share.ranks);
  info.weight_bytes = model.weights.size_bytes;
  info.parameters = model.weights.parameters;
  info.vocabulary = static_cast<uint32_t>(model.weights.embedding.rows);
  info.embedding = model.config.embedding;
  info.context_tokens_model = model.config.context_tokens;
  info.block_tokens = kBlockTokens;
  info.blocks = cache.blocks();
  info.batch_tokens_max = std::max(1u, options.batch_tokens_max);
  info.work = step_work(model.config, model.weights, cache.block_bytes() / kBlockTokens);
  return info;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(CpuShard shard, const kernels::Kernels& kernels, KvCache cache, const BackendOptions& options)
      : shard_(std::move(shard)),
        cache_(std::move(cache)),
        info_(describe(shard_, kernels, cache_, options)),
        threads_(options.threads),
        forward_(shard_.model, shard_.packed, kernels, threads_, cache_, options.collective,
                 info_.batch_tokens_max) {
    tokens_.reserve(info_.batch_tokens_max);
  }

  const BackendInfo& info() const override { return info_; }

  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    TRY(shard_.files.verify_unchanged());
    tokens_.clear();
    size_t logits_rows = 0;
    size_t hidden_rows = 0;
    for (const BatchEntry& entry : batch) {
      add_entry(entry);
      logits_rows += entry.logits_rows;
      if (entry.hidden_rows) hidden_rows += entry.tokens.size();
    }
    const bool is_first = shard_.model.share.rank == 0;
    CHECK(outputs.logits.size() == (is_first ? logits_rows * info_.vocabulary : 0));
    CHECK(outputs.hidden.size() == hidden_rows * info_.embedding);
    CHECK(outputs.sums.size() == outputs.largest.size());
    CHECK(outputs.largest.empty() ||
          outputs.largest.size() == logits_rows * kernels::logits_chunks(info_.vocabulary));
    if (tokens_.empty()) return {};
    return forward_.run(tokens_, outputs);
  }

  void copy_block(BlockId from, BlockId to) override {
    CHECK(from < info_.blocks && to < info_.blocks);
    if (from != to) cache_.copy_block(from, to);
  }

 private:
  void add_entry(const BatchEntry& entry) {
    const size_t end = entry.position + entry.tokens.size();
    CHECK(tokens_.size() + entry.tokens.size() <= info_.batch_tokens_max);
    CHECK(entry.blocks.size() == (end + kBlockTokens - 1) / kBlockTokens);
    CHECK(entry.logits_rows <= entry.tokens.size());
    for (const BlockId block : entry.blocks) CHECK(block < info_.blocks);
    for (size_t i = 0; i < entry.tokens.size(); ++i) {
      CHECK(entry.tokens[i] < info_.vocabulary);
      tokens_.push_back({entry.tokens[i], entry.position + static_cast<uint32_t>(i), entry.blocks.data(),
                         i + entry.logits_rows >= entry.tokens.size(), entry.hidden_rows, entry.sums_scale});
    }
  }

  CpuShard shard_;
  KvCache cache_;
  BackendInfo info_;
  kernels::ThreadPool threads_;
  CpuForward forward_;
  std::vector<ForwardToken> tokens_;
};

uint64_t bytes_of(const ModelFiles& files) {
  uint64_t bytes = 0;
  for (const MappedFile& file : files.all()) bytes += file.bytes().size();
  return bytes;
}

Result<ExpandedWeights> expand(ModelWeights& weights, const ModelFiles& files,
                               const BackendOptions& options) {
  kernels::ThreadPool threads(options.threads);
  return ExpandedWeights::make(weights, threads, [&](uint64_t bytes) {
    if (options.on_bytes_loaded) options.on_bytes_loaded(bytes_of(files) + bytes);
  });
}

Result<PackedWeights> pack(const ModelWeights& weights, const ModelFiles& files, uint64_t expanded_bytes,
                           const KvCache& cache, const BackendOptions& options) {
  const uint64_t file_bytes = bytes_of(files) + expanded_bytes;
  kernels::ThreadPool threads(options.threads);
  auto packed = PackedWeights::make(weights, options.rounds_inputs, threads, [&](uint64_t bytes) {
    if (options.on_bytes_loaded) options.on_bytes_loaded(file_bytes + bytes);
  });
  if (!packed) {
    return fail(packed.error().code, "{} beside a KV cache of {} bytes", packed.error().message,
                cache.blocks() * cache.block_bytes());
  }
  // Threads that read neighbouring rows brought some of each other's back; and what else is in the files has
  // been read, or will come back when it is looked up.
  if (packed->size_bytes() != 0) {
    for (const MappedFile& file : files.all()) give_back(file.bytes());
  }
  return packed;
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cpu_backend(BackendModel model, const BackendOptions& options) {
  const kernels::Kernels* kernels = kernels::find_kernels(options.isa);
  if (kernels == nullptr) {
    return fail(Code::kInvalidConfig,
                "this CPU or build has no kernels for \"{}\" (scalar, avx2 and avx512 are known)",
                options.isa);
  }
  Collective* ranks = options.collective;
  TRY_ASSIGN(ModelShard shard, cut_model(model.config, std::move(model.weights), ranks ? ranks->rank() : 0,
                                         ranks ? ranks->size() : 1));
  // A block is spread over the ranks as the heads are: so kv_bytes is the group's, and all have as many
  // blocks.
  uint64_t kv_bytes = options.kv_bytes * shard.config.kv_heads / model.config.kv_heads;
  if (options.kv_bytes != 0) kv_bytes = std::max<uint64_t>(kv_bytes, 1);  // 0 has a meaning of its own
  TRY_ASSIGN(KvCache cache, KvCache::make(shard.config, options.kv_type, kv_bytes));
  TRY_ASSIGN(ExpandedWeights expanded,
             options.run_aside([&] { return expand(shard.weights, model.files, options); }));
  TRY_ASSIGN(PackedWeights packed, options.run_aside([&] {
    return pack(shard.weights, model.files, expanded.size_bytes(), cache, options);
  }));
  TRY(model.files.verify_unchanged());
  CpuShard whole{std::move(model.files), model.content_hash, std::move(shard), std::move(expanded),
                 std::move(packed)};
  return std::make_unique<CpuBackend>(std::move(whole), *kernels, std::move(cache), options);
}

}  // namespace deepserve::runner
