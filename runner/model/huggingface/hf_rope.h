// The rotation's parameters out of a config.json: base, and how the context was stretched.
#pragma once

#include "ipc/base/result.h"
#include "runner/model/huggingface/json_document.h"
#include "runner/model/model_config.h"

namespace deepserve::runner {

// Fills rope_base, rope_style and rope_scaling of `config`, whose context_tokens are max_position_embeddings,
// and raises those to what YaRN makes of them. kNotSupported: a kind of scaling that is not built in
// (dynamic, longrope), a rotation of part of each head.
Result<void> read_hf_rope(const JsonFields& fields, ModelConfig& config);

}  // namespace deepserve::runner
