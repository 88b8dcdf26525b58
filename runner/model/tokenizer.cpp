#include "runner/model/tokenizer.h"

#include <utility>

#include "runner/model/byte_level_bpe.h"
#include "runner/model/sentencepiece.h"

namespace deepserve::runner {

Result<std::unique_ptr<Tokenizer>> Tokenizer::make(Vocabulary vocabulary) {
  switch (vocabulary.kind) {
    case TokenizerKind::kByteLevelBpe:
      return ByteLevelBpe::make(std::move(vocabulary));
    case TokenizerKind::kSentencePiece:
      return SentencePiece::make(std::move(vocabulary));
  }
  return fail(Code::kNotSupported, "tokeniser kind {} is not supported", static_cast<int>(vocabulary.kind));
}

}  // namespace deepserve::runner
