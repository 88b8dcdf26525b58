#include "runner/backend/cuda/cuda_backend.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ipc/base/check.h"
#include "kernels/cpu/logits.h"
#include "runner/backend/cuda/device_exchange.h"
#include "runner/backend/cuda/forward.h"
#include "runner/backend/cuda/gpu.h"
#include "runner/backend/cuda/memory_need.h"
#include "runner/backend/cuda/overlap_trial.h"
#include "runner/backend/cuda/step_clock.h"
#include "runner/backend/cuda/step_draws.h"
#include "runner/backend/cuda/step_graphs.h"
#include "runner/backend/cuda/told_logits.h"
#include "runner/backend/rope_table.h"
#include "runner/backend/shard.h"
#include "runner/collective/nccl/nccl_library.h"
#include "runner/model/model_config.h"

namespace deepserve::runner::cuda {
namespace {

using kernels::kBlockTokens;

// Raise it whenever a kernel may give other bits than before: it is part of numerics_id.
constexpr int kCudaNumericsRevision = 3;

constexpr uint32_t kSpareBlocks = 1;  // of the KV cache, for the rows that a step is padded with

Result<void> check_supported(const ModelConfig& config, const Gpu& gpu, const BackendOptions& options) {
  if (options.kv_type != kernels::KvType::kF16) {
    return fail(Code::kNotSupported, "kv_type = \"{}\" is not supported on a GPU: \"f16\" is",
                kernels::kv_type_name(options.kv_type));
  }
  return StepAttention::check_supported(config, gpu);
}

BackendInfo describe(const ModelShard& model, uint64_t content_hash, const Gpu& gpu, uint32_t blocks,
                     const BackendOptions& options) {
  BackendInfo info;
  info.architecture = architecture_name(model.config.architecture);
  info.weights_type = kernels::weight_format(model.weights.main_type).name;
  info.isa = fmt::format("sm_{}", gpu.capability);
  info.numerics_id = fmt::format("{:016x}-{}.{}-{}-f16-r{}-cuda", content_hash, DEEPSERVE_VERSION,
                                 kCudaNumericsRevision, info.isa, model.share.ranks);
  // Another driver compiles another way.
  if (gpu.jit_driver != 0) info.numerics_id += fmt::format("+jit{}", gpu.jit_driver);
  info.weight_bytes = model.weights.size_bytes;
  info.parameters = model.weights.parameters;
  info.vocabulary = static_cast<uint32_t>(model.weights.embedding.rows);
  info.embedding = model.config.embedding;
  info.context_tokens_model = model.config.context_tokens;
  info.block_tokens = kBlockTokens;
  info.blocks = blocks;
  info.batch_tokens_max = std::max(1u, options.batch_tokens_max);
  info.draws = info.vocabulary <= kernels::kWeighedTokensMax;
  info.runs_ahead = info.draws && options.nccl == nullptr;
  info.work = step_work(model.config, model.weights, DeviceKvCache::block_bytes(model.config) / kBlockTokens);
  return info;
}

DeviceExchangeOptions exchange_options(const BackendInfo& info) {
  return {.tokens_max = info.batch_tokens_max,
          .embedding = info.embedding,
          .logits_rows = std::min(Forward::kLogitsRows, info.batch_tokens_max)};
}

// The KV cache's of one rank: a block is spread over the ranks as the heads are, so that all have as many.
uint64_t kv_bytes_of_rank(uint64_t kv_bytes, const ModelConfig& own, const ModelConfig& whole) {
  if (kv_bytes == 0) return 0;
  return std::max<uint64_t>(kv_bytes * own.kv_heads / whole.kv_heads, 1);
}

class CudaBackend final : public Backend {
 public:
  static Result<std::unique_ptr<CudaBackend>> make(const ModelShard& model, DeviceWeights weights,
                                                   BackendInfo info, const Gpu& gpu,
                                                   const ForwardOptions& forward,
                                                   const BackendOptions& options) {
    std::unique_ptr<CudaBackend> backend(new CudaBackend(model.config, std::move(weights), std::move(info)));
    TRY_ASSIGN(backend->exchange_,
               DeviceExchange::make(model.share, options.nccl, exchange_options(backend->info_)));
    TRY(backend->prepare(gpu, forward, options.threads));
    return backend;
  }

