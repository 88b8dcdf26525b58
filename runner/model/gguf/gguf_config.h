// The config that a GGUF file carries in its metadata.
#pragma once

#include "ipc/base/result.h"
#include "runner/model/gguf/gguf.h"
#include "runner/model/model_config.h"

namespace deepserve::runner {

// Reads and checks the metadata. kNotSupported names the architecture or feature (experts, sliding window)
// that is not built in, kBadModelFile the key at fault.
//
// The file of a llama model has its query and key rows in the order of adjacent rotation pairs; the
// converters permuted them.
Result<ModelConfig> read_gguf_config(const Gguf& file);

}  // namespace deepserve::runner
