#include "runner/logits.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <span>

#include "runner/device_kind.h"
#include "runner/engine_options.h"
#include "runner/forked_ranks.h"
#include "runner/model/loaded_model.h"

namespace deepserve::runner {
namespace {

constexpr size_t kChunkTokens = 16;  // of one step: keeps the logits of a large vocabulary in bounds
constexpr uint32_t kTopMax = 1'000'000;

struct Arguments {
  std::string model;
  std::vector<TokenId> tokens;
  uint32_t top = 5;
  uint32_t threads = 1;
  uint32_t ranks = 1;
  std::string kind = "cpu";
  bool deterministic = false;
  bool allow_jit = false;
  std::string isa;
  kernels::KvType kv_type = kernels::KvType::kF32;  // for comparisons: nothing is rounded
  bool json = false;
};

struct Row {
  size_t position;
  TokenId token;
  std::vector<TokenId> top;  // by logit, the lower id first where they are equal
};

std::vector<TokenId> top_of(std::span<const float> logits, uint32_t count) {
  std::vector<TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), TokenId{0});
  const auto end = ids.begin() + std::min<size_t>(count, ids.size());
  std::partial_sort(ids.begin(), end, ids.end(), [&](TokenId a, TokenId b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  ids.erase(end, ids.end());
  return ids;
}

void print_json(const Row& row, std::span<const float> logits) {
  fmt::print("{}{{\"position\": {}, \"token\": {}, \"top\": [", row.position == 0 ? "[" : ",\n ",
             row.position, row.token);
  for (size_t i = 0; i < row.top.size(); ++i) {
    fmt::print("{}{{\"id\": {}, \"logit\": {}}}", i == 0 ? "" : ", ", row.top[i], logits[row.top[i]]);
  }
  fmt::print("]}}");
}

// A token of a hostile file for a terminal: control characters (C0, DEL, and C1 in UTF-8) become '?'.
std::string shown(std::string_view token) {
  std::string text(token);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const bool c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<uint8_t>(text[i + 1]) < 0xa0;
    if (byte < 0x20 || byte == 0x7f || c1) text[i] = '?';
    if (c1) text[i + 1] = '?';
  }
  return text;
}

void print_text(const Row& row, std::span<const float> logits, const std::optional<Vocabulary>& vocabulary) {
  fmt::print("position {}, token {}\n", row.position, row.token);
  for (const TokenId id : row.top) {
    fmt::print("{:>10} {:>14.6f}  {}\n", id, logits[id], vocabulary ? shown(vocabulary->tokens[id]) : "");
  }
}

Result<void> check_tokens(const Arguments& arguments, const BackendInfo& info) {
  for (const TokenId token : arguments.tokens) {
    if (token < info.vocabulary) continue;
    return fail(Code::kInvalidRequest, "token {}: the model's vocabulary ends at {}", token,
                info.vocabulary - 1);
  }
  const uint64_t room =
      std::min<uint64_t>(uint64_t{info.blocks} * info.block_tokens, info.context_tokens_model);
  if (arguments.tokens.size() <= room) return {};
  return fail(Code::kContextLength, "{} tokens: the model's context is {}", arguments.tokens.size(), room);
}

Result<void> print_all(const Arguments& arguments, const LoadedModel& model) {
  Backend& backend = *model.backend;
  const size_t vocabulary = backend.info().vocabulary, block_tokens = backend.info().block_tokens;
  std::vector<BlockId> blocks((arguments.tokens.size() + block_tokens - 1) / block_tokens);
  std::iota(blocks.begin(), blocks.end(), BlockId{0});
  std::vector<float> logits;
  for (size_t begin = 0; begin < arguments.tokens.size(); begin += kChunkTokens) {
    const size_t count = std::min(kChunkTokens, arguments.tokens.size() - begin);
    BatchEntry entry;
    entry.tokens = std::span(arguments.tokens).subspan(begin, count);
    entry.position = static_cast<uint32_t>(begin);
    entry.blocks = std::span(blocks).first((begin + count + block_tokens - 1) / block_tokens);
    entry.logits_rows = static_cast<uint32_t>(count);
    logits.resize(count * vocabulary);
    TRY(backend.step({&entry, 1}, {logits, {}}));
    for (size_t i = 0; i < count; ++i) {
      const auto row_logits = std::span<const float>(logits).subspan(i * vocabulary, vocabulary);
      if (!std::all_of(row_logits.begin(), row_logits.end(),
                       [](float logit) { return std::isfinite(logit); })) {
        return fail(Code::kNumericFault, "{}: position {}: the model's logits are not finite numbers",
                    arguments.model, begin + i);
      }
      const Row row{begin + i, entry.tokens[i], top_of(row_logits, arguments.top)};
      if (arguments.json)
        print_json(row, row_logits);
      else
        print_text(row, row_logits, model.vocabulary);
    }
  }
  if (arguments.json) fmt::print("]\n");
  return {};
}

}  // namespace

Result<int> run_logits(std::vector<std::string> words) {
  Arguments arguments;
  CLI::App app("The raw top logits after each token of a sequence", "ds-runner logits");
  app.add_option("MODEL", arguments.model, "A GGUF file or a Hugging Face directory")->required();
  app.add_option("--tokens", arguments.tokens, "Token ids, separated by commas")->required()->delimiter(',');
  app.add_option("--top", arguments.top, "How many logits to print at each position")
      ->check(CLI::Range(1u, kTopMax));
  app.add_option("--threads", arguments.threads, "Threads to compute with; the results are the same")
      ->check(CLI::Range(1u, 1024u));
  app.add_option("--isa", arguments.isa,
                 "\"scalar\", \"avx2\" or \"avx512\"; without it the best this CPU has");
  app.add_option("--tensor-parallel", arguments.ranks, "Processes to spread the model over (1)")
      ->check(CLI::Range(1u, ipc::kRanksMax));
  add_kind_option(app, arguments.kind);
  add_gpu_flags(app, arguments.deterministic, arguments.allow_jit);
  add_kv_type_option(app, arguments.kv_type);
  app.add_flag("--json", arguments.json, "Print JSON");
  TRY(parse_words(app, "logits", std::move(words)));
  BackendOptions options;
  options.threads = arguments.threads;
  options.isa = arguments.isa;
  options.deterministic = arguments.deterministic;
  options.allow_jit = arguments.allow_jit;
  options.kv_type = arguments.kv_type;
  options.batch_tokens_max = kChunkTokens;
  TRY_ASSIGN(const DeviceKind device, device_kind(arguments.kind));
  options.make = device.make;
  TRY_ASSIGN(const auto ranks, ForkedRanks::start(arguments.ranks, arguments.model, device, options));
  options.collective = ranks->collective();
  options.nccl = ranks->nccl();
  TRY_ASSIGN(const LoadedModel model, load_model(arguments.model, options));
  TRY(check_tokens(arguments, model.backend->info()));
  TRY(print_all(arguments, model));
  return 0;
}

}  // namespace deepserve::runner
