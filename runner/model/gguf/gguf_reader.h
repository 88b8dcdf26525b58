// The parser behind Gguf::parse: one pass over header, metadata and tensor table, then the layout of the
// data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runner/model/gguf/gguf.h"

namespace deepserve::runner {

class GgufReader {
 public:
  GgufReader(std::span<const uint8_t> file, std::string name);

  Result<Gguf> read();

 private:
  struct TensorPlace {
    uint64_t relative_offset = 0;  // to the beginning of the data
    uint64_t size_bytes = 0;
    uint64_t header_offset = 0;
  };

  Result<void> read_header();
  Result<void> read_metadata_entry();
  Result<GgufValue> read_value(std::string_view key);
  Result<void> skip_elements(std::string_view key, GgufType type, uint64_t count);
  Result<void> read_tensor_entry();
  Result<void> read_tensor_shape(StoredTensor& tensor);
  Result<void> read_tensor_type(StoredTensor& tensor, TensorPlace& place);
  Result<void> read_alignment();
  Result<void> place_tensors();
  Result<void> check_overlaps() const;

  // Little-endian number at the cursor; `what` is for the message when the file ends first.
  template <typename T>
  Result<T> number(std::string_view what);
  Result<std::string_view> string(std::string_view what, uint64_t bytes_max);

  template <typename... Args>
  tl::unexpected<Error> bad(uint64_t offset, fmt::format_string<Args...> text, Args&&... args) const {
    return fail(Code::kBadModelFile, "{}: offset {}: {}", gguf_.name_, offset,
                fmt::format(text, std::forward<Args>(args)...));
  }

  uint64_t left() const { return file_.size() - position_; }

  std::span<const uint8_t> file_;
  uint64_t position_ = 0;
  uint64_t tensor_count_ = 0;
  uint64_t metadata_count_ = 0;
  uint64_t alignment_ = 32;
  std::vector<TensorPlace> places_;  // [tensors]
  Gguf gguf_;
};

}  // namespace deepserve::runner
