// A safetensors file as a checked table of tensors.
//
// Source: the format's description in the README of github.com/huggingface/safetensors: eight bytes of
// little-endian header length, a JSON header, the tensors' bytes without holes. The file is hostile: every
// length and offset is checked against the file's size before any tensor is touched. Errors are kBadModelFile
// (the file lies) or kNotSupported (it is fine, we are not), and name the file, the tensor and the offset.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/stored_tensor.h"

namespace deepserve::runner {

struct SafetensorsLimits {
  static constexpr uint64_t kHeaderBytesMax = 100'000'000;  // the reference implementation's
  static constexpr uint64_t kHeaderMemoryMax = 512u << 20;  // of the parsed header
  static constexpr uint32_t kHeaderDepthMax = 4;            // three are needed
  static constexpr uint64_t kTensorsMax = 65'536;
};

// The tensors of `file`, which must outlive them, in order of their offsets. `name` is what errors call the
// file. Data of F32, F16, BF16 and F8_E4M3 is supported; it may begin at any byte. "__metadata__" is not
// kept.
Result<std::vector<StoredTensor>> parse_safetensors(std::span<const uint8_t> file, const std::string& name);

}  // namespace deepserve::runner
