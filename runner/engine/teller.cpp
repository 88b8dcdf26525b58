#include "runner/engine/teller.h"

#include "ipc/base/check.h"
#include "runner/engine/logprobs.h"

namespace deepserve::runner {
namespace {

constexpr size_t kEchoTokensMax = 4096;  // of one delta

}  // namespace

void Teller::begin(const Request& request, bool echo) {
  delta_.request = request.id;
  delta_.echo = echo;
  delta_.tokens.clear();
  delta_.text.clear();
  delta_.logprobs.resize(request.generation.logprobs == ipc::kNoLogprobs ? 0 : 1);
}

// As Sampler::logprobs() gives them, of a row that the backend drew from.
std::span<const RankedToken> Teller::rank_drawn(const StepRow& row, uint16_t choice) {
  const DrawnRow& drawn = *row.drawn;
  const double log_total = log_of_total(drawn.total, drawn.best);
  const auto rank = [&](const RankedLogit& one) {
    ranked_.push_back({one.token, logprob_of(one.logit, log_total)});
  };
  ranked_.clear();
  rank(row.token_of(choice));
  for (uint32_t i = 0; i < drawn.alternatives_size; ++i) rank(drawn.alternatives[i]);
  return ranked_;
}

// Of the delta's one token.
void Teller::write_logprobs(std::span<const RankedToken> ranked) {
  auto& entry = delta_.logprobs.front();
  entry.resize(ranked.size());
  for (size_t i = 0; i < ranked.size(); ++i) {
    const auto bytes = tokenizer_.token_bytes(ranked[i].token, true);
    entry[i].token = ranked[i].token;
    entry[i].logprob = ranked[i].logprob;
    entry[i].text.assign(bytes.substr(0, ipc::kTokenTextBytesMax));
  }
}

void Teller::token(const Sequence& sequence, std::string_view text, const StepRow& row) {
  const Request& request = *sequence.request;
  begin(request, false);
  delta_.choice = sequence.priority.choice;
  delta_.index = sequence.continuation.tokens() - 1;
  delta_.tokens.push_back(sequence.tokens.back());
  delta_.text = text;
  if (request.generation.logprobs != ipc::kNoLogprobs) {
    write_logprobs(row.drawn != nullptr
                       ? rank_drawn(row, sequence.priority.choice)
                       : sampler_.logprobs(row.logits, sequence.tokens.back(), request.generation.logprobs));
  }
  sink_.delta(delta_);
}

void Teller::resumed(const Sequence& sequence, std::string_view text, bool heard) {
  Request& request = *sequence.request;
  begin(request, false);
  delta_.choice = sequence.priority.choice;
  delta_.index = sequence.continuation.tokens() - 1;
  delta_.tokens.push_back(sequence.tokens.back());
  delta_.text = text;
  delta_.logprobs.clear();  // they are not known here
  if (heard) {
    sink_.resumed(delta_);
  } else if (request.accepted) {
    sink_.delta(delta_);
  } else {
    request.unheard.push_back(delta_);
  }
}

Result<void> Teller::echo(Sequence& leader, uint32_t end, const LogitsRows& rows) {
  Request& request = *leader.request;
  PromptEcho& echo = *request.echo;
  const size_t rows_begin = leader.computed - rows.size();  // the first row's position
  const size_t delta_tokens_max = echo.scored() ? 1 : kEchoTokensMax;
  while (echo.told() < end) {
    begin(request, true);
    delta_.index = echo.told();
    while (echo.told() < end && delta_.tokens.size() < delta_tokens_max) {
      const uint32_t position = echo.told();
      const TokenId token = leader.tokens[position];
      if (echo.scored()) {
        std::span<const RankedToken> ranked;
        if (position > 0) {
          CHECK(position > rows_begin);
          const LogitsRow row = rows[position - 1 - rows_begin];
          TRY(sampler_.check(row));
          ranked = sampler_.logprobs(row, token, request.generation.logprobs);
        }
        write_logprobs(ranked);
      }
      delta_.tokens.push_back(token);
      echo.tell(token, delta_.text);
    }
    for (const auto& choice : request.choices) {
      if (!choice.hears_echo) continue;
      delta_.choice = choice.priority.choice;
      sink_.delta(delta_);
    }
  }
  leader.scored_from = echo.scored_from();
  return {};
}

}  // namespace deepserve::runner
