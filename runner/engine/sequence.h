// A request as the engine runs it, and its choices, each of which is one sequence of tokens.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ipc/wire/messages.h"
#include "runner/backend/backend.h"
#include "runner/engine/continuation.h"
#include "runner/engine/mean_pool.h"
#include "runner/engine/prompt_echo.h"
#include "runner/engine/sequence_drafts.h"
#include "runner/engine/token_counts.h"
#include "runner/grammar/matcher.h"

namespace deepserve::runner {

// Who goes first: the class, then each request's first choice before any second one, then who came first. The
// smaller one wins.
struct Priority {
  ipc::Class service_class = ipc::Class::kNormal;
  uint16_t rank = 0;  // how many choices of its request that have not ended come before it
  uint64_t arrival = 0;
  uint16_t choice = 0;
  auto operator<=>(const Priority&) const = default;
};

struct Request;

enum class SequencePhase : uint8_t {
  kNew,      // the scheduler does not know it yet
  kWaiting,  // has no KV blocks: not admitted yet, or preempted
  kRunning,  // has a seat in the batch and blocks for all of its tokens but the last
  kEnded,    // has finished, failed or been cancelled
};

struct Sequence {
  Request* request = nullptr;
  Priority priority;
  SequencePhase phase = SequencePhase::kNew;
  std::vector<TokenId> tokens;  // the prompt, then the answer, then what this step drafts or expects
  uint32_t computed = 0;        // of these, how many are in the KV cache
  std::vector<BlockId> blocks;  // [ceil(tokens / block_tokens)] while it runs; the last may be shared
  // The scheduler's, in steps of its own: when it last ran (or got its blocks), and since when it waits.
  uint64_t last_step = 0;
  uint64_t waiting_since = 0;
  uint64_t steps_waited = 0;  // before that
  bool sits_out = false;      // of the step in the making
  uint32_t preemptions = 0;
  uint32_t tokens_final = std::numeric_limits<uint32_t>::max();  // it never has more
  ipc::PrefixSalt salt;        // computed blocks are shared only among sequences of equal salt
  bool reuses_prefix = true;   // of what others computed; false: all positions are wanted
  uint32_t remembered = 0;     // of `blocks`, how many others may find
  uint32_t likely_cached = 0;  // tokens that were found computed when it came
  std::optional<uint32_t> cached_tokens = {};  // that it did not have to compute when it first ran
  bool awaits_leader = false;                  // another choice is prefilling the prompt that they share
  bool hears_echo = false;  // of the prompt: it was asked for, and no token of the answer was told before
  uint32_t scored_from = PromptEcho::kNowhere;  // prefill asks for the logits of all positions from here on
  uint32_t scored_rows_max = 1;                 // of them, in one step
  TokenCounts counts;
  Continuation continuation;
  std::optional<GrammarMatcher> matcher = {};  // of the answer's constraint, if it has one
  SequenceDrafts drafts = {};
  // The last of its tokens is yet to come, as number so many of those that the step under way draws: any
  // stands in its place.
  std::optional<uint32_t> expected = {};

  // Of prompt and answer: drafts are not counted.
  uint32_t size() const { return static_cast<uint32_t>(tokens.size()) - drafts.count; }
  // Tokens that are to run before the next one can be sampled: 1 when it decodes.
  uint32_t pending() const { return size() - computed; }
  // How many of its first tokens it can do without computing. The last one always runs: it gives the logits.
  uint32_t reusable() const { return reuses_prefix ? std::min(size() - 1, scored_from) : 0; }
  // Nothing comes after what it expects.
  bool is_complete() const { return expected && size() >= tokens_final; }
  void expect(uint32_t drawn_token) {
    tokens.push_back(0);
    expected = drawn_token;
  }
  // Rows of logits that a chunk of the next `chunk_tokens` asks for to score the prompt.
  uint32_t scored_rows(uint32_t chunk_tokens) const {
    const uint32_t begin = std::max(computed, scored_from);
    return computed + chunk_tokens > begin ? computed + chunk_tokens - begin : 0;
  }
  // The longest chunk that asks for at most `rows` of them.
  uint32_t chunk_max(uint32_t rows) const {
    if (scored_from == PromptEcho::kNowhere) return pending();
    const uint64_t unscored = scored_from > computed ? scored_from - computed : 0;
    return static_cast<uint32_t>(std::min<uint64_t>(pending(), unscored + std::min(rows, scored_rows_max)));
  }

  // Which tokens the answer's constraint lets come next: a bit for each, [ceil(vocabulary / 64)]; empty: all.
  // Valid until any sequence is asked again. An error is the request's: nothing can come.
  Result<std::span<const uint64_t>> allowed() {
    if (!matcher) return std::span<const uint64_t>();
    return matcher->allowed();
  }
  // `token` comes next: just sampled, or generated elsewhere before the choice was resumed here. An error is
  // the request's.
  Result<void> take(TokenId token) {
    if (matcher && !matcher->accept(token)) {
      return fail(Code::kNotSupported,
                  "token {} of the answer does not follow its grammar, or that is too ambiguous to tell",
                  continuation.tokens());
    }
    if (std::exchange(expected, std::nullopt)) {
      tokens.back() = token;
    } else {
      tokens.push_back(token);
    }
    counts.add_generated(token);
    return {};
  }
  // The answer has a constraint, and is all that it admits.
  bool fulfils_constraint() const { return matcher && matcher->finished(); }
};

struct Request {
  ipc::RequestId id = 0;
  ipc::Work work = ipc::Work::kGenerate;
  ipc::Generation generation;
  uint32_t prompt_tokens = 0;
  uint32_t tokens_limit = 0;       // how many each choice may generate; 0: the prompt is all there is
  std::optional<PromptEcho> echo;  // when asked for
  MeanPool pool;                   // kEmbed
  std::vector<Sequence> choices;   // never resized after the request was made: sequences are pointed at
  uint32_t choices_open = 0;
  uint32_t completion_tokens = 0;   // of all choices, resumed ones included
  uint32_t cached_tokens = 0;       // of the prompt
  std::vector<ipc::Delta> unheard;  // of resumed choices: told as soon as it is accepted
  uint32_t drafts_accepted = 0;
  uint32_t drafts_rejected = 0;
  bool accepted = false;
  bool ended = false;  // its terminal outcome was told
  uint64_t submitted_ns = 0;
  uint64_t scheduled_ns = 0;  // its first prefill
  uint64_t first_token_ns = 0;
  uint64_t last_token_ns = 0;

  bool answers() const { return work == ipc::Work::kGenerate && tokens_limit > 0; }
};

}  // namespace deepserve::runner
