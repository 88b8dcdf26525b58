// The vocabulary of a model as its file states it, whatever the file's format: what a Tokenizer is made from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ipc/wire/messages.h"
#include "runner/model/tokenizer/text_pipeline.h"

namespace deepserve::runner {

using ipc::TokenId;

enum class TokenKind : uint8_t {
  kNormal,
  kUnknown,
  kControl,      // stands for no text, found only in text that is parsed
  kUserDefined,  // stands for its text, found in every text
  kUnused,
  kByte,    // <0xNN>
  kMarker,  // "<｜User｜>": stands for its text, but is found only in text that is parsed
};

enum class TokenizerKind : uint8_t {
  kByteLevelBpe,   // GGUF "gpt2": tokens spelt in the GPT-2 byte alphabet, merges by rank
  kSentencePiece,  // GGUF "llama": pieces with scores, U+2581 for a space, byte fallback <0xNN>
  kCharacterBpe,   // tokenizer.json of Llama 2: tokens spelt as they are, merges by rank, byte fallback
};

struct TokenMerge {
  TokenId left;
  TokenId right;
  TokenId merged;
};

// How a token is looked for in text before anything else happens to it.
struct AddedToken {
  TokenId id;
  bool strips_left = false;   // takes the white space before it along
  bool strips_right = false;  // and after it
  bool whole_word = false;    // is not found inside of a word
  bool normalized = false;    // is looked for, normalised, in normalised text
};

struct Vocabulary {
  TokenizerKind kind = TokenizerKind::kByteLevelBpe;
  std::string pre_tokenizer;        // GGUF tokenizer.ggml.pre: "qwen2", "llama-bpe", "deepseek-r1-qwen", ...
  std::vector<std::string> tokens;  // [vocabulary], as the file spells them
  std::vector<float> scores;        // [vocabulary] for kSentencePiece, else empty
  std::vector<TokenKind> kinds;     // [vocabulary]
  std::vector<std::string> merges;  // "left right", by rank; for kByteLevelBpe
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
  std::optional<TokenId> eot;       // end of turn, where the file names one
  std::vector<TokenId> end_tokens;  // more that end an answer (a Hugging Face model's eos_token_id list)
  std::optional<TokenId> unknown;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = true;  // kSentencePiece
  std::string chat_template;     // Jinja source; empty: the file has none

  // What text goes through on its way to tokens and back. Of a GGUF file only the normaliser is there.
  std::vector<AddedToken> added_tokens;               // those that are not here have no flags
  std::vector<NormalizerStep> normalizer;             // what happens to text before it is cut
  PrefixRule prefix;                                  // then
  std::optional<std::vector<SplitStep>> split_steps;  // then; instead of `pre_tokenizer`
  bool whole_pieces_first = false;                    // a piece that is a token is not merged
  std::vector<TokenMerge> token_merges;               // by rank; instead of `merges`
  bool fuse_unknown = false;                          // unknown ones in a row become one unknown token
  std::string space_mark;                             // kCharacterBpe: what decodes to a space
  LeadingSpace leading_space = LeadingSpace::kKept;   // of decoded text
};

}  // namespace deepserve::runner
