#include "tests/fakes/nvml/gpu_file.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace fake_nvml {

GpuFile GpuFile::read() {
  GpuFile file;
  const char* path = std::getenv("FAKE_NVML_FILE");
  std::ifstream in(path == nullptr ? "" : path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string key;
    if (!(words >> key)) continue;
    if (Xid xid{}; key == "xid" && words >> xid.gpu >> xid.number) {
      file.xids_.push_back(xid);
    } else {
      std::getline(words >> std::ws, file.values_[key]);
    }
  }
  return file;
}

std::optional<std::string> GpuFile::text(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<unsigned long long> GpuFile::number(const std::string& key) const {
  const auto value = text(key);
  return value ? std::optional(std::strtoull(value->c_str(), nullptr, 10)) : std::nullopt;
}

}  // namespace fake_nvml
