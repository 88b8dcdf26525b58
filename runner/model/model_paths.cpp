#include "runner/model/model_paths.h"

#include "runner/model/gguf/gguf_shards.h"

namespace deepserve::runner {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLinksMax = 1'024;

void add_link_targets(const fs::path& directory, std::vector<fs::path>& paths) {
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    if (paths.size() > kLinksMax) return;
    std::error_code ignored;
    if (!entry->is_symlink(ignored) || !entry->is_regular_file(ignored)) continue;
    const fs::path target = fs::canonical(entry->path(), ignored);
    if (!ignored) paths.push_back(target);
  }
}

}  // namespace

std::vector<fs::path> paths_of_model(const fs::path& path) {
  std::error_code ignored;
  std::vector<fs::path> paths;
  if (fs::exists(path, ignored)) paths.push_back(path);
  if (fs::is_directory(path, ignored)) {
    add_link_targets(path, paths);
    return paths;
  }
  const auto name = GgufShardName::parse(path);
  for (uint32_t number = 1; name && number <= name->count; ++number) {
    if (number != name->number && fs::exists(name->shard(number), ignored))
      paths.push_back(name->shard(number));
  }
  return paths;
}

}  // namespace deepserve::runner
