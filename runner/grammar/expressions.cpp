#include "runner/grammar/expressions.h"

#include <algorithm>
#include <array>
#include <limits>

namespace deepserve::runner {
namespace {

// A part of more states is called, not copied, when it is repeated.
constexpr uint32_t kCopiedStatesMax = 192;
// What takes more states than this when it is copied for each repetition is made of chunks.
constexpr uint64_t kChunkedStatesMin = 8192;
constexpr uint32_t kChunk = 64;

uint32_t saturated(uint64_t value) {
  return static_cast<uint32_t>(std::min<uint64_t>(value, std::numeric_limits<uint32_t>::max()));
}

}  // namespace

Expressions::Expressions() {
  empty_ = list(ExpressionKind::kSequence, {});
  nothing_ = list(ExpressionKind::kChoice, {});
}

ExpressionId Expressions::add(Expression expression) {
  nodes_.push_back(expression);
  return static_cast<ExpressionId>(nodes_.size() - 1);
}

ExpressionId Expressions::list(ExpressionKind kind, std::span<const ExpressionId> parts) {
  Expression expression;
  expression.kind = kind;
  expression.parts_begin = static_cast<uint32_t>(parts_.size());
  expression.parts_count = static_cast<uint32_t>(parts.size());
  uint64_t states = 1;
  for (const ExpressionId part : parts) states += nodes_[part].states;
  expression.states = saturated(states);
  parts_.insert(parts_.end(), parts.begin(), parts.end());
  return add(expression);
}

ExpressionId Expressions::byte_range(uint8_t first, uint8_t last) {
  const auto [place, is_new] = byte_ranges_.try_emplace(uint32_t{first} << 8 | last);
  if (is_new) {
    Expression expression;
    expression.kind = ExpressionKind::kBytes;
    expression.bytes = {first, last};
    expression.states = 1;
    place->second = add(expression);
  }
  return place->second;
}

ExpressionId Expressions::literal(std::string_view bytes) {
  std::vector<ExpressionId> parts;
  parts.reserve(bytes.size());
  for (const char byte : bytes)
    parts.push_back(byte_range(static_cast<uint8_t>(byte), static_cast<uint8_t>(byte)));
  return sequence(parts);
}

ExpressionId Expressions::characters(const CodePointSet& set) {
  std::vector<ExpressionId> spellings;
  for (const CodePointRange range : set.ranges()) {
    for (const ByteSequence& sequence_of_bytes : utf8_sequences(range)) {
      std::array<ExpressionId, 4> bytes{};
      for (uint8_t i = 0; i < sequence_of_bytes.size; ++i)
        bytes[i] = byte_range(sequence_of_bytes.bytes[i].first, sequence_of_bytes.bytes[i].last);
      spellings.push_back(sequence(std::span(bytes).first(sequence_of_bytes.size)));
    }
  }
  return choice(spellings);
}

ExpressionId Expressions::sequence(std::span<const ExpressionId> parts) {
  return parts.size() == 1 ? parts[0] : list(ExpressionKind::kSequence, parts);
}

ExpressionId Expressions::sequence(std::initializer_list<ExpressionId> parts) {
  return sequence(std::span(parts.begin(), parts.size()));
}

ExpressionId Expressions::choice(std::span<const ExpressionId> parts) {
  return parts.size() == 1 ? parts[0] : list(ExpressionKind::kChoice, parts);
}

ExpressionId Expressions::choice(std::initializer_list<ExpressionId> parts) {
  return choice(std::span(parts.begin(), parts.size()));
}

ExpressionId Expressions::repeat(ExpressionId part, uint32_t at_least, uint32_t at_most) {
  if (at_most == 0) return empty_;
  if (at_least == 1 && at_most == 1) return part;
  const uint32_t copies = at_most == kUnlimited ? at_least + 1 : at_most;
  if (copies > 1 && nodes_[part].states > kCopiedStatesMax) {
    const RuleId rule = new_rule("", true);
    define(rule, part);
    part = reference(rule);
  }
  if (uint64_t{copies} * nodes_[part].states >= kChunkedStatesMin)
    return chunked_repeat(part, at_least, at_most);
  return plain_repeat(part, at_least, at_most);
}

ExpressionId Expressions::plain_repeat(ExpressionId part, uint32_t at_least, uint32_t at_most) {
  if (at_most == 0) return empty_;
  Expression expression;
  expression.kind = ExpressionKind::kRepeat;
  expression.parts_begin = part;
  expression.at_least = at_least;
  expression.at_most = at_most;
  const uint64_t copies = at_most == kUnlimited ? uint64_t{at_least} + 1 : at_most;
  expression.states = saturated(copies * (uint64_t{nodes_[part].states} + 1));
  return add(expression);
}

// A string of up to 10,000 characters would be 10,000 copies of a character's states. 64 of them are a rule
// of their own, so that it is 156 calls and what is left over.
ExpressionId Expressions::chunked_repeat(ExpressionId part, uint32_t at_least, uint32_t at_most) {
  auto known = chunks_.find(part);
  if (known == chunks_.end()) {
    const RuleId rule = new_rule("", true);
    define(rule, plain_repeat(part, kChunk, kChunk));
    known = chunks_.emplace(part, rule).first;
  }
  const ExpressionId chunk = reference(known->second);
  const ExpressionId required = sequence({plain_repeat(chunk, at_least / kChunk, at_least / kChunk),
                                          plain_repeat(part, at_least % kChunk, at_least % kChunk)});
  if (at_most == kUnlimited) return sequence({required, plain_repeat(part, 0, kUnlimited)});
  const uint32_t more = at_most - at_least;
  const uint32_t chunks = more / kChunk;
  if (chunks == 0) return sequence({required, plain_repeat(part, 0, more)});
  const ExpressionId fewer =
      sequence({plain_repeat(chunk, 0, chunks - 1), plain_repeat(part, 0, kChunk - 1)});
  const ExpressionId all =
      sequence({plain_repeat(chunk, chunks, chunks), plain_repeat(part, 0, more % kChunk)});
  return sequence({required, choice({fewer, all})});
}

RuleId Expressions::new_rule(std::string name, bool apart) {
  rules_.push_back({std::move(name), std::nullopt, apart});
  return static_cast<RuleId>(rules_.size() - 1);
}

ExpressionId Expressions::reference(RuleId rule) {
  if (const auto known = references_.find(rule); known != references_.end()) return known->second;
  Expression expression;
  expression.kind = ExpressionKind::kRule;
  expression.parts_begin = rule;
  const Rule& referred = rules_[rule];
  const bool copied = referred.expression && !referred.apart;
  expression.states = copied ? nodes_[*referred.expression].states : 1;
  const ExpressionId id = add(expression);
  if (referred.expression) references_.emplace(rule, id);  // else it counts for more once it is defined
  return id;
}

}  // namespace deepserve::runner
