#include "tests/unit/model/safetensors_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>

namespace deepserve::runner {

std::vector<uint8_t> safetensors_file(std::string_view header, std::span<const uint8_t> data) {
  const uint64_t length = header.size();
  std::vector<uint8_t> file(sizeof length + header.size() + data.size());
  std::memcpy(file.data(), &length, sizeof length);
  std::memcpy(file.data() + sizeof length, header.data(), header.size());
  if (!data.empty()) std::memcpy(file.data() + sizeof length + header.size(), data.data(), data.size());
  return file;
}

std::vector<uint8_t> safetensors_file(std::span<const NamedTensor> tensors, size_t header_padding) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::vector<uint8_t> data;
  for (const NamedTensor& tensor : tensors) {
    header += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", tensor.name,
                          kernels::weight_format(tensor.type).name, fmt::join(tensor.shape, ","), data.size(),
                          data.size() + tensor.bytes.size());
    data.insert(data.end(), tensor.bytes.begin(), tensor.bytes.end());
  }
  header += "}";
  header.append(header_padding, ' ');
  return safetensors_file(header, data);
}

}  // namespace deepserve::runner
