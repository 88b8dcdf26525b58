#include "runner/model/gguf_model.h"

#include "runner/model/gguf.h"
#include "runner/model/gguf_config.h"
#include "runner/model/gguf_vocabulary.h"
#include "runner/model/weight_names.h"

namespace deepserve::runner {
namespace {

// Rows of the embedding; 0 where there is none, which binding the weights will say.
uint64_t vocabulary_size(const ModelTensors& tensors) {
  const StoredTensor* embedding =
      tensors.find(weight_name(TensorNaming::kGguf, WeightPart::kEmbedding, WeightSuffix::kWeight));
  return embedding == nullptr ? 0 : embedding->dimensions[1];
}

}  // namespace

Result<OpenedModel> open_gguf_model(const std::filesystem::path& path) {
  ModelFiles files;
  TRY(files.open(path));
  TRY_ASSIGN(const Gguf gguf, Gguf::parse(files.last().bytes(), path.string()));
  TRY_ASSIGN(const ModelConfig config, read_gguf_config(gguf));
  ModelTensors tensors(path.string(), TensorNaming::kGguf);
  TRY(tensors.add_file(gguf.name(), gguf.tensors()));
  auto vocabulary = read_gguf_vocabulary(gguf, vocabulary_size(tensors));
  return OpenedModel{std::move(files), std::move(tensors), config, 0, std::move(vocabulary)};
}

}  // namespace deepserve::runner