  const BackendInfo& info() const override { return info_; }

  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    CHECK(started_ == finished_);
    TRY(start(batch, outputs));
    return finish();
  }

  Result<void> start(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    CHECK(started_ - finished_ < (info_.runs_ahead ? 2u : 1u));
    check(batch);
    inputs_.fill(batch, started_ % 2);
    const StepCounts& counts = inputs_.counts();
    told_->find(batch);
    CHECK(outputs.logits.size() == (exchange_.first() ? told_->rows() * info_.vocabulary : 0));
    CHECK(outputs.hidden.size() == size_t{counts.hidden_rows} * info_.embedding);
    CHECK(outputs.sums.size() == outputs.largest.size());
    CHECK(outputs.largest.empty() ||
          outputs.largest.size() == told_->rows() * kernels::logits_chunks(info_.vocabulary));
    const bool gives_values = told_->rows() + counts.hidden_rows > 0;
    CHECK(started_ == finished_ || !(gives_values || under_way_[finished_ % 2].gives_values));
    const size_t side = started_++ % 2;
    under_way_[side] = {outputs, counts.tokens > 0, gives_values};
    if (counts.tokens == 0) return {};
    return or_give_up(begin(batch, side, outputs));
  }

  Result<void> finish() override {
    CHECK(finished_ < started_);
    const size_t side = finished_++ % 2;
    if (!under_way_[side].has_tokens) return {};
    return or_give_up(end(side));
  }

  bool is_over() const override {
    const size_t side = finished_ % 2;
    return finished_ == started_ || !under_way_[side].has_tokens || clock_.is_over(side);
  }
  double device_seconds() const override { return clock_.seconds(); }

  void copy_block(BlockId from, BlockId to) override {
    CHECK(from < info_.blocks && to < info_.blocks);
    if (from == to) return;
    auto copied = cache_.copy_block(from, to, stream_.get());  // in the order of steps
    if (!copied && !copy_error_) copy_error_ = std::move(copied.error());
  }

 private:
  CudaBackend(const ModelConfig& config, DeviceWeights weights, BackendInfo info)
      : config_(config), weights_(std::move(weights)), info_(std::move(info)) {}

  Result<void> prepare(const Gpu& gpu, const ForwardOptions& options, uint32_t threads) {
    TRY_ASSIGN(stream_, make_stream());
    TRY_ASSIGN(copies_, make_stream());
    TRY_ASSIGN(copied_, make_event());
    TRY_ASSIGN(clock_, StepClock::make());
    TRY_ASSIGN(cache_, DeviceKvCache::make(config_, info_.blocks + kSpareBlocks));
    TRY_ASSIGN(inputs_, StepInputs::make(info_.batch_tokens_max, kBlockTokens));
    TRY_ASSIGN(attention_, StepAttention::make(config_, gpu, {info_.batch_tokens_max, info_.blocks}));
    TRY_ASSIGN(Forward forward, Forward::make(config_, weights_, cache_, exchange_, options));
    forward_.emplace(std::move(forward));
    // What a library chose by shape is no promise of equal bits.
    info_.deterministic = forward_->deterministic();
    if (!info_.deterministic) info_.numerics_id += "+cublas";
    TRY_ASSIGN(hidden_,
               PinnedMemory::make(uint64_t{info_.batch_tokens_max} * info_.embedding * sizeof(float)));
    TRY_ASSIGN(draws_, StepDraws::make(info_.vocabulary, Forward::kLogitsRows));
    TRY_ASSIGN(told_, ToldLogits::make(info_.vocabulary, info_.batch_tokens_max, threads));
    return {};
  }

  // The others are told of an error, which is the end of all steps.
  Result<void> or_give_up(Result<void> done) {
    if (!done) {
      exchange_.give_up(done.error());
      finished_ = started_;
    }
    return done;
  }

  // Puts all of the step into the stream; what it reads is copied beside the step before it. Logits and
  // hidden states that go to the host are waited for.
  Result<void> begin(std::span<const BatchEntry> batch, size_t side, const StepOutputs& outputs) {
    const cudaStream_t stream = stream_.get();
    if (copy_error_) return tl::unexpected<Error>(*copy_error_);
    // Whose memory may have to grow comes first: freeing waits, unwatched, for all that the GPU is to do.
    TRY(attention_.send(batch, side, copies_.get()));
    TRY(draws_.send(batch, side, copies_.get()));
    TRY(run_layers(inputs_.counts().tokens, side));
    if (inputs_.counts().hidden_rows != 0) TRY(write_hidden(outputs.hidden));
    TRY(make_logits(outputs));
    TRY(draws_.fetch(stream));
    return clock_.end(side, stream);
  }

