// What the smaller types of KV cache cost in quality: the mean log probability of a text's tokens, each given
// all before it, beside that of a float32 cache.
//
//   kv_quality_bench MODEL TEXT [TOKENS]      TEXT: a file, of which the first TOKENS (1000) are taken
//
// Bars: f16 loses at most 0.001 nats a token, q8 0.01 (a perplexity 0.1 % and 1 % higher).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "runner/model/loaded_model.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace {

using namespace deepserve;
using namespace deepserve::runner;

constexpr size_t kStepTokens = 16;

struct Score {
  std::vector<double> log_probabilities;  // of each token but the first
  std::vector<TokenId> favourites;        // the likeliest in its place
};

[[noreturn]] void give_up(const std::string& message) {
  std::fprintf(stderr, "kv_quality_bench: %s\n", message.c_str());
  std::exit(1);
}

LoadedModel load(const char* path, kernels::KvType type) {
  BackendOptions options;
  options.threads = 2;
  options.batch_tokens_max = kStepTokens;
  options.kv_type = type;
  auto model = load_model(path, options);
  if (!model) give_up(model.error().message);
  return std::move(*model);
}

double log_probability(const float* logits, size_t size, TokenId token) {
  const float maximum = *std::max_element(logits, logits + size);
  double total = 0;
  for (size_t i = 0; i < size; ++i) total += std::exp(static_cast<double>(logits[i] - maximum));
  return static_cast<double>(logits[token] - maximum) - std::log(total);
}

Score score(Backend& backend, const std::vector<TokenId>& tokens) {
  const size_t vocabulary = backend.info().vocabulary, block = backend.info().block_tokens;
  std::vector<BlockId> blocks((tokens.size() + block - 1) / block);
  std::iota(blocks.begin(), blocks.end(), BlockId{0});
  std::vector<float> logits(kStepTokens * vocabulary);
  Score result;
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += kStepTokens) {
    const size_t count = std::min(kStepTokens, tokens.size() - begin);
    BatchEntry entry;
    entry.tokens = std::span(tokens).subspan(begin, count);
    entry.position = static_cast<uint32_t>(begin);
    entry.blocks = std::span(blocks).first((begin + count + block - 1) / block);
    entry.logits_rows = static_cast<uint32_t>(count);
    const auto done = backend.step({&entry, 1}, {std::span(logits).first(count * vocabulary), {}});
    if (!done) give_up(done.error().message);
    for (size_t i = 0; i < count && begin + i + 1 < tokens.size(); ++i) {
      const float* row = &logits[i * vocabulary];
      result.log_probabilities.push_back(log_probability(row, vocabulary, tokens[begin + i + 1]));
      result.favourites.push_back(static_cast<TokenId>(std::max_element(row, row + vocabulary) - row));
    }
  }
  return result;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool print(kernels::KvType type, const Score& score, const Score& exact, double bar) {
  double largest = 0;
  size_t same = 0;
  for (size_t i = 0; i < exact.favourites.size(); ++i) {
    largest = std::max(largest, std::abs(score.log_probabilities[i] - exact.log_probabilities[i]));
    same += score.favourites[i] == exact.favourites[i] ? 1 : 0;
  }
  const double lost = mean(exact.log_probabilities) - mean(score.log_probabilities);
  std::printf(
      "%-4s mean log probability %.5f, lost %+.5f (bar %.3f), largest change %.4f, "
      "same favourite %.2f %%  %s\n",
      std::string(kernels::kv_type_name(type)).c_str(), mean(score.log_probabilities), lost, bar, largest,
      100.0 * static_cast<double>(same) / static_cast<double>(exact.favourites.size()),
      lost <= bar ? "PASS" : "FAIL");
  return lost <= bar;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) give_up("MODEL TEXT [TOKENS]");
  const size_t limit = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1000;
  std::ifstream file(argv[2]);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  LoadedModel model = load(argv[1], kernels::KvType::kF32);
  if (!model.vocabulary) give_up(model.vocabulary_error.message);
  const auto tokenizer = Tokenizer::make(std::move(*model.vocabulary));
  if (!tokenizer) give_up(tokenizer.error().message);
  auto tokens = (*tokenizer)->encode(text, Tokenizer::Specials::kPlainText);
  tokens.resize(std::min({tokens.size(), limit, size_t{model.backend->info().context_tokens_model}}));
  if (tokens.size() < 2) give_up("the text has no two tokens");
  std::printf("%zu tokens of %s, %s\n", tokens.size(), argv[2], argv[1]);
  const Score exact = score(*model.backend, tokens);
  std::printf("f32  mean log probability %.5f\n", mean(exact.log_probabilities));
  model = load(argv[1], kernels::KvType::kF16);
  bool passed = print(kernels::KvType::kF16, score(*model.backend, tokens), exact, 0.001);
  model = load(argv[1], kernels::KvType::kQ8);
  passed = print(kernels::KvType::kQ8, score(*model.backend, tokens), exact, 0.01) && passed;
  return passed ? 0 : 1;
}
