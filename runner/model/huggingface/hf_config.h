// What a Hugging Face model's config.json and generation_config.json say, as far as it is computed with.
//
// Sources: the configuration classes of `transformers` (configuration_llama.py, _mistral, _qwen2, _qwen3) and
// modeling_rope_utils.py; both spellings of the rotation's parameters are read, `rope_scaling` beside
// `rope_theta`, and `rope_parameters` of transformers 5. The texts are hostile. Errors name the file and the
// field: kBadModelFile (it lies), kNotSupported (it is fine, we are not).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/model_config.h"
#include "runner/model/vocabulary.h"

namespace deepserve::runner {

// `file` is what errors call the text. A field that is not there has transformers' default where that is one
// for all models of the kind; a shape that is not stated is refused. With YaRN the context is the stretched
// one, also where max_position_embeddings still states the original.
Result<ModelConfig> read_hf_config(std::string_view text, const std::string& file);

// The special tokens of either file. generation_config.json's sampling defaults (temperature, top_p, ...) are
// deliberately not taken: a request that names none gets the API's documented defaults, for every model.
struct HfSpecialTokens {
  std::optional<TokenId> bos;
  std::vector<TokenId> ends;  // eos_token_id: one, or a list
};
Result<HfSpecialTokens> read_hf_special_tokens(std::string_view text, const std::string& file);

}  // namespace deepserve::runner
