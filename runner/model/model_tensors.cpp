#include "runner/model/model_tensors.h"

namespace deepserve::runner {

Result<void> ModelTensors::add_file(std::string file, std::span<const StoredTensor> tensors) {
  files_.push_back(std::move(file));
  for (const StoredTensor& tensor : tensors) {
    const auto [place, is_new] = indices_.emplace(tensor.name, tensors_.size());
    if (!is_new) {
      return fail(Code::kBadModelFile, "{}: tensor \"{}\" at offset {}: it is in {} already", files_.back(),
                  printable(tensor.name), tensor.offset, file_of(tensors_[place->second]));
    }
    tensors_.push_back(tensor);
    file_indices_.push_back(files_.size() - 1);
  }
  return {};
}

const StoredTensor* ModelTensors::find(std::string_view name) const {
  const auto found = indices_.find(name);
  return found == indices_.end() ? nullptr : &tensors_[found->second];
}

tl::unexpected<Error> ModelTensors::bad(const StoredTensor& tensor, std::string_view text) const {
  return fail(Code::kBadModelFile, "{}: tensor \"{}\" at offset {}: {}", file_of(tensor),
              printable(tensor.name), tensor.offset, text);
}

tl::unexpected<Error> ModelTensors::missing(std::string_view name) const {
  return fail(Code::kBadModelFile, "{}: tensor \"{}\" is missing", model_, name);
}

const std::string& ModelTensors::file_of(const StoredTensor& tensor) const {
  return files_[file_indices_[static_cast<size_t>(&tensor - tensors_.data())]];
}

}  // namespace deepserve::runner
