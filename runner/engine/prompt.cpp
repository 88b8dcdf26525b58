#include "runner/engine/prompt.h"

#include <algorithm>
#include <cmath>

namespace deepserve::runner {
namespace {

constexpr uint16_t kChoicesMax = 128;
constexpr size_t kStopStringsMax = 16;  // each token's text is held against all of them
constexpr size_t kStopStringBytesMax = 512;
constexpr uint8_t kLogprobsMax = 20;

Result<void> check_sampling(const ipc::Generation& generation) {
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!finite(generation.temperature) || generation.temperature < 0) {
    return fail(Code::kInvalidRequest, "temperature is {}: it must be 0 or more", generation.temperature);
  }
  if (!(generation.top_p > 0 && generation.top_p <= 1)) {
    return fail(Code::kInvalidRequest, "top_p is {}: it must be above 0 and at most 1", generation.top_p);
  }
  if (!(generation.min_p >= 0 && generation.min_p <= 1)) {
    return fail(Code::kInvalidRequest, "min_p is {}: it must be between 0 and 1", generation.min_p);
  }
  if (!finite(generation.presence_penalty))
    return fail(Code::kInvalidRequest, "presence_penalty is not finite");
  if (!finite(generation.frequency_penalty))
    return fail(Code::kInvalidRequest, "frequency_penalty is not finite");
  if (!finite(generation.repetition_penalty) || generation.repetition_penalty < 0.01f) {
    return fail(Code::kInvalidRequest, "repetition_penalty is {}: it must be at least 0.01",
                generation.repetition_penalty);
  }
  return {};
}

Result<void> check_generation(const ipc::Submit& submit, uint32_t vocabulary) {
  const auto& generation = submit.generation;
  TRY(check_sampling(generation));
  if (generation.choices == 0 || generation.choices > kChoicesMax) {
    return fail(Code::kInvalidRequest, "n is {}: it must be between 1 and {}", generation.choices,
                kChoicesMax);
  }
  if (generation.stop.size() > kStopStringsMax) {
    return fail(Code::kInvalidRequest, "{} stop strings, at most {}", generation.stop.size(),
                kStopStringsMax);
  }
  for (const auto& stop : generation.stop) {
    if (stop.empty() || stop.size() > kStopStringBytesMax) {
      return fail(Code::kInvalidRequest, "a stop string of {} bytes: 1 to {}", stop.size(),
                  kStopStringBytesMax);
    }
  }
  TRY(check_ids(generation.stop_tokens, vocabulary, "stop_token_ids"));
  for (const auto& [token, bias] : generation.logit_bias) {
    TRY(check_ids({&token, 1}, vocabulary, "logit_bias"));
    if (!std::isfinite(bias))
      return fail(Code::kInvalidRequest, "logit_bias of token {} is not finite", token);
  }
  if (generation.logprobs != ipc::kNoLogprobs && generation.logprobs > kLogprobsMax) {
    return fail(Code::kInvalidRequest, "logprobs is {}: at most {} alternatives", generation.logprobs,
                kLogprobsMax);
  }
  std::vector<bool> seen(generation.choices, false);
  for (const auto& resumed : submit.resumed) {
    if (resumed.choice >= generation.choices || seen[resumed.choice]) {
      return fail(Code::kInvalidRequest, "resumed choice {} of {} is out of range or named twice",
                  resumed.choice, generation.choices);
    }
    seen[resumed.choice] = true;
    TRY(check_ids(resumed.tokens, vocabulary, "resumed"));
    if (resumed.unheard > resumed.tokens.size()) {
      return fail(Code::kInvalidRequest, "{} of {} resumed tokens are unheard", resumed.unheard,
                  resumed.tokens.size());
    }
  }
  return {};
}

// `needed`: tokens of one sequence that lie in the KV cache together.
Result<void> check_kv(uint64_t needed, const RequestLimits& limits) {
  if (needed <= uint64_t{limits.kv_blocks} * limits.kv_block_tokens) return {};
  return fail(
      Code::kContextLength,
      "the request needs {} tokens of KV cache ({} KV blocks of {} tokens), this runner has {} blocks",
      needed, (needed + limits.kv_block_tokens - 1) / limits.kv_block_tokens, limits.kv_block_tokens,
      limits.kv_blocks);
}

// How many tokens each choice may generate; refuses what can never fit.
Result<uint32_t> limit_tokens(const ipc::Submit& submit, uint64_t prompt_tokens,
                              const RequestLimits& limits) {
  const auto& generation = submit.generation;
  if (prompt_tokens > limits.context_tokens) {
    return fail(Code::kContextLength, "the prompt has {} tokens, the context is {} tokens", prompt_tokens,
                limits.context_tokens);
  }
  if (submit.work == ipc::Work::kEmbed || generation.tokens_max == 0) {
    const bool scored = generation.echo && generation.logprobs != ipc::kNoLogprobs;
    if (submit.work == ipc::Work::kEmbed || scored) TRY(check_kv(prompt_tokens, limits));
    return 0;
  }
  if (prompt_tokens == limits.context_tokens) {
    return fail(Code::kContextLength,
                "the prompt has {} tokens and fills the context of {} tokens: no room to answer",
                prompt_tokens, limits.context_tokens);
  }
  const uint64_t room = limits.context_tokens - prompt_tokens;
  const uint64_t wanted = std::min<uint64_t>(generation.tokens_max, room);
  // The last token of an answer is never run through the model, so it needs no room in the KV cache.
  const uint64_t kv_tokens = uint64_t{limits.kv_blocks} * limits.kv_block_tokens;
  const bool rest_of_context = generation.tokens_max == ipc::kRestOfContext;
  const uint64_t needed = prompt_tokens + (rest_of_context ? 1 : wanted) - 1;
  TRY(check_kv(needed, limits));
  return static_cast<uint32_t>(std::min(wanted, kv_tokens - prompt_tokens + 1));
}

bool is_empty(const ipc::Prompt& prompt) {
  switch (prompt.kind) {
    case ipc::PromptKind::kText:
      return prompt.text.empty();
    case ipc::PromptKind::kTokens:
      return prompt.tokens.empty();
    default:
      return prompt.chat.empty();
  }
}

Result<void> check_embed(const ipc::Submit& submit, const RequestLimits& limits) {
  if (limits.embedding == 0 || limits.embedding > ipc::kEmbeddingWidthMax) {
    return fail(Code::kNotSupported, "embeddings of {} values are not supported", limits.embedding);
  }
  // Also where the model begins with BOS: alone it says nothing about a text.
  if (is_empty(submit.prompt)) return fail(Code::kInvalidRequest, "the input is empty: nothing to embed");
  return {};
}

}  // namespace

