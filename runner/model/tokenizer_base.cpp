#include "runner/model/tokenizer_base.h"

#include <algorithm>
#include <utility>

#include "ipc/base/check.h"
#include "runner/model/utf8.h"

namespace deepserve::runner {
namespace {

constexpr size_t kSpecialBytesMax = size_t{4}
                                    << 20;  // of all special tokens: their trie takes some 64 times as much

constexpr std::string_view kEndMarkers[] = {
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<|EOT|>",
    "</s>",
    "<end_of_turn>",
    "<eos>",
    "<\xef\xbd\x9c"
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
};

bool is_end_marker(std::string_view text) {
  return std::find(std::begin(kEndMarkers), std::end(kEndMarkers), text) != std::end(kEndMarkers);
}

// "<|...|>", and the same with DeepSeek's full-width bars.
bool looks_like_control(std::string_view text) {
  return (text.size() > 4 && text.starts_with("<|") && text.ends_with("|>")) ||
         (text.size() > 8 && text.starts_with("<\xef\xbd\x9c") && text.ends_with("\xef\xbd\x9c>"));
}

TokenKind corrected_kind(TokenKind kind, std::string_view text, size_t token) {
  if (kind == TokenKind::kNormal && (text == "<|im_start|>" || text == "<|im_end|>"))
    return TokenKind::kControl;
  if (kind != TokenKind::kUserDefined) return kind;
  if (looks_like_control(text) || is_end_marker(text)) return TokenKind::kControl;
  if (text == fmt::format("[PAD{}]", token)) return TokenKind::kUnused;
  return kind;
}

bool stands_for_text(TokenKind kind) {
  return kind == TokenKind::kNormal || kind == TokenKind::kUserDefined || kind == TokenKind::kByte;
}

Result<void> check_id(const std::optional<TokenId>& id, size_t tokens, std::string_view name) {
  if (!id || *id < tokens) return {};
  return fail(Code::kBadModelFile, "the {} token is {}, the vocabulary has {} tokens", name, *id, tokens);
}

}  // namespace

std::vector<TokenId> Tokenizer::encode_parts(std::span<const Part> parts) const {
  std::vector<TokenId> ids;
  for (const Part& part : parts) {
    const std::vector<TokenId> more = encode(part.text, part.specials);
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

void TokenBytes::append(std::string_view bytes) {
  bytes_.append(bytes);
  ends_.push_back(bytes_.size());
}

std::string_view TokenBytes::operator[](TokenId token) const {
  const size_t begin = token == 0 ? 0 : ends_[token - 1];
  return std::string_view(bytes_).substr(begin, ends_[token] - begin);
}

// Plain text that goes on over the borders of parts; copied only when it does.
class TokenizerBase::Run {
 public:
  Run(const TokenizerBase& tokenizer, std::vector<TokenId>& ids) : tokenizer_(tokenizer), ids_(ids) {}

  void add(std::string_view text) {
    if (text.empty()) return;
    if (run_.empty()) {
      run_ = text;
      return;
    }
    if (run_.data() != joined_.data()) joined_.assign(run_);
    joined_.append(text);
    run_ = joined_;
  }

  void add_special(TokenId token) {
    flush();
    ids_.push_back(token);
    after_special_ = true;
  }

  void flush() {
    size_t done = 0;
    while (const auto match = tokenizer_.user_defined_.find(run_, done)) {
      encode(run_.substr(done, match->begin - done));
      ids_.push_back(match->token);
      after_special_ = true;
      done = match->begin + match->bytes;
    }
    encode(run_.substr(done));
    run_ = {};
    joined_.clear();
  }

 private:
  void encode(std::string_view text) {
    if (text.empty()) return;
    tokenizer_.encode_plain(text, after_special_, ids_);
    after_special_ = false;
  }

  const TokenizerBase& tokenizer_;
  std::vector<TokenId>& ids_;
  std::string_view run_;
  std::string joined_;
  bool after_special_ = true;
};

TokenizerBase::TokenizerBase(Vocabulary vocabulary, TokenBytes bytes)
    : vocabulary_(std::move(vocabulary)), bytes_(std::move(bytes)) {
  CHECK(bytes_.size() == vocabulary_.tokens.size());
  ends_generation_.resize(vocabulary_.tokens.size());
  for (TokenId token = 0; token < vocabulary_.tokens.size(); ++token) {
    const std::string& text = vocabulary_.tokens[token];
    const TokenKind kind = vocabulary_.kinds[token];
    const bool control = kind == TokenKind::kControl || kind == TokenKind::kUnknown;
    if (control && is_end_marker(text)) ends_generation_[token] = true;
    if (text.empty()) continue;
    if (control || kind == TokenKind::kUserDefined) control_user_defined_.add(text, token);
    if (kind == TokenKind::kUserDefined) user_defined_.add(text, token);
  }
  if (vocabulary_.eos) ends_generation_[*vocabulary_.eos] = true;
  if (vocabulary_.eot) ends_generation_[*vocabulary_.eot] = true;
  for (const TokenId token : vocabulary_.end_tokens) ends_generation_[token] = true;
}

Result<void> TokenizerBase::check_and_correct(Vocabulary& vocabulary) {
  const size_t tokens = vocabulary.tokens.size();
  if (tokens == 0) return fail(Code::kBadModelFile, "the vocabulary is empty");
  if (vocabulary.kinds.size() != tokens) {
    return fail(Code::kBadModelFile, "the vocabulary has {} tokens but {} token types", tokens,
                vocabulary.kinds.size());
  }
  TRY(check_id(vocabulary.bos, tokens, "BOS"));
  TRY(check_id(vocabulary.eos, tokens, "EOS"));
  TRY(check_id(vocabulary.eot, tokens, "end-of-turn"));
  TRY(check_id(vocabulary.unknown, tokens, "unknown"));
  for (const TokenId token : vocabulary.end_tokens) TRY(check_id(token, tokens, "end"));
  size_t special_bytes = 0;
  for (size_t token = 0; token < tokens; ++token) {
    const std::string& text = vocabulary.tokens[token];
    TokenKind& kind = vocabulary.kinds[token];
    kind = corrected_kind(kind, text, token);
    if (text.empty() && stands_for_text(kind))
      return fail(Code::kBadModelFile, "token {} has no text", token);
    if (kind != TokenKind::kNormal && kind != TokenKind::kUnused) special_bytes += text.size();
  }
  if (special_bytes > kSpecialBytesMax) {
    return fail(Code::kBadModelFile, "the special tokens are {} bytes long together, more than {}",
                special_bytes, kSpecialBytesMax);
  }
  return {};
}

std::vector<TokenId> TokenizerBase::encode(std::string_view text, Specials specials) const {
  const Part part{text, specials};
  return encode_parts({&part, 1});
}

std::vector<TokenId> TokenizerBase::encode_parts(std::span<const Part> parts) const {
  std::vector<TokenId> ids;
  Run run(*this, ids);
  for (const Part& part : parts) {
    size_t done = 0;
    while (part.specials == Specials::kParse) {
      const auto match = control_user_defined_.find(part.text, done);
      if (!match) break;
      run.add(part.text.substr(done, match->begin - done));
      run.add_special(match->token);
      done = match->begin + match->bytes;
    }
    run.add(part.text.substr(done));
  }
  run.flush();
  return ids;
}

std::string_view TokenizerBase::token_bytes(TokenId token, bool show_control) const {
  if (token >= bytes_.size()) return {};
  if (!show_control && !stands_for_text(vocabulary_.kinds[token])) return {};
  return bytes_[token];
}

std::string TokenizerBase::decode(std::span<const TokenId> tokens) const {
  std::string joined;
  for (TokenId token : tokens) joined.append(token_bytes(token, false));
  std::string_view text = joined;
  const bool leading_space =
      vocabulary_.kind == TokenizerKind::kSentencePiece && vocabulary_.add_space_prefix;
  if (leading_space && text.starts_with(' ')) text.remove_prefix(1);
  if (utf8_valid_prefix(text) == text.size()) {
    joined.erase(0, joined.size() - text.size());
    return joined;
  }
  std::string whole;
  if (append_whole_characters(whole, text) > 0) whole.append(kReplacementCharacter);
  return whole;
}

bool TokenizerBase::ends_generation(TokenId token) const {
  return token < ends_generation_.size() && ends_generation_[token];
}

}  // namespace deepserve::runner
