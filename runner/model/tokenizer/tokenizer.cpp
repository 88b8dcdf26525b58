#include "runner/model/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "runner/model/tokenizer/byte_level_bpe.h"
#include "runner/model/tokenizer/character_bpe.h"
#include "runner/model/tokenizer/normalizer.h"
#include "runner/model/tokenizer/sentencepiece.h"

namespace deepserve::runner {

Result<std::unique_ptr<Tokenizer>> Tokenizer::make(Vocabulary vocabulary) {
  switch (vocabulary.kind) {
    case TokenizerKind::kByteLevelBpe:
      return ByteLevelBpe::make(std::move(vocabulary));
    case TokenizerKind::kSentencePiece:
      return SentencePiece::make(std::move(vocabulary));
    case TokenizerKind::kCharacterBpe:
      return CharacterBpe::make(std::move(vocabulary));
  }
  return fail(Code::kNotSupported, "tokeniser kind {} is not supported", static_cast<int>(vocabulary.kind));
}

Result<void> TextLimit::check(uint64_t bytes) const {
  if (bytes <= uint64_t{tokens} * token_bytes_max) return {};
  return fail(Code::kContextLength,
              "the prompt has {} bytes, the context is {} tokens of at most {} bytes each: it cannot fit",
              bytes, tokens, token_bytes_max);
}

uint32_t token_bytes_max(const Tokenizer& tokenizer) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  constexpr uint32_t kNoLimit = std::numeric_limits<uint32_t>::max();
  for (const AddedToken& token : vocabulary.added_tokens) {
    if (token.strips_left || token.strips_right) return kNoLimit;
  }
  for (const SplitStep& step : vocabulary.split_steps.value_or(std::vector<SplitStep>())) {
    if (step.behavior == SplitBehavior::kRemoved) return kNoLimit;
  }
  const std::optional<uint32_t> shrinks = Normalizer(vocabulary.normalizer).shrinks_at_most();
  if (!shrinks || vocabulary.fuse_unknown) return kNoLimit;
  size_t longest = 4;  // a character that the vocabulary cannot say becomes one token, too
  for (TokenId token = 0; token < vocabulary.tokens.size(); ++token) {
    longest = std::max(longest, tokenizer.token_bytes(token, true).size());
    // U+2581 in a text is read as the space that it spells: as many bytes as the spelling has.
    if (vocabulary.kind != TokenizerKind::kByteLevelBpe)
      longest = std::max(longest, vocabulary.tokens[token].size());
  }
  return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{longest} * *shrinks, kNoLimit));
}

}  // namespace deepserve::runner
