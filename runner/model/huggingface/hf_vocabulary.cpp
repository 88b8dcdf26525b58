#include "runner/model/huggingface/hf_vocabulary.h"

#include <algorithm>
#include <boost/json/value.hpp>
#include <utility>

#include "runner/model/huggingface/hf_pipeline.h"
#include "runner/model/huggingface/json_document.h"
#include "runner/model/stored_tensor.h"
#include "runner/model/text_file.h"
#include "runner/model/tokenizer/byte_alphabet.h"
#include "runner/model/tokenizer/text_table.h"
#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr uint64_t kTokenizerBytesMax = uint64_t{64} << 20;  // published ones have 2 to 35 MB
constexpr uint64_t kSmallFileBytesMax = uint64_t{4} << 20;   // chat templates are in them
constexpr uint64_t kTokenIdsMax = uint64_t{1} << 21;         // published ones have 32,000 to 262,144
constexpr JsonLimits kTokenizerLimits{
    .text_bytes_max = kTokenizerBytesMax, .memory_bytes_max = uint64_t{1} << 30, .depth_max = 32};
constexpr JsonLimits kSmallFileLimits{
    .text_bytes_max = kSmallFileBytesMax, .memory_bytes_max = uint64_t{64} << 20, .depth_max = 32};

tl::unexpected<Error> not_supported(const JsonFields& fields, std::string_view key, std::string_view what) {
  return fail(Code::kNotSupported, "{}: {}: {} is not supported", fields.where(), key, what);
}

// A token's text for messages.
std::string in_quotes(std::string_view text) {
  return fmt::format("\"{}\"", printable(text.substr(0, 64)));
}

Result<bool> find_bool(const JsonFields& fields, std::string_view key, bool otherwise) {
  TRY_ASSIGN(const auto found, fields.find_bool(key));
  return found.value_or(otherwise);
}

// Reads the "model" of a tokenizer.json and the added tokens beside it.
class ModelReader {
 public:
  ModelReader(JsonFields model, Vocabulary& vocabulary)
      : model_(std::move(model)), vocabulary_(vocabulary), ids_(vocabulary.tokens, 0) {}

  Result<void> read_options();
  Result<void> read_tokens();
  Result<void> read_added_tokens(const JsonFields& tokenizer);
  Result<void> read_merges();
  // `kind` must be set: what of the tokens are bytes.
  Result<void> finish();

  bool byte_fallback() const { return byte_fallback_; }

 private:
  Result<void> add_token(std::string_view text, const json::value& id, size_t index);
  Result<void> add_added_token(const JsonFields& fields);
  Result<TokenMerge> resolve(size_t rank, std::string_view left, std::string_view right) const;

  JsonFields model_;
  Vocabulary& vocabulary_;
  std::vector<bool> is_taken_;               // ids that a token has
  std::vector<bool> is_added_;               // ids of added tokens
  TextTable<std::vector<std::string>> ids_;  // of the tokens of "vocab"
  bool byte_fallback_ = false;
};

Result<void> ModelReader::read_options() {
  TRY_ASSIGN(const auto type, model_.find_string("type"));
  const bool looks_like_bpe = model_.has("merges") && model_.has("vocab");
  if (type ? *type != "BPE" : !looks_like_bpe)
    return not_supported(model_, "type", in_quotes(type.value_or("none")) + " (BPE is)");
  if (model_.has("dropout")) {
    TRY_ASSIGN(const auto dropout, model_.find_number("dropout"));
    if (dropout.value_or(0) != 0) return not_supported(model_, "dropout", "a dropout");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    TRY_ASSIGN(const auto affix, model_.find_string(key));
    if (affix && !affix->empty()) return not_supported(model_, key, in_quotes(*affix));
  }
  TRY_ASSIGN(vocabulary_.fuse_unknown, find_bool(model_, "fuse_unk", false));
  TRY_ASSIGN(byte_fallback_, find_bool(model_, "byte_fallback", false));
  TRY_ASSIGN(vocabulary_.whole_pieces_first, find_bool(model_, "ignore_merges", false));
  return {};
}