  Result<void> end(size_t side) {
    TRY(clock_.finish(side, [&](cudaEvent_t end) {
      return exchange_.alone() ? checked(cudaEventSynchronize(end), "a step") : exchange_.wait(stream_.get());
    }));
    draws_.take(side, under_way_[side].outputs);
    return {};
  }

  // As a graph where the step decodes, or drafts: of few tokens of each sequence.
  Result<void> run_layers(uint32_t tokens, size_t side) {
    const cudaStream_t stream = stream_.get();
    // What NCCL does when it is recorded was never tried: ranks start their kernels one by one.
    const bool as_graph = attention_.is_decode() && exchange_.alone();
    uint32_t rows = as_graph ? StepGraphs::rows_for(tokens) : 0;
    if (rows > info_.batch_tokens_max) rows = 0;
    if (rows != 0) inputs_.pad(rows, spare_block());
    TRY(inputs_.send(copies_.get()));
    TRY(checked(cudaEventRecord(copied_.get(), copies_.get()), "a step"));
    TRY(checked(cudaStreamWaitEvent(stream, copied_.get(), 0), "a step"));
    TRY(clock_.begin(side, stream));
    const auto* drawn = draws_.drawn_before();
    if (rows == 0) return forward_->run(inputs_, attention_, drawn, stream);
    return graphs_.run(rows, side, attention_.places() + draws_.places(), stream,
                       [&] { return forward_->run_any(rows, inputs_, attention_, drawn, stream); });
  }

  // Where rows of nobody have their keys and values.
  BlockId spare_block() const { return info_.blocks; }

  void check(std::span<const BatchEntry> batch) const {
    size_t tokens = 0;
    for (const BatchEntry& entry : batch) {
      CHECK(entry.last_drawn == BatchEntry::kNotDrawn ||
            (entry.last_drawn < draws_.drawn_count((started_ + 1) % 2) && !entry.tokens.empty()));
      const size_t end = entry.position + entry.tokens.size();
      tokens += entry.tokens.size();
      CHECK(entry.blocks.size() == (end + kBlockTokens - 1) / kBlockTokens);
      CHECK(entry.logits_rows <= entry.tokens.size());
      for (const BlockId block : entry.blocks) CHECK(block < info_.blocks);
      for (const TokenId token : entry.tokens) CHECK(token < info_.vocabulary);
    }
    CHECK(tokens <= info_.batch_tokens_max);
  }

  Result<void> write_hidden(std::span<float> hidden) {
    TRY(forward_->make_hidden(inputs_, stream_.get()));
    TRY(checked(cudaMemcpyAsync(hidden_.data(), forward_->hidden(), hidden.size_bytes(),
                                cudaMemcpyDeviceToHost, stream_.get()),
                "a step's outputs"));
    TRY(exchange_.wait(stream_.get()));
    std::memcpy(hidden.data(), hidden_.data(), hidden.size_bytes());
    return {};
  }

  // Piece by piece: tokens are drawn from a piece, or its logits told, before the next takes its place.
  Result<void> make_logits(const StepOutputs& outputs) {
    const uint32_t rows = inputs_.counts().logits_rows;
    for (uint32_t begin = 0; begin < rows; begin += Forward::kLogitsRows) {
      const uint32_t count = std::min(Forward::kLogitsRows, rows - begin);
      TRY(forward_->make_logits(inputs_, begin, count, stream_.get()));
      if (!exchange_.first()) continue;
      TRY(draws_.run(begin / Forward::kLogitsRows, forward_->logits(), stream_.get()));
      TRY(told_->write(forward_->logits(), begin, count, exchange_, stream_.get(), outputs));
    }
    return {};
  }

