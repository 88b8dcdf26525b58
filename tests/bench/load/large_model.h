// A Hugging Face directory with a Llama of random BF16 weights, of about the wanted size.
#pragma once

#include <cstdint>
#include <filesystem>

namespace deepserve::bench {

// Writes config.json and model.safetensors into `directory`, through to the disk. False: it could not.
bool write_large_model(const std::filesystem::path& directory, uint64_t size_bytes);

}  // namespace deepserve::bench