Result<void> ModelReader::read_tokens() {
  const json::value* found = model_.find("vocab");
  const json::object* tokens = found ? found->if_object() : nullptr;
  if (!tokens) return model_.bad("vocab", "it is no object of tokens");
  if (tokens->size() > kTokenIdsMax) return model_.bad("vocab", fmt::format("{} tokens", tokens->size()));
  ids_ = {vocabulary_.tokens, tokens->size()};
  size_t index = 0;
  for (const auto& [text, id] : *tokens) TRY(add_token(text, id, index++));
  return {};
}

Result<void> ModelReader::add_token(std::string_view text, const json::value& id, size_t index) {
  const int64_t* number = id.if_int64();
  if (!number || *number < 0 || static_cast<uint64_t>(*number) >= kTokenIdsMax)
    return model_.bad("vocab", fmt::format("token {} has {} for its id", in_quotes(text), describe_json(id)));
  const auto token = static_cast<TokenId>(*number);
  if (text.empty()) return model_.bad("vocab", fmt::format("token {} has no text", token));
  if (token >= vocabulary_.tokens.size()) {
    const size_t size = std::max<size_t>(token + 1, index + 1);
    vocabulary_.tokens.resize(size);
    is_taken_.resize(size);
  }
  if (is_taken_[token]) {
    return model_.bad("vocab", fmt::format("id {} is {}'s and {}'s", token,
                                           in_quotes(vocabulary_.tokens[token]), in_quotes(text)));
  }
  is_taken_[token] = true;
  vocabulary_.tokens[token] = text;
  ids_.add(token);
  return {};
}

Result<void> ModelReader::read_added_tokens(const JsonFields& tokenizer) {
  vocabulary_.kinds.assign(vocabulary_.tokens.size(), TokenKind::kNormal);
  is_added_.assign(vocabulary_.tokens.size(), false);
  const json::value* found = tokenizer.find("added_tokens");
  if (!found) return {};
  const json::array* list = found->if_array();
  if (!list) return tokenizer.bad("added_tokens", describe_json(*found) + " where a list belongs");
  for (size_t i = 0; i < list->size(); ++i) {
    TRY_ASSIGN(const JsonFields fields,
               JsonFields::of((*list)[i], fmt::format("{}: added_tokens {}", tokenizer.where(), i)));
    TRY(add_added_token(fields));
  }
  return {};
}

Result<void> ModelReader::add_added_token(const JsonFields& fields) {
  TRY_ASSIGN(const auto content, fields.find_string("content"));
  TRY_ASSIGN(const auto id, fields.find_unsigned("id"));
  if (!content || content->empty()) return fields.bad("content", "the token has no text");
  if (!id || *id >= kTokenIdsMax) return fields.bad("id", fmt::format("{} has none", in_quotes(*content)));
  if (const auto other = ids_.find(*content); other && *other != *id)
    return fields.bad("id", fmt::format("{} is {}, in vocab {}", in_quotes(*content), *id, *other));
  AddedToken token{.id = static_cast<TokenId>(*id)};
  if (token.id >= vocabulary_.tokens.size()) {
    vocabulary_.tokens.resize(token.id + 1);
    vocabulary_.kinds.resize(token.id + 1, TokenKind::kNormal);
    is_taken_.resize(token.id + 1);
    is_added_.resize(token.id + 1);
  }
  const std::string& text = vocabulary_.tokens[token.id];
  if (is_added_[token.id] || (is_taken_[token.id] && text != *content))
    return fields.bad("id", fmt::format("id {} is {}'s and {}'s", *id, in_quotes(text), in_quotes(*content)));
  is_taken_[token.id] = is_added_[token.id] = true;
  vocabulary_.tokens[token.id] = *content;
  TRY_ASSIGN(const bool special, find_bool(fields, "special", false));
  vocabulary_.kinds[token.id] = special ? TokenKind::kControl : TokenKind::kUserDefined;
  TRY_ASSIGN(token.strips_left, find_bool(fields, "lstrip", false));
  TRY_ASSIGN(token.strips_right, find_bool(fields, "rstrip", false));
  TRY_ASSIGN(token.whole_word, find_bool(fields, "single_word", false));
  TRY_ASSIGN(token.normalized, find_bool(fields, "normalized", !special));
  vocabulary_.added_tokens.push_back(token);
  return {};
}

Result<TokenMerge> ModelReader::resolve(size_t rank, std::string_view left, std::string_view right) const {
  const auto left_token = ids_.find(left), right_token = ids_.find(right);
  const auto merged = ids_.find(std::string(left).append(right));
  if (left_token && right_token && merged) return TokenMerge{*left_token, *right_token, *merged};
  const std::string_view side = !left_token ? "left side" : !right_token ? "right side" : "result";
  return model_.bad("merges", fmt::format("merge {}: its {} is no token", rank, side));
}

