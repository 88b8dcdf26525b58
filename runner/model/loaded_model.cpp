#include "runner/model/loaded_model.h"

#include "runner/backend/cpu_backend.h"
#include "runner/model/gguf/gguf_model.h"
#include "runner/model/huggingface/hf_model.h"
#include "runner/model/model_weights.h"
#include "runner/model/weight_reader.h"

namespace deepserve::runner {
namespace {

Result<OpenedModel> open_model(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return open_hf_model(path);
  return open_gguf_model(path);
}

}  // namespace

Result<LoadedModel> load_model(const std::filesystem::path& path, const BackendOptions& options) {
  TRY_ASSIGN(OpenedModel model, open_model(path));
  TRY(check_model_weights(model.tensors, model.config));
  TRY_ASSIGN(const uint64_t content_hash, read_weights(model.files, model.tensors,
                                                       {.seed = model.config_hash,
                                                        .threads = options.threads,
                                                        .on_bytes = options.on_bytes_loaded}));
  TRY_ASSIGN(ModelWeights weights, bind_model_weights(model.tensors, model.config));
  LoadedModel loaded;
  Result<Vocabulary> vocabulary = model.vocabulary.get();
  if (vocabulary)
    loaded.vocabulary = std::move(*vocabulary);
  else
    loaded.vocabulary_error = of_file(path, std::move(vocabulary.error()));
  TRY(model.files.verify_unchanged());
  TRY_ASSIGN(
      loaded.backend,
      make_cpu_backend({std::move(model.files), model.config, std::move(weights), content_hash}, options));
  return loaded;
}

Error of_file(const std::filesystem::path& path, Error error) {
  if (error.message.find(path.string()) == std::string::npos) {
    error.message = fmt::format("{}: {}", path.string(), error.message);
  }
  return error;
}

}  // namespace deepserve::runner
