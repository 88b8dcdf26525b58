// A tiny model as a Hugging Face directory: the same weights that TinyModel::gguf() has.
#pragma once

#include <string>
#include <vector>

#include "tests/unit/model/safetensors_writer.h"
#include "tests/unit/model/temporary_directory.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {

// Under Hugging Face's names; Llama's query and key rows back in the order of halves. The model's type must
// be F32, F16 or BF16.
std::vector<NamedTensor> hf_tensors(const TinyModel& model);

std::string hf_config(const TinyModel& model);

// config.json, and the tensors dealt out to `shards` files (one: model.safetensors, without an index).
void write_hf(const TemporaryDirectory& directory, const TinyModel& model, size_t shards = 1);

// How its matrices of layers are stored in 8-bit floats.
struct Fp8Storage {
  bool in_blocks = true;  // else a scale for each row, or with `one_scale` for a whole matrix
  bool one_scale = false;
  kernels::WeightType scale_type = kernels::WeightType::kF32;
};
// The model's tensors with those matrices in E4M3 and the scales beside them; and the same numbers in
// float32, without. The model's type must be F32.
std::vector<NamedTensor> fp8_tensors(const TinyModel& model, const Fp8Storage& storage);
std::vector<NamedTensor> without_fp8(std::vector<NamedTensor> tensors);
// config.json says it too.
std::string fp8_config(const TinyModel& model, const Fp8Storage& storage);
void write_fp8(const TemporaryDirectory& directory, const TinyModel& model, const Fp8Storage& storage = {});

// "model-00001-of-00003.safetensors"; `shard` from 0.
std::string hf_shard_name(size_t shard, size_t shards);

}  // namespace deepserve::runner