Result<void> ModelReader::read_merges() {
  const json::value* found = model_.find("merges");
  const json::array* merges = found ? found->if_array() : nullptr;
  if (!merges) return model_.bad("merges", "it is no list of pairs");
  const auto bad = [&](size_t rank) {
    return model_.bad("merges", fmt::format("merge {} is not two pieces", rank));
  };
  vocabulary_.token_merges.reserve(merges->size());
  for (size_t rank = 0; rank < merges->size(); ++rank) {
    std::string_view left, right;
    if (const json::string* text = (*merges)[rank].if_string()) {
      const std::string_view both = *text;
      const size_t space = both.find(' ');
      if (space == both.npos || both.find(' ', space + 1) != both.npos) return bad(rank);
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else {
      const json::array* pair = (*merges)[rank].if_array();
      if (!pair || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_string()) return bad(rank);
      left = (*pair)[0].get_string();
      right = (*pair)[1].get_string();
    }
    if (left.empty() || right.empty()) return bad(rank);
    TRY_ASSIGN(const TokenMerge merge, resolve(rank, left, right));
    vocabulary_.token_merges.push_back(merge);
  }
  return {};
}

Result<void> ModelReader::finish() {
  const std::vector<TokenKind>& kinds = vocabulary_.kinds;
  // Control tokens are never made of what a text says.
  std::erase_if(vocabulary_.token_merges,
                [&](const TokenMerge& merge) { return kinds[merge.merged] == TokenKind::kControl; });
  for (TokenId token = 0; token < vocabulary_.tokens.size(); ++token) {
    TokenKind& kind = vocabulary_.kinds[token];
    if (!is_taken_[token]) kind = TokenKind::kUnused;
    if (byte_fallback_ && kind == TokenKind::kNormal && byte_of_piece(vocabulary_.tokens[token]))
      kind = TokenKind::kByte;
  }
  if (byte_fallback_ && vocabulary_.kind == TokenizerKind::kByteLevelBpe)
    return not_supported(model_, "byte_fallback", "byte fallback beside ByteLevel");
  TRY_ASSIGN(const auto unknown, model_.find_string("unk_token"));
  if (!unknown) return {};
  vocabulary_.unknown = ids_.find(*unknown);
  if (!vocabulary_.unknown) return model_.bad("unk_token", in_quotes(*unknown) + " is no token");
  return {};
}

// A special token's text, which is a string or an object with a "content"; none where there is none.
Result<std::optional<std::string>> find_token_text(const JsonFields& fields, std::string_view key) {
  const json::value* value = fields.find(key);
  if (!value || !value->is_object()) return fields.find_string(key);
  TRY_ASSIGN(const auto token, fields.find_object(key));
  return token->find_string("content");
}

// The first token in the vocabulary's order with that text; an added token before others.
Result<std::optional<TokenId>> find_token(const JsonFields& fields, std::string_view key,
                                          const Vocabulary& vocabulary) {
  TRY_ASSIGN(const auto text, find_token_text(fields, key));
  if (!text || text->empty()) return std::nullopt;
  for (const AddedToken& token : vocabulary.added_tokens) {
    if (vocabulary.tokens[token.id] == *text) return token.id;
  }
  const auto found = std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), *text);
  if (found == vocabulary.tokens.end()) return fields.bad(key, in_quotes(*text) + " is no token");
  return static_cast<TokenId>(found - vocabulary.tokens.begin());
}

Result<void> read_special_tokens(const JsonFields& fields, Vocabulary& vocabulary) {
  TRY_ASSIGN(const auto bos, find_token(fields, "bos_token", vocabulary));
  TRY_ASSIGN(const auto eos, find_token(fields, "eos_token", vocabulary));
  if (bos) vocabulary.bos = bos;
  if (eos) vocabulary.eos = eos;
  return {};
}

