// tokenizer.json, and after a NUL byte tokenizer_config.json, to the tokeniser that they make and text
// through it.
#include "ipc/base/check.h"
#include "runner/model/huggingface/hf_vocabulary.h"
#include "runner/model/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve::runner;
  constexpr size_t kVocabularyMax = 4096;  // a larger one only takes time
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t nul = input.find('\0');
  HfTokenizerFiles files{.directory = "fuzz", .tokenizer = std::string(input.substr(0, nul))};
  if (nul != input.npos) files.tokenizer_config = std::string(input.substr(nul + 1));
  auto vocabulary = parse_hf_vocabulary(files);
  if (!vocabulary || vocabulary->tokens.size() > kVocabularyMax) return 0;
  const size_t tokens = vocabulary->tokens.size();
  const auto tokenizer = Tokenizer::make(std::move(*vocabulary));
  if (!tokenizer) return 0;
  const std::string text =
      "Hello,  world\n<|im_end|>cafe\xcc\x81 12345 \xff\xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x91\x8d";
  for (const auto specials : {Tokenizer::Specials::kParse, Tokenizer::Specials::kPlainText}) {
    const auto ids = (*tokenizer)->encode(text, specials);
    for (const TokenId id : ids) CHECK(id < tokens);
    (void)(*tokenizer)->decode(ids);
  }
  return 0;
}
