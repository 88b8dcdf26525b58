// The vocabulary that a GGUF file carries in its tokenizer.* metadata.
#pragma once

#include "ipc/base/result.h"
#include "runner/model/gguf/gguf.h"
#include "runner/model/vocabulary.h"

namespace deepserve::runner {

// `token_count`: rows of the embedding; the vocabulary must have as many. kNotSupported: a tokenizer model
// that is not built in, by name; kBadModelFile: arrays that do not fit together, by key.
Result<Vocabulary> read_gguf_vocabulary(const Gguf& file, uint64_t token_count);

}  // namespace deepserve::runner
