// Writes safetensors files for tests: right ones, and, by any header, wrong ones.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cpu/weight_format.h"

namespace deepserve::runner {

struct NamedTensor {
  std::string name;
  kernels::WeightType type = kernels::WeightType::kF32;  // F32, F16 or BF16
  std::vector<uint64_t> shape;                           // rows first, as PyTorch has it
  std::vector<uint8_t> bytes;
};

// A file of that header, whose length is written before it, and that data.
std::vector<uint8_t> safetensors_file(std::string_view header, std::span<const uint8_t> data);

// `header_padding`: spaces after the header, so that the data may begin anywhere.
std::vector<uint8_t> safetensors_file(std::span<const NamedTensor> tensors, size_t header_padding = 0);

}  // namespace deepserve::runner
