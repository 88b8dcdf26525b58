#include "daemon/serving/model_memory.h"

#include <filesystem>
#include <system_error>

namespace deepserve::daemon {

namespace fs = std::filesystem;

uint64_t model_file_bytes(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    const auto bytes = fs::file_size(path, error);
    return error ? 0 : bytes;
  }
  uint64_t bytes = 0;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code file_error;
    const auto size = entry->file_size(file_error);
    if (!file_error) bytes += size;
  }
  return bytes;
}

uint64_t runner_memory_bytes(const ModelConfig& model) {
  return model_file_bytes(model.path) / model.tensor_parallel + model.kv_memory_bytes;
}

}  // namespace deepserve::daemon
