// A GGUF file from its header to its tokeniser: metadata, config, weights bound, vocabulary, text encoded.
#include "ipc/base/check.h"
#include "runner/model/gguf/gguf.h"
#include "runner/model/gguf/gguf_config.h"
#include "runner/model/gguf/gguf_vocabulary.h"
#include "runner/model/model_tensors.h"
#include "runner/model/model_weights.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {
namespace {

constexpr uint64_t kVocabularyMax = 4096;  // a larger one only takes time

void bind(const Gguf& file) {
  const auto config = read_gguf_config(file);
  if (!config) return;
  ModelTensors tensors("fuzz", TensorNaming::kGguf);
  if (!tensors.add_file(file.name(), file.tensors())) return;
  const auto weights = bind_model_weights(tensors, *config);
  if (weights) CHECK(weights->layers.size() == config->layers);
}

void encode(const Gguf& file) {
  const auto tokens = file.find_strings("tokenizer.ggml.tokens");
  if (!tokens || !*tokens || (*tokens)->size() > kVocabularyMax) return;
  const size_t count = (*tokens)->size();
  auto vocabulary = read_gguf_vocabulary(file, count);
  if (!vocabulary) return;
  const auto tokenizer = Tokenizer::make(std::move(*vocabulary));
  if (!tokenizer) return;
  const std::string text = "Hello,  world\n<|im_end|>caf\xc3\xa9 12345 \xff\xe4\xbd\xa0\xe5\xa5\xbd";
  for (const auto specials : {Tokenizer::Specials::kParse, Tokenizer::Specials::kPlainText}) {
    const auto ids = (*tokenizer)->encode(text, specials);
    for (const TokenId id : ids) CHECK(id < count);
    (void)(*tokenizer)->decode(ids);
  }
}

}  // namespace
}  // namespace deepserve::runner

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = deepserve::runner::Gguf::parse({data, size}, "fuzz.gguf");
  if (!file) return 0;
  deepserve::runner::bind(*file);
  deepserve::runner::encode(*file);
  return 0;
}