  ModelConfig config_;
  DeviceWeights weights_;
  BackendInfo info_;
  Stream stream_;
  Stream copies_;  // of what steps read, to the GPU
  Event copied_;
  StepClock clock_;
  DeviceKvCache cache_;
  StepInputs inputs_;
  StepAttention attention_;
  StepGraphs graphs_;
  DeviceExchange exchange_;
  std::optional<Forward> forward_;
  PinnedMemory hidden_;
  StepDraws draws_;
  std::unique_ptr<ToldLogits> told_;
  struct Started {
    StepOutputs outputs;
    bool has_tokens;
    bool gives_values;  // to the host
  };
  std::array<Started, 2> under_way_{};  // those that were started and not finished
  uint64_t started_ = 0;
  uint64_t finished_ = 0;
  std::optional<Error> copy_error_;  // of a block, before the next step
};

}  // namespace

Result<std::shared_ptr<NcclGroup>> open_device(const BackendOptions& options) {
  Collective* const ranks = options.collective;
  const auto open = [&]() -> Result<std::shared_ptr<NcclGroup>> {
    if (ranks != nullptr) prepare_nccl_environment();
    TRY_ASSIGN(const Gpu gpu, open_gpu(options.allow_jit));
    if (gpu.jit_driver != 0) {
      spdlog::warn(
          "{} has compute capability {}.{}: its driver compiled the kernels, from PTX for another GPU",
          gpu.name, gpu.capability / 10, gpu.capability % 10);
    }
    (void)load_cublas_lt();  // who needs it says why it is not there
    if (ranks == nullptr) return nullptr;
    TRY_ASSIGN(const nccl::Functions* library, load_nccl());
    TRY_ASSIGN(std::shared_ptr<NcclGroup> group, NcclGroup::join(*library, *ranks));
    TRY(DeviceExchange::connect(*group));
    return group;
  };
  auto opened = open();
  if (!opened && ranks != nullptr) ranks->abandon(opened.error());
  return opened;
}

Result<std::unique_ptr<Backend>> make_cuda_backend(BackendModel whole, const BackendOptions& options) {
  TRY_ASSIGN(const Gpu gpu, open_gpu(options.allow_jit));
  settle_overlap(gpu);
  const uint32_t rank = options.nccl ? options.nccl->rank() : 0;
  TRY_ASSIGN(const ModelShard model, cut_model(whole.config, std::move(whole.weights), rank,
                                               options.nccl ? options.nccl->size() : 1));
  TRY(check_supported(model.config, gpu, options));
  TRY_ASSIGN(const uint32_t blocks,
             DeviceKvCache::blocks_for(model.config,
                                       kv_bytes_of_rank(options.kv_bytes, model.config, whole.config)));
  const BackendInfo info = describe(model, whole.content_hash, gpu, blocks, options);
  const uint64_t first_column = model.share.heads.begin * model.config.head_dim;
  const ForwardOptions forward{
      .tokens_max = info.batch_tokens_max,
      .rope_factor = RopeTable(model.config, model.weights.rope_factors).attention_factor(),
      .deterministic = options.deterministic,
      .multiprocessors = gpu.multiprocessors,
      .attended_columns = static_cast<uint32_t>(model.share.attended.size()),
      .attended_begin = static_cast<uint32_t>(first_column - model.share.attended.begin)};
  const DeviceWeights plan = plan_weights(model.config, model.weights);
  const MemoryNeed need{.weights = plan.bytes,
                        .kv = (uint64_t{blocks} + kSpareBlocks) * DeviceKvCache::block_bytes(model.config),
                        .work = Forward::workspace_bytes(model.config, plan, forward) +
                                StepAttention::memory_bytes(model.config, {info.batch_tokens_max, blocks}) +
                                StepDraws::memory_bytes(info.vocabulary, Forward::kLogitsRows) +
                                DeviceExchange::memory_bytes(model.share, exchange_options(info)),
                        .cuda = memory_of_cuda(gpu, options.deterministic)};
  TRY(need.check(gpu, options.memory_bytes));
  UploadOptions upload{.threads = options.threads, .on_bytes = {}};
  const auto& told = options.on_bytes_loaded;
  if (told) upload.on_bytes = [&](uint64_t bytes) { told(model.weights.size_bytes + bytes); };
  TRY_ASSIGN(DeviceWeights weights,
             options.run_aside([&] { return upload_weights(model.config, model.weights, upload); }));
  TRY(whole.files.verify_unchanged());
  return CudaBackend::make(model, std::move(weights), info, gpu, forward, options);
}

}  // namespace deepserve::runner::cuda
