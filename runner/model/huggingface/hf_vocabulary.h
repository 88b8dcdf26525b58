// The vocabulary of a Hugging Face directory: tokenizer.json as the `tokenizers` library writes it, special
// tokens and chat template of the files beside it.
//
// What is supported is what the tokenisers of Llama 2 and 3, Qwen2 and 3, DeepSeek-V2, V3 and R1 and their
// like use: BPE over bytes or characters, NFC and its sisters, Prepend, Replace; Split, Digits, Punctuation,
// ByteLevel, Metaspace; TemplateProcessing. Everything else is refused by name (kNotSupported).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "ipc/base/result.h"
#include "runner/model/vocabulary.h"

namespace deepserve::runner {

// The files' texts; only tokenizer.json must be there.
struct HfTokenizerFiles {
  std::string directory;  // what errors call the place
  std::string tokenizer = {};
  std::optional<std::string> tokenizer_config = {};
  std::optional<std::string> special_tokens_map = {};
  std::optional<std::string> chat_template = {};  // chat_template.jinja
};

// kBadModelFile names file and field: an id twice, a merge of no tokens, JSON that is none. Ids that no token
// has become unused tokens without a text.
Result<Vocabulary> read_hf_vocabulary(const std::filesystem::path& directory);

// The same of texts in memory.
Result<Vocabulary> parse_hf_vocabulary(const HfTokenizerFiles& files);

}  // namespace deepserve::runner
