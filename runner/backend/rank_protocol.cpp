#include "runner/backend/rank_protocol.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace deepserve::runner {
namespace {

static_assert(sizeof(TokenId) == 4 && sizeof(BlockId) == 4, "tokens and blocks go over as words");

constexpr size_t kEntryWords = 4;  // tokens, position, blocks, logits_rows

Result<void> broadcast_words(Collective& collective, std::span<uint32_t> words, Patience patience) {
  return collective.broadcast(std::as_writable_bytes(words), 0, patience);
}

Result<void> send_command(Collective& collective, CommandWords words) {
  return broadcast_words(collective, words, Patience::kStep);
}

tl::unexpected<Error> bad_step(std::string_view what, uint64_t value, uint64_t limit) {
  return fail(Code::kBadLane, "rank 0 asks for a step with {} {}, at most {} may be", value, what, limit);
}

uint32_t word(size_t value) {
  return static_cast<uint32_t>(value);
}

// What all ranks must agree on.
struct Agreement {
  uint32_t vocabulary = 0;
  uint32_t embedding = 0;
  uint32_t block_tokens = 0;
  uint32_t blocks = 0;
  uint32_t batch_tokens_max = 0;
  std::array<char, 108> numerics_id{};
};
static_assert(sizeof(Agreement) == 128, "no padding goes over");

Agreement agreement_of(const BackendInfo& info) {
  Agreement agreement{info.vocabulary, info.embedding,        info.block_tokens,
                      info.blocks,     info.batch_tokens_max, {}};
  const size_t size = std::min(info.numerics_id.size(), agreement.numerics_id.size() - 1);
  std::memcpy(agreement.numerics_id.data(), info.numerics_id.data(), size);
  return agreement;
}

std::string text_of(const Agreement& agreement) {
  return fmt::format("{} of {} tokens, {} blocks of {}, {} tokens a step, {}", agreement.vocabulary,
                     agreement.embedding, agreement.blocks, agreement.block_tokens,
                     agreement.batch_tokens_max,
                     std::string_view(agreement.numerics_id.data(),
                                      strnlen(agreement.numerics_id.data(), agreement.numerics_id.size())));
}

}  // namespace

CommandWords write_step(std::span<const BatchEntry> batch, std::vector<uint32_t>& body) {
  size_t tokens = 0, blocks = 0;
  body.clear();
  for (const BatchEntry& entry : batch) {
    tokens += entry.tokens.size();
    blocks += entry.blocks.size();
    body.insert(body.end(),
                {word(entry.tokens.size()), entry.position, word(entry.blocks.size()), entry.logits_rows});
  }
  for (const BatchEntry& entry : batch) body.insert(body.end(), entry.tokens.begin(), entry.tokens.end());
  for (const BatchEntry& entry : batch) body.insert(body.end(), entry.blocks.begin(), entry.blocks.end());
  return {word(static_cast<size_t>(RankCommand::kStep)), word(batch.size()), word(tokens), word(blocks)};
}

Result<void> send_step(Collective& collective, std::span<const BatchEntry> batch,
                       std::vector<uint32_t>& body) {
  TRY(send_command(collective, write_step(batch, body)));
  return broadcast_words(collective, body, Patience::kStep);
}

Result<void> send_copy(Collective& collective, BlockId from, BlockId to) {
  return send_command(collective, {word(static_cast<size_t>(RankCommand::kCopyBlock)), from, to, 0});
}

Result<void> send_end(Collective& collective) {
  return send_command(collective, {word(static_cast<size_t>(RankCommand::kEnd)), 0, 0, 0});
}

Result<CommandWords> receive_command(Collective& collective) {
  CommandWords words{};
  TRY(broadcast_words(collective, words, Patience::kForever));
  return words;
}

Result<void> receive_step(Collective& collective, const CommandWords& command, const BackendInfo& info,
                          std::vector<uint32_t>& body, std::vector<BatchEntry>& batch) {
  const auto [kind, entries, tokens, blocks] = command;
  if (tokens > info.batch_tokens_max) return bad_step("tokens", tokens, info.batch_tokens_max);
  if (entries > tokens) return bad_step("sequences", entries, tokens);
  const uint64_t blocks_max = uint64_t{entries} * info.blocks;
  if (blocks > blocks_max) return bad_step("blocks", blocks, blocks_max);
  body.resize(entries * kEntryWords + tokens + blocks);
  TRY(broadcast_words(collective, body, Patience::kStep));
  return read_step(command, body, info, batch);
}

Result<void> read_step(const CommandWords& command, std::span<const uint32_t> body, const BackendInfo& info,
                       std::vector<BatchEntry>& batch) {
  const auto [kind, entries, tokens, blocks] = command;
  if (body.size() != size_t{entries} * kEntryWords + tokens + blocks || tokens > info.batch_tokens_max)
    return bad_step("words", body.size(), size_t{entries} * kEntryWords + tokens + blocks);
  auto token_words = body.subspan(entries * kEntryWords, tokens);
  auto block_words = body.last(blocks);
  batch.clear();
  for (size_t i = 0; i < entries; ++i) {
    const uint32_t* entry = &body[i * kEntryWords];
    const uint64_t end = uint64_t{entry[1]} + entry[0];
    const uint64_t blocks_needed = (end + info.block_tokens - 1) / info.block_tokens;
    if (entry[0] > token_words.size()) return bad_step("tokens", entry[0], token_words.size());
    if (entry[2] > block_words.size() || entry[2] != blocks_needed)
      return bad_step("blocks", entry[2], std::min<uint64_t>(block_words.size(), blocks_needed));
    if (entry[3] > entry[0]) return bad_step("rows of logits", entry[3], entry[0]);
    batch.push_back({.tokens = token_words.first(entry[0]),
                     .position = entry[1],
                     .blocks = block_words.first(entry[2]),
                     .logits_rows = entry[3]});
    token_words = token_words.subspan(entry[0]);
    block_words = block_words.subspan(entry[2]);
  }
  if (!token_words.empty()) return bad_step("tokens of no sequence", token_words.size(), 0);
  if (!block_words.empty()) return bad_step("blocks of no sequence", block_words.size(), 0);
  for (const BatchEntry& entry : batch) {
    for (const TokenId token : entry.tokens) {
      if (token >= info.vocabulary) return bad_step("as a token", token, info.vocabulary - 1);
    }
    for (const BlockId block : entry.blocks) {
      if (block >= info.blocks) return bad_step("as a block", block, info.blocks - 1);
    }
  }
  return {};
}

Result<void> agree(Collective& collective, const BackendInfo& info) {
  const Agreement own = agreement_of(info);
  Agreement first = own;
  TRY(collective.broadcast(std::as_writable_bytes(std::span(&first, 1)), 0, Patience::kForever));
  if (std::memcmp(&own, &first, sizeof own) != 0) {
    const Error error{Code::kBadLane, fmt::format("this rank made {} of the model where rank 0 made {}",
                                                  text_of(own), text_of(first))};
    collective.abandon(error);
    return tl::unexpected<Error>(error);
  }
  return collective.barrier(Patience::kForever);
}

}  // namespace deepserve::runner
