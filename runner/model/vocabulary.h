// The vocabulary of a model as its file states it, whatever the file's format: what a Tokenizer is made from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::runner {

using ipc::TokenId;

enum class TokenKind : uint8_t { kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

enum class TokenizerKind : uint8_t {
  kByteLevelBpe,   // GGUF "gpt2": tokens spelt in the GPT-2 byte alphabet, merges by rank
  kSentencePiece,  // GGUF "llama": pieces with scores, U+2581 for a space, byte fallback <0xNN>
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
};

}  // namespace deepserve::runner