Result<void> check_ids(std::span<const TokenId> tokens, uint32_t vocabulary, std::string_view field) {
  const auto bad = std::ranges::find_if(tokens, [=](TokenId token) { return token >= vocabulary; });
  if (bad == tokens.end()) return {};
  return fail(Code::kInvalidRequest, "{} holds token {}, the vocabulary ends at {}", field, *bad,
              vocabulary - 1);
}

Result<std::vector<TokenId>> tokenize(const ipc::Prompt& prompt, bool add_special, const Tokenizer& tokenizer,
                                      const Result<ChatTemplate>& chat, const TextLimit& limit) {
  if (prompt.kind == ipc::PromptKind::kTokens) return prompt.tokens;
  std::vector<TokenId> tokens;
  if (prompt.kind == ipc::PromptKind::kChat) {
    if (!chat) return tl::unexpected<Error>(chat.error());
    TRY_ASSIGN(tokens, chat->render(prompt, tokenizer, limit));
  } else {
    TRY(limit.check(prompt.text.size()));
    tokens = tokenizer.encode(prompt.text, Tokenizer::Specials::kParse);
  }
  const auto& vocabulary = tokenizer.vocabulary();
  const bool is_chat = prompt.kind == ipc::PromptKind::kChat;
  if (add_special && !is_chat && vocabulary.add_bos && vocabulary.bos &&
      (tokens.empty() || tokens.front() != *vocabulary.bos)) {
    tokens.insert(tokens.begin(), *vocabulary.bos);
  }
  return tokens;
}

Result<PreparedPrompt> prepare(const ipc::Submit& submit, const RequestLimits& limits,
                               const Tokenizer& tokenizer, const Result<ChatTemplate>& chat) {
  TRY(submit.work == ipc::Work::kEmbed ? check_embed(submit, limits)
                                       : check_generation(submit, limits.vocabulary));
  PreparedPrompt prepared;
  TRY_ASSIGN(prepared.tokens,
             tokenize(submit.prompt, true, tokenizer, chat, {limits.context_tokens, limits.token_bytes_max}));
  if (prepared.tokens.empty()) {
    if (!tokenizer.vocabulary().bos) {
      return fail(Code::kInvalidRequest, "the prompt is empty, and the model has no token to begin with");
    }
    prepared.tokens.push_back(*tokenizer.vocabulary().bos);
  }
  TRY(check_ids(prepared.tokens, limits.vocabulary, "the prompt"));
  TRY_ASSIGN(prepared.tokens_limit, limit_tokens(submit, prepared.tokens.size(), limits));
  prepared.text_starts = std::ranges::all_of(
      prepared.tokens, [&](TokenId token) { return tokenizer.token_bytes(token).empty(); });
  return prepared;
}

}  // namespace deepserve::runner
