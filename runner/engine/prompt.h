// From what a client sent to the tokens that a sequence starts with.
#pragma once

#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"
#include "runner/model/chat/chat_template.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {

// The tokens of `prompt`. Text is parsed for control tokens, as other engines' completion endpoints do:
// whoever may send text may send token ids as well, so there is nothing to protect. What a chat's messages
// say is never parsed. BOS comes before text when the model wants one and `add_special` is set; never twice,
// never before token prompts; before a chat it is the template's business. Chat prompts are refused with the
// error of `chat` when there is no template. Text beyond `limit` is refused before the work: it would hold up
// everyone's decoding.
Result<std::vector<TokenId>> tokenize(const ipc::Prompt& prompt, bool add_special, const Tokenizer& tokenizer,
                                      const Result<ChatTemplate>& chat, const TextLimit& limit = {});

// kInvalidRequest names `field` and the first of `tokens` that is not below `vocabulary`.
Result<void> check_ids(std::span<const TokenId> tokens, uint32_t vocabulary, std::string_view field);

// What a request may cost at most on this runner.
struct RequestLimits {
  uint32_t context_tokens = 0;
  uint32_t vocabulary = 0;
  uint32_t embedding = 0;  // width of a hidden state
  uint32_t kv_blocks = 0;
  uint32_t kv_block_tokens = 0;
  uint32_t token_bytes_max = std::numeric_limits<uint32_t>::max();  // see TextLimit
};

// A request that was found to be sound.
struct PreparedPrompt {
  std::vector<TokenId> tokens;  // never empty
  uint32_t tokens_limit = 0;    // how many a choice may generate: tokens_max within context and KV cache
  bool text_starts = false;     // the prompt stands for no text: the answer's is the first
};

// Checks all that could hurt the runner and clamps tokens_max; of the generation of a kEmbed nothing counts.
// kInvalidRequest, kContextLength or kNotSupported name the field or the two numbers at fault.
Result<PreparedPrompt> prepare(const ipc::Submit& submit, const RequestLimits& limits,
                               const Tokenizer& tokenizer, const Result<ChatTemplate>& chat);

}  // namespace deepserve::runner
