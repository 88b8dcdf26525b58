#include "runner/model/loaded_model.h"

#include "runner/backend/cpu_backend.h"
#include "runner/backend/rank_group.h"
#include "runner/collective/collective.h"
#include "runner/model/content_hash.h"
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

Result<uint64_t> read_all_weights(const OpenedModel& model, const BackendOptions& options) {
  return options.run_aside([&] {
    return read_weights(
        model.files, model.tensors,
        {.seed = model.config_hash, .threads = options.threads, .on_bytes = options.on_bytes_loaded});
  });
}

// What rank 0 tells the others once it has looked at every weight.
struct ReadWeights {
  uint64_t content_hash = 0;
  uint64_t files = 0;  // a hash of which they are
};

uint64_t hash_of_identities(const ModelFiles& files) {
  std::vector<FileIdentity> identities;
  for (const MappedFile& file : files.all()) identities.push_back(file.identity());
  ContentHash hash;
  hash.add({reinterpret_cast<const uint8_t*>(identities.data()), identities.size() * sizeof(FileIdentity)});
  return hash.value();
}

// Rank 0 reads the weights for all: the others wait, and map the same files.
Result<uint64_t> fingerprint(const OpenedModel& model, const BackendOptions& options) {
  if (options.collective == nullptr) return read_all_weights(model, options);
  ReadWeights read{.content_hash = 0, .files = hash_of_identities(model.files)};
  const uint64_t own_files = read.files;
  if (options.collective->rank() == 0) {
    TRY_ASSIGN(read.content_hash, read_all_weights(model, options));
  }
  TRY(options.collective->broadcast(std::as_writable_bytes(std::span(&read, 1)), 0, Patience::kForever));
  if (read.files != own_files)
    return fail(Code::kBadModelFile, "the model's files are not those that rank 0 has read");
  return read.content_hash;
}

Result<LoadedModel> load(const std::filesystem::path& path, const BackendOptions& options) {
  TRY_ASSIGN(OpenedModel model, open_model(path));
  TRY(check_model_weights(model.tensors, model.config));
  TRY_ASSIGN(const uint64_t content_hash, fingerprint(model, options));
  TRY_ASSIGN(ModelWeights weights, bind_model_weights(model.tensors, model.config));
  LoadedModel loaded;
  Result<Vocabulary> vocabulary = model.vocabulary.get();
  if (vocabulary)
    loaded.vocabulary = std::move(*vocabulary);
  else
    loaded.vocabulary_error = of_file(path, std::move(vocabulary.error()));
  TRY(model.files.verify_unchanged());
  const BackendMaker make = options.make != nullptr ? options.make : make_cpu_backend;
  TRY_ASSIGN(loaded.backend,
             make({std::move(model.files), model.config, std::move(weights), content_hash}, options));
  if (options.collective != nullptr && options.collective->rank() == 0) {
    TRY_ASSIGN(loaded.backend, lead_ranks(std::move(loaded.backend), *options.collective));
  }
  return loaded;
}

}  // namespace

Result<LoadedModel> load_model(const std::filesystem::path& path, const BackendOptions& options) {
  auto loaded = load(path, options);
  if (!loaded && options.collective != nullptr) options.collective->abandon(loaded.error());
  return loaded;
}

Error of_file(const std::filesystem::path& path, Error error) {
  if (error.message.find(path.string()) == std::string::npos) {
    error.message = fmt::format("{}: {}", path.string(), error.message);
  }
  return error;
}

}  // namespace deepserve::runner
