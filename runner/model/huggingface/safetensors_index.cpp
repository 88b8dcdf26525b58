#include "runner/model/huggingface/safetensors_index.h"

#include <boost/json/value.hpp>
#include <set>

#include "runner/model/huggingface/json_document.h"
#include "runner/model/stored_tensor.h"

namespace deepserve::runner {
namespace {

constexpr size_t kFileNameBytesMax = 255;

bool is_plain_name(std::string_view name) {
  constexpr std::string_view kForbidden("/\0", 2);
  return !name.empty() && name.size() <= kFileNameBytesMax && name.front() != '.' &&
         name.find_first_of(kForbidden) == std::string_view::npos;
}

}  // namespace

Result<SafetensorsIndex> parse_safetensors_index(std::string_view text, const std::string& file) {
  TRY_ASSIGN(const boost::json::value document,
             parse_json(text, file,
                        {.text_bytes_max = SafetensorsIndex::kTextBytesMax,
                         .memory_bytes_max = SafetensorsIndex::kMemoryBytesMax,
                         .refuse_repeated_keys = true}));
  TRY_ASSIGN(const JsonFields root, JsonFields::of(document, file));
  const boost::json::value* weight_map = root.find("weight_map");
  if (weight_map == nullptr) return root.bad("weight_map", "it is missing");
  TRY_ASSIGN(const JsonFields fields, JsonFields::of(*weight_map, file + ": weight_map"));
  const boost::json::object& entries = weight_map->get_object();
  std::set<std::string> names;
  for (const auto& [tensor, value] : entries) {
    const std::string key = fmt::format("tensor \"{}\"", printable(tensor));
    const boost::json::string* name = value.if_string();
    if (name == nullptr) return fields.bad(key, describe_json(value) + " where a file's name belongs");
    if (!is_plain_name(*name)) {
      return fields.bad(
          key, fmt::format("\"{}\" is not the name of a file in the same directory", printable(*name)));
    }
    names.emplace(*name);
  }
  if (names.empty()) return root.bad("weight_map", "it is empty");
  if (names.size() > SafetensorsIndex::kFilesMax) {
    return root.bad("weight_map", fmt::format("{} files, at most {} are allowed", names.size(),
                                              SafetensorsIndex::kFilesMax));
  }
  SafetensorsIndex index;
  index.files.assign(names.begin(), names.end());
  for (const auto& [tensor, value] : entries) {
    const auto position = names.find(std::string(value.get_string()));
    index.tensors.emplace(tensor, static_cast<size_t>(std::distance(names.begin(), position)));
  }
  return index;
}

}  // namespace deepserve::runner
