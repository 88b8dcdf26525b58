// The tensors of a model in all of its files: what weights are bound from, whatever the files' format.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/stored_tensor.h"

namespace deepserve::runner {

// Whose names the tensors have.
enum class TensorNaming : uint8_t { kGguf, kHuggingFace };

class ModelTensors {
 public:
  // `model`: what errors call the model as a whole, its path.
  ModelTensors(std::string model, TensorNaming naming) : model_(std::move(model)), naming_(naming) {}

  // Adds all tensors of one file, whose bytes must outlive this. kBadModelFile when a name is there already,
  // naming both files.
  Result<void> add_file(std::string file, std::span<const StoredTensor> tensors);

  TensorNaming naming() const { return naming_; }
  std::span<const StoredTensor> all() const { return tensors_; }
  const StoredTensor* find(std::string_view name) const;  // nullptr: not there

  // kBadModelFile: "FILE: tensor "NAME" at offset N: TEXT". `tensor` is one of all().
  tl::unexpected<Error> bad(const StoredTensor& tensor, std::string_view text) const;
  // kBadModelFile: "MODEL: tensor "NAME" is missing".
  tl::unexpected<Error> missing(std::string_view name) const;

  // The file that `tensor`, one of all(), lies in.
  const std::string& file_of(const StoredTensor& tensor) const;

 private:
  std::string model_;
  TensorNaming naming_;
  std::vector<std::string> files_;
  std::vector<StoredTensor> tensors_;
  std::vector<size_t> file_indices_;  // [tensors_], into files_
  std::map<std::string, size_t, std::less<>> indices_;
};

}  // namespace deepserve::runner
