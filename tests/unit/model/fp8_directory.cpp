// The 8-bit floats of hf_directory.h.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/float16.h"
#include "kernels/cpu/float8.h"
#include "runner/model/model_config.h"
#include "tests/unit/model/hf_directory.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

constexpr const char* kScaleOfBlocks = "_scale_inv";
constexpr const char* kScaleOfRows = "_scale";

// The nearest of all codes.
uint8_t e4m3_of(float value) {
  uint8_t best = 0;
  for (unsigned code = 0; code < 256; ++code) {
    const float candidate = kernels::e4m3_to_float(static_cast<uint8_t>(code));
    if (std::abs(candidate - value) < std::abs(kernels::e4m3_to_float(best) - value))
      best = static_cast<uint8_t>(code);
  }
  return best;
}

std::vector<uint8_t> stored_as(WeightType type, const std::vector<float>& values) {
  std::vector<uint8_t> bytes(values.size() * kernels::weight_format(type).block_bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == WeightType::kF32) std::memcpy(&bytes[4 * i], &values[i], 4);
    if (type == WeightType::kBF16)
      std::memcpy(&bytes[2 * i], reinterpret_cast<const uint8_t*>(&values[i]) + 2, 2);
  }
  return bytes;
}

// What of a scale is left in its type.
float rounded_to(WeightType type, float value) {
  float rounded;
  kernels::dequantize_row(type, stored_as(type, {value}).data(), 1, &rounded);
  return rounded;
}

struct Blocks {
  size_t rows, columns;        // of weights
  size_t of_rows, of_columns;  // of a block
  size_t below() const { return (rows + of_rows - 1) / of_rows; }
  size_t beside() const { return (columns + of_columns - 1) / of_columns; }
  size_t at(size_t row, size_t column) const { return row / of_rows * beside() + column / of_columns; }
};

Blocks blocks_of(const NamedTensor& tensor, const Fp8Storage& storage) {
  const size_t rows = tensor.shape[0], columns = tensor.shape[1];
  if (storage.in_blocks) return {rows, columns, kFp8Block, kFp8Block};
  return {rows, columns, storage.one_scale ? rows : 1, columns};
}

void add_as_fp8(const NamedTensor& plain, const Fp8Storage& storage, std::vector<NamedTensor>& tensors) {
  const Blocks blocks = blocks_of(plain, storage);
  std::vector<float> weights(blocks.rows * blocks.columns), scales(blocks.below() * blocks.beside());
  std::memcpy(weights.data(), plain.bytes.data(), plain.bytes.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    float& scale = scales[blocks.at(i / blocks.columns, i % blocks.columns)];
    scale = std::max(scale, std::abs(weights[i]) / kernels::kE4M3Max);
  }
  for (float& scale : scales) scale = rounded_to(storage.scale_type, scale);
  NamedTensor coded{plain.name, WeightType::kF8E4M3, plain.shape, {}};
  for (size_t i = 0; i < weights.size(); ++i)
    coded.bytes.push_back(e4m3_of(weights[i] / scales[blocks.at(i / blocks.columns, i % blocks.columns)]));
  NamedTensor scale{plain.name + (storage.in_blocks ? kScaleOfBlocks : kScaleOfRows),
                    storage.scale_type,
                    {blocks.below(), blocks.beside()},
                    stored_as(storage.scale_type, scales)};
  if (storage.one_scale) scale.shape.clear();
  tensors.push_back(std::move(coded));
  tensors.push_back(std::move(scale));
}

}  // namespace

std::vector<NamedTensor> fp8_tensors(const TinyModel& model, const Fp8Storage& storage) {
  std::vector<NamedTensor> tensors;
  for (NamedTensor& tensor : hf_tensors(model)) {
    if (tensor.name.ends_with("_proj.weight"))
      add_as_fp8(tensor, storage, tensors);
    else
      tensors.push_back(std::move(tensor));
  }
  return tensors;
}

std::vector<NamedTensor> without_fp8(std::vector<NamedTensor> tensors) {
  std::vector<NamedTensor> plain;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].type != WeightType::kF8E4M3) {
      plain.push_back(std::move(tensors[i]));
      continue;
    }
    const NamedTensor &codes = tensors[i], &stored = tensors[i + 1];
    std::vector<float> scales(stored.bytes.size() / kernels::weight_format(stored.type).block_bytes);
    kernels::dequantize_row(stored.type, stored.bytes.data(), scales.size(), scales.data());
    const Fp8Storage storage{.in_blocks = stored.name.ends_with(kScaleOfBlocks),
                             .one_scale = stored.shape.empty()};
    const Blocks blocks = blocks_of(codes, storage);
    std::vector<float> weights(codes.bytes.size());
    for (size_t w = 0; w < weights.size(); ++w) {
      weights[w] =
          kernels::e4m3_to_float(codes.bytes[w]) * scales[blocks.at(w / blocks.columns, w % blocks.columns)];
    }
    plain.push_back({codes.name, WeightType::kF32, codes.shape, stored_as(WeightType::kF32, weights)});
    ++i;
  }
  return plain;
}

std::string fp8_config(const TinyModel& model, const Fp8Storage& storage) {
  std::string config = hf_config(model);
  config.pop_back();
  return config + R"(, "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic")" +
         (storage.in_blocks ? R"(, "fmt": "e4m3", "weight_block_size": [128, 128])" : "") + "}}";
}

void write_fp8(const TemporaryDirectory& directory, const TinyModel& model, const Fp8Storage& storage) {
  directory.write("config.json", fp8_config(model, storage));
  directory.write("model.safetensors", safetensors_file(fp8_tensors(model, storage)));
}

}  // namespace deepserve::runner
