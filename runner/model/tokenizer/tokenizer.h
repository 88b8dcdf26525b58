// Text to token ids and back, exactly as the model's file defines it.
//
// A Tokenizer is immutable after make(): any number of threads may use it.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/vocabulary.h"

namespace deepserve::runner {

class Tokenizer {
 public:
  // Fails with kBadModelFile naming the entry at fault (a merge of unknown pieces, a token without a text, a
  // list of the wrong length), with kNotSupported for a tokeniser kind or a pre-tokeniser that is not built
  // in. Of two tokens with one text the first is the one that encode() gives.
  static Result<std::unique_ptr<Tokenizer>> make(Vocabulary vocabulary);
  virtual ~Tokenizer() = default;

  enum class Specials : uint8_t {
    // "<|im_end|>" in the text becomes that control token: for a chat template's own text, and for the raw
    // prompts of /v1/completions, as vLLM and llama.cpp read them (who sends one may send token ids as well).
    kParse,
    kPlainText,  // it is encoded as the characters that it is: for what users wrote into a chat's messages
  };

  // Ids of `text` (any bytes; invalid UTF-8 is kept byte for byte where the vocabulary can say it). No BOS or
  // EOS. Text is normalised where the published tokeniser does it: by what a tokenizer.json says, and for the
  // GGUF pre-tokenisers of Qwen2 to NFC (llama.cpp does not, Hugging Face's tokeniser, which the model was
  // trained with, does). Then decode() gives back the normalised text.
  virtual std::vector<TokenId> encode(std::string_view text, Specials specials) const = 0;

  // Ids of the parts' texts joined: words merge across the borders, as if it were one text, but only kParse
  // parts are searched for control tokens. This default encodes each part apart.
  struct Part {
    std::string_view text;
    Specials specials;
  };
  virtual std::vector<TokenId> encode_parts(std::span<const Part> parts) const;

  // The bytes that one token stands for: may be part of a character. Control tokens stand for nothing unless
  // `show_control`. Ids beyond the vocabulary stand for nothing.
  virtual std::string_view token_bytes(TokenId token, bool show_control = false) const = 0;

  // The text of `tokens`: their bytes joined, a leading space of SentencePiece dropped as the model's
  // training did, invalid UTF-8 replaced by U+FFFD.
  virtual std::string decode(std::span<const TokenId> tokens) const = 0;

  // Without its merges, which are needed only to make the tokeniser.
  virtual const Vocabulary& vocabulary() const = 0;

  // True for every token that ends a turn or a text: eos, eot, and the well-known end markers the vocabulary
  // holds.
  virtual bool ends_generation(TokenId token) const = 0;
};

// How much text can become few enough tokens: what is longer is refused before it is encoded.
struct TextLimit {
  uint32_t tokens = std::numeric_limits<uint32_t>::max();
  uint32_t token_bytes_max = std::numeric_limits<uint32_t>::max();  // that one token stands for

  // kContextLength with both sizes.
  Result<void> check(uint64_t bytes) const;
};

// The most bytes of a text that one token of the vocabulary takes the place of.
uint32_t token_bytes_max(const Tokenizer& tokenizer);

}  // namespace deepserve::runner
