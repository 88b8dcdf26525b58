#include "runner/model/model_paths.h"

#include <algorithm>

#include "runner/model/gguf/gguf_shards.h"

namespace deepserve::runner {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLinksMax = 1'024;

// What opening a directory reads, beside shards of any name.
constexpr std::string_view kOpenedFiles[] = {
    "config.json",           "generation_config.json",      "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json",     "chat_template.jinja",
    "model.safetensors",     "model.safetensors.index.json"};

bool is_opened(const fs::path& name) {
  return name.extension() == ".safetensors" ||
         std::find(std::begin(kOpenedFiles), std::end(kOpenedFiles), name.string()) != std::end(kOpenedFiles);
}

bool is_beneath(const fs::path& file, const fs::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), file.begin(), file.end()).first == directory.end();
}

// Whoever made the directory made its links: were they followed anywhere, they would choose what the sandbox
// may read. `directory` is canonical.
Result<void> add_link_target(const fs::path& link, const fs::path& directory, std::vector<fs::path>& paths) {
  std::error_code error;
  const fs::path target = fs::canonical(link, error);
  if (error || !fs::is_regular_file(target, error)) return {};
  const bool is_allowed = is_beneath(target, directory) ||
                          target.parent_path() == directory.parent_path().parent_path() / "blobs";
  if (!is_allowed) {
    return fail(Code::kBadModelFile,
                "{} is a link to {}, which is neither in the model's directory nor in its ../../blobs, where "
                "Hugging Face's cache keeps files; copy the file or name its directory",
                link.string(), target.string());
  }
  if (paths.size() > kLinksMax)
    return fail(Code::kBadModelFile, "{}: more than {} links", directory.string(), kLinksMax);
  paths.push_back(target);
  return {};
}

Result<void> add_link_targets(const fs::path& path, std::vector<fs::path>& paths) {
  std::error_code error;
  const fs::path directory = fs::canonical(path, error);
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (!is_opened(entry->path().filename()) || !entry->is_symlink(ignored)) continue;
    TRY(add_link_target(entry->path(), directory, paths));
  }
  return {};
}

}  // namespace

Result<std::vector<fs::path>> paths_of_model(const fs::path& path) {
  std::error_code error;
  std::vector<fs::path> paths;
  if (fs::exists(path, error)) paths.push_back(path);
  if (fs::is_directory(path, error)) {
    TRY(add_link_targets(path, paths));
    return paths;
  }
  const auto name = GgufShardName::parse(path);
  for (uint32_t number = 1; name && number <= name->count; ++number) {
    const fs::path shard = name->shard(number);
    if (number == name->number || !fs::exists(shard, error)) continue;
    if (fs::is_symlink(shard, error)) {
      TRY(add_link_target(shard, fs::canonical(fs::absolute(path).parent_path(), error), paths));
    } else {
      paths.push_back(shard);
    }
  }
  return paths;
}

}  // namespace deepserve::runner
