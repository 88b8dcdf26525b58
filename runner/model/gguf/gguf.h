// A GGUF file (version 2 or 3, little-endian) as checked tables of metadata and tensors.
//
// Source: the GGUF specification in ggml's docs/gguf.md. The file is hostile: parse() visits every header
// field once with checked arithmetic and refuses the file before any tensor is touched. Errors are
// kBadModelFile (the file lies) or kNotSupported (it is fine, we are not), and name the file, the key or
// tensor, and the offset.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/stored_tensor.h"

namespace deepserve::runner {

enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
  kCount
};
std::string_view gguf_type_name(GgufType type);

struct GgufValue {
  GgufType type = GgufType::kUint8;
  GgufType element_type = GgufType::kUint8;  // of an array; else as type
  uint64_t count = 1;                        // elements of an array; else 1
  std::span<const uint8_t> bytes;  // the elements, one after another; strings with their 8-byte lengths
  uint64_t offset = 0;             // of the value in the file
};

struct GgufLimits {
  static constexpr uint64_t kMetadataMax = 65'536;
  static constexpr uint64_t kTensorsMax = 65'536;
  static constexpr uint64_t kNameBytesMax = 65'535;
  static constexpr uint64_t kAlignmentMax = 1u << 20;
};

class Gguf {
 public:
  // `file` must outlive the result, `name` is what errors call it.
  static Result<Gguf> parse(std::span<const uint8_t> file, std::string name);

  const std::string& name() const { return name_; }
  std::span<const StoredTensor> tensors() const { return tensors_; }
  const StoredTensor* find_tensor(std::string_view name) const;
  bool has(std::string_view key) const { return metadata_.contains(key); }

  // The value under `key`; none when the key is not there; kBadModelFile when it has another kind of type.
  Result<std::optional<uint64_t>> find_unsigned(
      std::string_view key) const;                                        // any integer type, not negative
  Result<std::optional<double>> find_number(std::string_view key) const;  // float32, float64
  Result<std::optional<bool>> find_bool(std::string_view key) const;
  Result<std::optional<std::string>> find_string(std::string_view key) const;
  Result<std::optional<std::vector<std::string>>> find_strings(std::string_view key) const;
  Result<std::optional<std::vector<float>>> find_floats(std::string_view key) const;
  Result<std::optional<std::vector<int64_t>>> find_integers(std::string_view key) const;

  // kBadModelFile about the value of `key`: "FILE: metadata key "KEY" at offset N: TEXT".
  tl::unexpected<Error> bad_value(std::string_view key, std::string_view text) const;

 private:
  friend class GgufReader;

  const GgufValue* find_value(std::string_view key) const;

  std::string name_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> tensor_index_;
};

}  // namespace deepserve::runner
