// A safetensors file; and the same bytes as the index of a sharded model.
#include "ipc/base/check.h"
#include "runner/model/huggingface/safetensors.h"
#include "runner/model/huggingface/safetensors_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve::runner;
  const auto tensors = parse_safetensors({data, size}, "fuzz.safetensors");
  if (tensors) {
    uint64_t sum = 0;
    for (const auto& tensor : *tensors) {
      for (const uint8_t byte : tensor.bytes) sum += byte;  // ASan sees what lies outside the file
    }
    CHECK(sum <= 255 * static_cast<uint64_t>(size));
  }
  const auto index = parse_safetensors_index({reinterpret_cast<const char*>(data), size}, "fuzz.json");
  if (!index) return 0;
  for (const auto& [name, file] : index->tensors) CHECK(file < index->files.size());
  for (const auto& file : index->files) CHECK(file.find('/') == file.npos && file != "..");
  return 0;
}
