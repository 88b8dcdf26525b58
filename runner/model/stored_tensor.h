// One tensor as a model file of any format states it, checked: it lies inside its file and its bytes are as
// many as its shape and type take.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/cpu/weight_format.h"

namespace deepserve::runner {

struct StoredTensor {
  std::string name;  // as the file spells it
  kernels::WeightType type = kernels::WeightType::kF32;
  std::array<uint64_t, 4> dimensions{1, 1, 1, 1};  // [0] is a row's length
  uint32_t dimension_count = 1;
  uint64_t elements = 0;
  std::span<const uint8_t> bytes;  // all of it, inside the file; of any alignment
  uint64_t offset = 0;             // of the first byte in the file
};

// The dimensions for messages, a row's length first: "64x32"; "a single number" where there are none.
std::string shape_text(const StoredTensor& tensor);

// `text` from a hostile file, fit for a log line: printable ASCII, at most 64 characters.
std::string printable(std::string_view text);

}  // namespace deepserve::runner
