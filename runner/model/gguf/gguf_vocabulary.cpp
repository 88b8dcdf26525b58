#include "runner/model/gguf/gguf_vocabulary.h"

#include <utility>

namespace deepserve::runner {
namespace {

constexpr uint64_t kNoToken = 0xffffffff;  // some converters write it for "there is none"

struct SpecialToken {
  const char* key;
  std::optional<TokenId> Vocabulary::*member;
};
constexpr SpecialToken kSpecialTokens[] = {
    {"tokenizer.ggml.bos_token_id", &Vocabulary::bos},
    {"tokenizer.ggml.eos_token_id", &Vocabulary::eos},
    {"tokenizer.ggml.eot_token_id", &Vocabulary::eot},
    {"tokenizer.ggml.unknown_token_id", &Vocabulary::unknown},
};

Result<TokenizerKind> read_kind(const Gguf& file) {
  constexpr const char* kKey = "tokenizer.ggml.model";
  TRY_ASSIGN(const auto model, file.find_string(kKey));
  if (!model) return file.bad_value(kKey, "it is missing");
  if (*model == "gpt2") return TokenizerKind::kByteLevelBpe;
  if (*model == "llama") return TokenizerKind::kSentencePiece;
  return fail(Code::kNotSupported, "{}: tokenizer \"{}\" is not supported (gpt2 and llama are)", file.name(),
              printable(*model));
}

Result<void> read_kinds(const Gguf& file, Vocabulary& vocabulary) {
  constexpr const char* kKey = "tokenizer.ggml.token_type";
  TRY_ASSIGN(const auto types, file.find_integers(kKey));
  vocabulary.kinds.assign(vocabulary.tokens.size(), TokenKind::kNormal);
  if (!types) return {};
  if (types->size() != vocabulary.tokens.size()) {
    return file.bad_value(kKey,
                          fmt::format("{} kinds for {} tokens", types->size(), vocabulary.tokens.size()));
  }
  for (size_t i = 0; i < types->size(); ++i) {
    switch ((*types)[i]) {
      case 1:
        vocabulary.kinds[i] = TokenKind::kNormal;
        break;
      case 2:
        vocabulary.kinds[i] = TokenKind::kUnknown;
        break;
      case 3:
        vocabulary.kinds[i] = TokenKind::kControl;
        break;
      case 4:
        vocabulary.kinds[i] = TokenKind::kUserDefined;
        break;
      case 5:
        vocabulary.kinds[i] = TokenKind::kUnused;
        break;
      case 6:
        vocabulary.kinds[i] = TokenKind::kByte;
        break;
      default:
        return file.bad_value(kKey, fmt::format("token {} has unknown kind {}", i, (*types)[i]));
    }
  }
  return {};
}

Result<void> read_pieces(const Gguf& file, Vocabulary& vocabulary) {
  if (vocabulary.kind == TokenizerKind::kByteLevelBpe) {
    TRY_ASSIGN(auto merges, file.find_strings("tokenizer.ggml.merges"));
    if (!merges) return file.bad_value("tokenizer.ggml.merges", "it is missing");
    vocabulary.merges = std::move(*merges);
    return {};
  }
  constexpr const char* kKey = "tokenizer.ggml.scores";
  TRY_ASSIGN(auto scores, file.find_floats(kKey));
  if (!scores) return file.bad_value(kKey, "it is missing");
  if (scores->size() != vocabulary.tokens.size()) {
    return file.bad_value(kKey,
                          fmt::format("{} scores for {} tokens", scores->size(), vocabulary.tokens.size()));
  }
  vocabulary.scores = std::move(*scores);
  return {};
}

Result<void> read_special_tokens(const Gguf& file, Vocabulary& vocabulary) {
  for (const SpecialToken& special : kSpecialTokens) {
    TRY_ASSIGN(const auto id, file.find_unsigned(special.key));
    if (!id || *id == kNoToken) continue;
    if (*id >= vocabulary.tokens.size()) {
      return file.bad_value(special.key, fmt::format("token {} of {}", *id, vocabulary.tokens.size()));
    }
    vocabulary.*special.member = static_cast<TokenId>(*id);
  }
  TRY_ASSIGN(const auto add_bos, file.find_bool("tokenizer.ggml.add_bos_token"));
  TRY_ASSIGN(const auto add_eos, file.find_bool("tokenizer.ggml.add_eos_token"));
  TRY_ASSIGN(const auto add_space_prefix, file.find_bool("tokenizer.ggml.add_space_prefix"));
  // What llama.cpp assumes where the file is silent: SentencePiece and Llama 3 begin with BOS.
  const bool begins_with_bos = vocabulary.kind == TokenizerKind::kSentencePiece ||
                               vocabulary.pre_tokenizer == "llama-bpe" ||
                               vocabulary.pre_tokenizer == "llama3" || vocabulary.pre_tokenizer == "llama-v3";
  vocabulary.add_bos = add_bos.value_or(begins_with_bos) && vocabulary.bos.has_value();
  vocabulary.add_eos = add_eos.value_or(false) && vocabulary.eos.has_value();
  vocabulary.add_space_prefix = add_space_prefix.value_or(true);
  return {};
}

}  // namespace

Result<Vocabulary> read_gguf_vocabulary(const Gguf& file, uint64_t token_count) {
  constexpr const char* kTokens = "tokenizer.ggml.tokens";
  Vocabulary vocabulary;
  TRY_ASSIGN(vocabulary.kind, read_kind(file));
  TRY_ASSIGN(auto pre_tokenizer, file.find_string("tokenizer.ggml.pre"));
  vocabulary.pre_tokenizer = printable(pre_tokenizer.value_or(""));  // an unknown one is quoted in an error
  TRY_ASSIGN(auto tokens, file.find_strings(kTokens));
  if (!tokens) return file.bad_value(kTokens, "it is missing");
  if (tokens->size() != token_count) {
    return file.bad_value(kTokens,
                          fmt::format("{} tokens for an embedding of {}", tokens->size(), token_count));
  }
  vocabulary.tokens = std::move(*tokens);
  TRY(read_kinds(file, vocabulary));
  TRY(read_pieces(file, vocabulary));
  TRY(read_special_tokens(file, vocabulary));
  TRY_ASSIGN(auto chat_template, file.find_string("tokenizer.chat_template"));
  vocabulary.chat_template = std::move(chat_template).value_or("");
  return vocabulary;
}

}  // namespace deepserve::runner
