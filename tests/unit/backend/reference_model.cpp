#include "tests/unit/backend/reference_model.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "ipc/base/check.h"
#include "kernels/cpu/dequantize.h"
#include "runner/model/gguf/gguf.h"

namespace deepserve::runner {
namespace {

using Vector = std::vector<double>;

class Reference {
 public:
  Reference(const TinyModel& model, std::span<const uint8_t> bytes)
      : model_(model), file_(*Gguf::parse(bytes, "reference")) {}

  Vector run(std::span<const ipc::TokenId> tokens) {
    keys_.assign(model_.layers, {});
    values_.assign(model_.layers, {});
    Vector logits;
    for (size_t position = 0; position < tokens.size(); ++position) {
      Vector x = row("token_embd.weight", tokens[position]);
      for (uint32_t layer = 0; layer < model_.layers; ++layer) run_layer(x, layer, position);
      const char* output = model_.tied ? "token_embd.weight" : "output.weight";
      const Vector last = multiply(output, rms_norm(x, tensor("output_norm.weight")), model_.vocabulary);
      logits.insert(logits.end(), last.begin(), last.end());
    }
    return logits;
  }
  double nearest_tie() const { return nearest_tie_; }

 private:
  Vector tensor(const std::string& name) const {
    const StoredTensor* found = file_.find_tensor(name);
    if (found == nullptr) return {};
    std::vector<float> values(found->elements);
    kernels::dequantize_row(found->type, found->bytes.data(), found->elements, values.data());
    return {values.begin(), values.end()};
  }
  Vector row(const std::string& name, size_t index) const {
    const Vector all = tensor(name);
    const size_t width = file_.find_tensor(name)->dimensions[0];
    return {all.begin() + static_cast<ptrdiff_t>(index * width),
            all.begin() + static_cast<ptrdiff_t>((index + 1) * width)};
  }
  static bool rounds_inputs(kernels::WeightType type) {
    using enum kernels::WeightType;
    return type == kQ8_0 || type == kQ4_0 || type == kQ4_1 || type == kQ5_0 || type == kQ5_1 ||
           type == kQ4K || type == kQ5K || type == kQ6K;
  }
  Vector rounded(Vector x) const {
    for (size_t begin = 0; begin < x.size(); begin += 32) {
      double largest = 0;
      for (size_t i = begin; i < begin + 32; ++i) largest = std::max(largest, std::abs(x[i]));
      if (largest == 0) continue;
      const double step = largest / 127;
      for (size_t i = begin; i < begin + 32; ++i) {
        const double level = x[i] / step;
        nearest_tie_ = std::min(nearest_tie_, std::abs(level - std::floor(level) - 0.5));
        x[i] = std::nearbyint(level) * step;
      }
    }
    return x;
  }
  Vector multiply(const std::string& name, const Vector& inputs, size_t rows) const {
    const Vector weights = tensor(name);
    const Vector x = rounds_inputs(file_.find_tensor(name)->type) ? rounded(inputs) : inputs;
    Vector y(rows);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < x.size(); ++c) y[r] += weights[r * x.size() + c] * x[c];
    }
    return y;
  }
  static Vector rms_norm(const Vector& x, const Vector& weight) {
    double mean = 0;
    for (const double value : x) mean += value * value / static_cast<double>(x.size());
    Vector y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] / std::sqrt(mean + 1e-5) * weight[i];
    return y;
  }
  static void add(Vector& x, const Vector& y) {
    for (size_t i = 0; i < y.size(); ++i) x[i] += y[i];
  }

  Vector rotated(Vector head, size_t position) const {
    const size_t dims = model_.rotated_dims != 0 ? model_.rotated_dims : model_.head_dim;
    const Vector factors = tensor("rope_freqs.weight");
    for (size_t i = 0; i < dims / 2; ++i) {
      double angle = static_cast<double>(position) *
                     std::pow(model_.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
      if (model_.linear_factor != 0) angle /= model_.linear_factor;
      if (!factors.empty()) angle /= factors[i];
      const bool adjacent = model_.architecture == "llama";
      const size_t a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + dims / 2;
      const double x = head[a], y = head[b];
      head[a] = x * std::cos(angle) - y * std::sin(angle);
      head[b] = x * std::sin(angle) + y * std::cos(angle);
    }
    return head;
  }

  // [heads][head_dim] of one projection, with its bias, norm and rotation where there are any.
  std::vector<Vector> heads_of(const std::string& name, const Vector& x, size_t heads, bool rotate,
                               size_t position) const {
    Vector flat = multiply(name + ".weight", x, heads * model_.head_dim);
    add(flat, tensor(name + ".bias"));
    const Vector norm = tensor(name + "_norm.weight");
    std::vector<Vector> result;
    for (size_t h = 0; h < heads; ++h) {
      const auto begin = flat.begin() + static_cast<ptrdiff_t>(h * model_.head_dim);
      Vector head(begin, begin + model_.head_dim);
      if (!norm.empty()) head = rms_norm(head, norm);
      result.push_back(rotate ? rotated(head, position) : head);
    }
    return result;
  }

  Vector attend(const Vector& query, uint32_t layer, size_t kv_head) const {
    Vector scores;
    double total = 0;
    for (const auto& keys : keys_[layer]) {
      double score = 0;
      for (size_t d = 0; d < query.size(); ++d) score += query[d] * keys[kv_head][d];
      scores.push_back(std::exp(score / std::sqrt(static_cast<double>(query.size()))));
      total += scores.back();
    }
    Vector out(query.size());
    for (size_t p = 0; p < scores.size(); ++p) {
      for (size_t d = 0; d < out.size(); ++d) out[d] += scores[p] / total * values_[layer][p][kv_head][d];
    }
    return out;
  }

  void run_layer(Vector& x, uint32_t layer, size_t position) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    const Vector normal = rms_norm(x, tensor(prefix + "attn_norm.weight"));
    const auto queries = heads_of(prefix + "attn_q", normal, model_.heads, true, position);
    keys_[layer].push_back(heads_of(prefix + "attn_k", normal, model_.kv_heads, true, position));
    values_[layer].push_back(heads_of(prefix + "attn_v", normal, model_.kv_heads, false, position));
    Vector attended;
    for (size_t h = 0; h < model_.heads; ++h) {
      const Vector head = attend(queries[h], layer, h / (model_.heads / model_.kv_heads));
      attended.insert(attended.end(), head.begin(), head.end());
    }
    add(x, multiply(prefix + "attn_output.weight", attended, model_.embedding));
    add(x, tensor(prefix + "attn_output.bias"));
    const Vector before = rms_norm(x, tensor(prefix + "ffn_norm.weight"));
    Vector gate = multiply(prefix + "ffn_gate.weight", before, model_.feed_forward);
    Vector up = multiply(prefix + "ffn_up.weight", before, model_.feed_forward);
    add(gate, tensor(prefix + "ffn_gate.bias"));
    add(up, tensor(prefix + "ffn_up.bias"));
    for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    add(x, multiply(prefix + "ffn_down.weight", gate, model_.embedding));
    add(x, tensor(prefix + "ffn_down.bias"));
  }

  const TinyModel& model_;
  Gguf file_;
  mutable double nearest_tie_ = 0.5;
  std::vector<std::vector<std::vector<Vector>>> keys_, values_;  // [layer][position][kv_head][head_dim]
};

}  // namespace

std::vector<double> reference_logits(const TinyModel& model, std::span<const uint8_t> bytes,
                                     std::span<const ipc::TokenId> tokens, double* nearest_tie) {
  Reference reference(model, bytes);
  std::vector<double> logits = reference.run(tokens);
  if (nearest_tie != nullptr) *nearest_tie = reference.nearest_tie();
  return logits;
}

ReferencePrompt clear_prompt(const TinyModel& model, std::span<const uint8_t> bytes, size_t count) {
  constexpr double kClearLevels = 3e-4;
  constexpr uint32_t kTries = 500;
  for (uint32_t i = 0; i < kTries; ++i) {
    std::mt19937 random(model.seed + 1000 * i);
    ReferencePrompt prompt;
    prompt.tokens.resize(count);
    for (ipc::TokenId& token : prompt.tokens) token = random() % model.vocabulary;
    double nearest_tie = 0;
    prompt.logits = reference_logits(model, bytes, prompt.tokens, &nearest_tie);
    if (nearest_tie > kClearLevels) return prompt;
  }
  CHECK(!"no prompt is clear of ties");
  return {};
}

}  // namespace deepserve::runner