// "chat_template" is the template, or a list of them with names: the one called "default", or the only one.
Result<void> read_chat_template(const JsonFields& config, Vocabulary& vocabulary) {
  const json::value* value = config.find("chat_template");
  if (!value) return {};
  const json::array* list = value->if_array();
  if (!list) {
    TRY_ASSIGN(auto text, config.find_string("chat_template"));
    vocabulary.chat_template = std::move(text).value_or("");
    return {};
  }
  for (size_t i = 0; i < list->size(); ++i) {
    TRY_ASSIGN(const JsonFields named,
               JsonFields::of((*list)[i], fmt::format("{}: chat_template {}", config.where(), i)));
    TRY_ASSIGN(const auto name, named.find_string("name"));
    TRY_ASSIGN(auto text, named.find_string("template"));
    if (!name || !text) return named.bad("template", "it has no name or no text");
    if (*name == "default" || list->size() == 1) vocabulary.chat_template = std::move(*text);
  }
  return {};
}

Result<void> read_tokenizer_config(const HfTokenizerFiles& files, Vocabulary& vocabulary) {
  if (files.special_tokens_map) {
    const std::string name = files.directory + "/special_tokens_map.json";
    TRY_ASSIGN(const json::value value, parse_json(*files.special_tokens_map, name, kSmallFileLimits));
    TRY_ASSIGN(const JsonFields fields, JsonFields::of(value, name));
    TRY(read_special_tokens(fields, vocabulary));
  }
  if (files.tokenizer_config) {
    const std::string name = files.directory + "/tokenizer_config.json";
    TRY_ASSIGN(const json::value value, parse_json(*files.tokenizer_config, name, kSmallFileLimits));
    TRY_ASSIGN(const JsonFields fields, JsonFields::of(value, name));
    TRY(read_special_tokens(fields, vocabulary));
    // Where it says so, transformers adds them whatever the post-processor does.
    TRY_ASSIGN(vocabulary.add_bos, find_bool(fields, "add_bos_token", vocabulary.add_bos));
    TRY_ASSIGN(vocabulary.add_eos, find_bool(fields, "add_eos_token", vocabulary.add_eos));
    TRY(read_chat_template(fields, vocabulary));
  }
  vocabulary.add_bos = vocabulary.add_bos && vocabulary.bos.has_value();
  vocabulary.add_eos = vocabulary.add_eos && vocabulary.eos.has_value();
  if (files.chat_template) vocabulary.chat_template = *files.chat_template;
  return {};
}

}  // namespace

Result<Vocabulary> parse_hf_vocabulary(const HfTokenizerFiles& files) {
  const std::string name = files.directory + "/tokenizer.json";
  Vocabulary vocabulary;
  TRY_ASSIGN(const json::value value, parse_json(files.tokenizer, name, kTokenizerLimits));
  TRY_ASSIGN(const JsonFields tokenizer, JsonFields::of(value, name));
  TRY_ASSIGN(const auto model, tokenizer.find_object("model"));
  if (!model) return tokenizer.bad("model", "it is missing");
  ModelReader reader(*model, vocabulary);
  TRY(reader.read_options());
  TRY(read_hf_normalizer(tokenizer, vocabulary));
  TRY(read_hf_pre_tokenizer(tokenizer, vocabulary));
  TRY(read_hf_post_processor(tokenizer, vocabulary));
  TRY(read_hf_decoder(tokenizer, reader.byte_fallback(), vocabulary));
  TRY(reader.read_tokens());
  TRY(reader.read_added_tokens(tokenizer));
  TRY(reader.read_merges());
  TRY(reader.finish());
  TRY(read_tokenizer_config(files, vocabulary));
  return vocabulary;
}

Result<Vocabulary> read_hf_vocabulary(const fs::path& directory) {
  HfTokenizerFiles files{.directory = directory.string()};
  const fs::path path = directory / "tokenizer.json";
  TRY_ASSIGN(auto tokenizer, read_text_file_if_there(path, kTokenizerBytesMax));
  if (!tokenizer)
    return fail(Code::kNotSupported, "{}: a model without a tokenizer.json is not supported", path.string());
  files.tokenizer = *std::move(tokenizer);
  const auto read = [&](const char* file) {
    return read_text_file_if_there(directory / file, kSmallFileBytesMax);
  };
  TRY_ASSIGN(files.tokenizer_config, read("tokenizer_config.json"));
  TRY_ASSIGN(files.special_tokens_map, read("special_tokens_map.json"));
  TRY_ASSIGN(files.chat_template, read("chat_template.jinja"));
  return parse_hf_vocabulary(files);
}

}  // namespace deepserve::runner
