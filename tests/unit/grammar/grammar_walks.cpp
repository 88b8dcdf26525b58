// Answers that follow schemas and are random otherwise: what a model that knows nothing would write.
//
//   grammar_walks MODEL WALKS SEED < schemas, one a line, each with texts behind tabs that it may wait for
//
// For each schema "refused CODE BYTES\nMESSAGE\n", or WALKS times "answer BYTES\nTEXT\n", "unfinished
// BYTES\nTEXT\n" or "failed BYTES\nMESSAGE\n". schema_validity.py reads that.
#include <cstdio>
#include <iostream>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "runner/grammar/constraints.h"
#include "runner/model/loaded_model.h"

namespace {

using namespace deepserve;
using namespace deepserve::runner;

constexpr int kTokensMax = 3000;

void say(std::string_view kind, std::string_view text) {
  std::printf("%.*s %zu\n%.*s\n", static_cast<int>(kind.size()), kind.data(), text.size(),
              static_cast<int>(text.size()), text.data());
}

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream words(line);
  for (std::string field; std::getline(words, field, '\t');) fields.push_back(field);
  return fields;
}

class Walk {
 public:
  Walk(GrammarMatcher matcher, const Tokenizer& tokenizer, std::span<const std::string> hints,
       std::mt19937_64& random)
      : matcher_(std::move(matcher)), tokenizer_(tokenizer), hints_(hints), random_(random) {}

  void run() {
    const int patience = static_cast<int>(random_() % 100);  // tokens before it wants to end
    for (int tokens = 0; tokens < kTokensMax; ++tokens) {
      if (matcher_.finished()) return say("answer", text_);
      const auto allowed = matcher_.allowed();
      if (!allowed) return say("failed", allowed.error().message);
      const TokenId token = tokens < patience ? any(*allowed) : closing(*allowed);
      if (!matcher_.accept(token)) return say("failed", "an allowed token was refused after " + text_);
      text_ += tokenizer_.token_bytes(token);
    }
    say("unfinished", text_);
  }

 private:
  template <typename Wanted>
  TokenId choose(std::span<const uint64_t> allowed, Wanted wanted) {
    std::vector<TokenId> tokens;
    for (TokenId token = 0; token < allowed.size() * 64; ++token) {
      if (has_token(allowed, token) && wanted(token)) tokens.push_back(token);
    }
    return tokens.empty() ? TokenVocabularyTrie::kNoToken : tokens[random_() % tokens.size()];
  }
  TokenId any(std::span<const uint64_t> allowed) {
    return choose(allowed, [](TokenId) { return true; });
  }
  // The next byte of a hint that is being spelled; some other byte ends it.
  TokenId spelled(std::span<const uint64_t> allowed) {
    if (spelling_.empty() && !hints_.empty() && random_() % 8 == 0)
      spelling_ = hints_[random_() % hints_.size()];
    if (spelling_.empty()) return TokenVocabularyTrie::kNoToken;
    const std::string_view byte = spelling_.substr(0, 1);
    const TokenId token = choose(allowed, [&](TokenId one) { return tokenizer_.token_bytes(one) == byte; });
    spelling_ = token == TokenVocabularyTrie::kNoToken ? std::string_view() : spelling_.substr(1);
    return token;
  }
  TokenId closing(std::span<const uint64_t> allowed) {
    if (const TokenId token = spelled(allowed); token != TokenVocabularyTrie::kNoToken) return token;
    const auto is_end = [this](TokenId token) { return tokenizer_.ends_generation(token); };
    const auto closes = [this](TokenId token) {
      const std::string_view text = tokenizer_.token_bytes(token);
      return text == "}" || text == "]" || text == "\"";
    };
    const auto opens_nothing = [this](TokenId token) {
      const std::string_view text = tokenizer_.token_bytes(token);
      return text.size() == 1 && text.find_first_of("{[\\ \n\t,") == text.npos;
    };
    // Now and then something else: what closes here may be just a character of a string.
    if (random_() % 4 == 0) {
      const TokenId other = choose(allowed, [this](TokenId token) {
        const std::string_view text = tokenizer_.token_bytes(token);
        return text.size() == 1 && text != "{" && text != "[";
      });
      if (other != TokenVocabularyTrie::kNoToken) return other;
    }
    for (TokenId token : {choose(allowed, is_end), choose(allowed, closes), choose(allowed, opens_nothing)}) {
      if (token != TokenVocabularyTrie::kNoToken) return token;
    }
    return any(allowed);
  }

  GrammarMatcher matcher_;
  const Tokenizer& tokenizer_;
  std::span<const std::string> hints_;
  std::string_view spelling_;
  std::mt19937_64& random_;
  std::string text_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  auto model = load_model(arguments[1], {});
  if (!model || !model->vocabulary) return 1;
  const uint32_t rows = model->backend->info().vocabulary;
  const auto tokenizer = Tokenizer::make(std::move(*model->vocabulary));
  if (!tokenizer) return 1;
  std::vector<TokenId> ends;
  for (TokenId token = 0; token < rows; ++token) {
    if ((*tokenizer)->ends_generation(token)) ends.push_back(token);
  }
  Constraints constraints(**tokenizer, rows);
  std::mt19937_64 random(std::stoull(arguments[3]));
  for (std::string line; std::getline(std::cin, line);) {
    const std::vector<std::string> fields = fields_of(line);
    const std::string& schema = fields[0];
    const auto kind =
        schema == "json_object" ? ipc::ConstraintKind::kJsonObject : ipc::ConstraintKind::kJsonSchema;
    for (int walk = 0; walk < std::stoi(arguments[2]); ++walk) {
      auto matcher = constraints.matcher({kind, schema}, ends);
      if (!matcher) {
        say("refused " + std::string(error_row(matcher.error().code).name), matcher.error().message);
        break;
      }
      Walk(std::move(**matcher), **tokenizer, std::span(fields).subspan(1), random).run();
    }
  }
  return 0;
}
