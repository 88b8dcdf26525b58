#include "runner/model/loaded_model.h"

#include "runner/backend/cpu_backend.h"
#include "runner/model/content_hash.h"
#include "runner/model/gguf.h"
#include "runner/model/gguf_vocabulary.h"
#include "runner/model/mapped_file.h"
#include "runner/model/model_config.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner {
namespace {

// Reads the whole file once: pages come into memory, progress is told, and the weights get their fingerprint.
uint64_t read_and_hash(const MappedFile& file, const BackendOptions& options) {
  ContentHash hash;
  file.read_through([&](std::span<const uint8_t> piece, uint64_t bytes_so_far) {
    hash.add(piece);
    if (options.on_bytes_loaded) options.on_bytes_loaded(bytes_so_far);
  });
  return hash.value();
}

}  // namespace

Result<LoadedModel> load_model(const std::filesystem::path& path, const BackendOptions& options) {
  TRY_ASSIGN(MappedFile file, MappedFile::open(path));
  TRY_ASSIGN(const Gguf gguf, Gguf::parse(file.bytes(), path.string()));
  TRY_ASSIGN(const ModelConfig config, read_model_config(gguf));
  TRY_ASSIGN(ModelWeights weights, bind_model_weights(gguf, config));
  LoadedModel loaded;
  Result<Vocabulary> vocabulary = read_gguf_vocabulary(gguf, weights.embedding.rows);
  if (vocabulary)
    loaded.vocabulary = std::move(*vocabulary);
  else
    loaded.vocabulary_error = of_file(path, std::move(vocabulary.error()));
  const uint64_t content_hash = read_and_hash(file, options);
  TRY(file.verify_unchanged());
  TRY_ASSIGN(loaded.backend,
             make_cpu_backend({std::move(file), config, std::move(weights), content_hash}, options));
  return loaded;
}

Error of_file(const std::filesystem::path& path, Error error) {
  if (error.message.find(path.string()) == std::string::npos) {
    error.message = fmt::format("{}: {}", path.string(), error.message);
  }
  return error;
}

}  // namespace deepserve::runner
