#include "runner/model/tokenizer/tokenizer_base.h"

#include <algorithm>
#include <utility>

#include "ipc/base/check.h"
#include "runner/model/tokenizer/utf8.h"

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

// `is_gguf`: control tokens and padding are often called user-defined there. A tokenizer.json calls few of
// its markers special; what it does not is shown in text.
TokenKind corrected_kind(TokenKind kind, std::string_view text, size_t token, bool is_gguf) {
  if (kind == TokenKind::kNormal && (text == "<|im_start|>" || text == "<|im_end|>"))
    return TokenKind::kControl;
  if (kind != TokenKind::kUserDefined) return kind;
  if (looks_like_control(text) || is_end_marker(text))
    return is_gguf ? TokenKind::kControl : TokenKind::kMarker;
  if (is_gguf && text == fmt::format("[PAD{}]", token)) return TokenKind::kUnused;
  return kind;
}

bool stands_for_text(TokenKind kind) {
  return kind == TokenKind::kNormal || kind == TokenKind::kUserDefined || kind == TokenKind::kByte ||
         kind == TokenKind::kMarker;
}

bool is_only_parsed(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUnknown || kind == TokenKind::kMarker;
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

std::string first_token_bytes(const Vocabulary& vocabulary, TokenId token, std::string_view bytes) {
  const std::string_view spelling = vocabulary.tokens[token];
  if (vocabulary.leading_space == LeadingSpace::kFirstTokensAllDropped && !vocabulary.space_mark.empty() &&
      spelling.find(vocabulary.space_mark) != spelling.npos)
    return with_replaced(spelling, vocabulary.space_mark, "");
  if (vocabulary.leading_space == LeadingSpace::kOneDropped && bytes.starts_with(' ')) bytes.remove_prefix(1);
  return std::string(bytes);
}

std::unordered_map<TokenId, std::string> normalized_added_tokens(const Vocabulary& vocabulary) {
  const Normalizer normalizer(vocabulary.normalizer);
  std::unordered_map<TokenId, std::string> texts;
  std::string changed;
  for (const AddedToken& token : vocabulary.added_tokens) {
    const std::string& text = vocabulary.tokens[token.id];
    const std::string_view normalized = normalizer.apply(text, changed);
    if (token.normalized && normalized != text) texts.emplace(token.id, normalized);
  }
  return texts;
}

// Plain text that goes on over the borders of parts; copied only when it does.
class TokenizerBase::Run {
 public:
  Run(const TokenizerBase& tokenizer, std::vector<TokenId>& ids) : tokenizer_(tokenizer), ids_(ids) {}

  void add(std::string_view text, Specials specials) {
    if (text.empty()) return;
    is_parsed_ = is_parsed_ && specials == Specials::kParse;
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
    at_start_ = false;
  }

  void flush() {
    each_between(tokenizer_.typed_.raw, run_, [&](std::string_view text) { encode_raw(text); });
    run_ = {};
    joined_.clear();
    is_parsed_ = true;
  }

 private:
  // Pushes the tokens of `set` in `text`, and visits what lies between them.
  template <typename Visit>
  void each_between(const AddedTokens& set, std::string_view text, Visit&& visit) {
    size_t done = 0;
    while (const auto match = set.find(text, done)) {
      if (match->begin > done) visit(text.substr(done, match->begin - done));
      ids_.push_back(match->token);
      at_start_ = false;
      done = match->end;
    }
    if (done < text.size()) visit(text.substr(done));
  }

  void encode_raw(std::string_view text) {
    const TokensInText& tokens = is_parsed_ ? tokenizer_.parsed_ : tokenizer_.typed_;
    each_between(tokens.normalized, tokenizer_.normalizer_.apply(text, normalized_),
                 [&](std::string_view between) {
                   tokenizer_.encode_plain(between, at_start_, ids_);
                   at_start_ = false;
                 });
  }

  const TokenizerBase& tokenizer_;
  std::vector<TokenId>& ids_;
  std::string_view run_;
  std::string joined_;
  std::string normalized_;
  bool is_parsed_ = true;  // all of the run is to be parsed
  bool at_start_ = true;
};

TokenizerBase::TokenizerBase(Vocabulary vocabulary, TokenBytes bytes)
    : vocabulary_(std::move(vocabulary)), bytes_(std::move(bytes)), normalizer_(vocabulary_.normalizer) {
  CHECK(bytes_.size() == vocabulary_.tokens.size());
  ends_generation_.resize(vocabulary_.tokens.size());
  std::vector<bool> is_added(vocabulary_.tokens.size());
  for (const AddedToken& token : vocabulary_.added_tokens) {
    is_added[token.id] = true;
    add_to_text(token, vocabulary_.kinds[token.id]);
  }
  for (TokenId token = 0; token < vocabulary_.tokens.size(); ++token) {
    const TokenKind kind = vocabulary_.kinds[token];
    if (is_only_parsed(kind) && is_end_marker(vocabulary_.tokens[token])) ends_generation_[token] = true;
    if (!is_added[token]) add_to_text({.id = token}, kind);
  }
  if (vocabulary_.eos) ends_generation_[*vocabulary_.eos] = true;
  if (vocabulary_.eot) ends_generation_[*vocabulary_.eot] = true;
  for (const TokenId token : vocabulary_.end_tokens) ends_generation_[token] = true;
}

void TokenizerBase::add_to_text(const AddedToken& token, TokenKind kind) {
  const std::string& text = vocabulary_.tokens[token.id];
  if (text.empty() || (!is_only_parsed(kind) && kind != TokenKind::kUserDefined)) return;
  std::string changed;
  const std::string_view normalized = token.normalized ? normalizer_.apply(text, changed) : text;
  if (normalized.empty()) return;
  // A control token that normalising does not touch is found before it: then also in text that is only parsed
  // in part, as a chat's is.
  const bool is_raw = !token.normalized || (is_only_parsed(kind) && normalized == text);
  (is_raw ? parsed_.raw : parsed_.normalized).add(normalized, token);
  if (kind == TokenKind::kUserDefined) (is_raw ? typed_.raw : typed_.normalized).add(normalized, token);
}

void TokenizerBase::forget_merges() {
  std::vector<std::string>().swap(vocabulary_.merges);
  std::vector<TokenMerge>().swap(vocabulary_.token_merges);
}

std::string_view TokenizerBase::with_prefix(std::string_view text, bool at_start,
                                            std::string& changed) const {
  const PrefixRule& rule = vocabulary_.prefix;
  if (rule.when == PrefixRule::When::kNever && !rule.replaces_spaces) return text;
  std::string made;
  if (rule.replaces_spaces && text.find(' ') != text.npos) text = made = with_replaced(text, " ", rule.text);
  const bool wanted =
      rule.when == PrefixRule::When::kAlways || (rule.when == PrefixRule::When::kAtStart && at_start);
  if (wanted && !text.starts_with(rule.text)) {
    changed.assign(rule.text).append(text);
    return changed;
  }
  if (text.data() != made.data()) return text;
  changed.swap(made);
  return changed;
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
  for (const AddedToken& token : vocabulary.added_tokens) TRY(check_id(token.id, tokens, "added"));
  size_t special_bytes = 0;
  for (size_t token = 0; token < tokens; ++token) {
    const std::string& text = vocabulary.tokens[token];
    TokenKind& kind = vocabulary.kinds[token];
    kind = corrected_kind(kind, text, token, vocabulary.added_tokens.empty());
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
      const auto match = parsed_.raw.find(part.text, done);
      if (!match) break;
      run.add(part.text.substr(done, match->begin - done), part.specials);
      run.add_special(match->token);
      done = match->end;
    }
    run.add(part.text.substr(done), part.specials);
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
  bool is_first = true;
  for (TokenId token : tokens) {
    const std::string_view bytes = token_bytes(token, false);
    if (bytes.empty()) continue;
    if (is_first)
      joined = first_token_bytes(vocabulary_, token, bytes);
    else
      joined.append(bytes);
    is_first = false;
  }
  const std::string_view text = joined;
  if (utf8_valid_prefix(text) == text.size()) return joined;
  std::string whole;
  if (append_whole_characters(whole, text) > 0) whole.append(kReplacementCharacter);
  return whole;
}

bool TokenizerBase::ends_generation(TokenId token) const {
  return token < ends_generation_.size() && ends_generation_[token];
}

}  // namespace deepserve::runner
