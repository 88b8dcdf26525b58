#include "runner/model/tokenizer/split_pattern.h"

#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

constexpr size_t kWaysBackMax = size_t{1} << 20;  // of 32 bytes each

size_t character_bytes(std::string_view text, size_t at) {
  const auto lead = static_cast<uint8_t>(text[at]);
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

size_t before(std::string_view text, size_t at) {
  do --at;
  while ((static_cast<uint8_t>(text[at]) & 0xc0) == 0x80);
  return at;
}

}  // namespace

// One attempt after the other over one text; `ways_back_` holds what is still to be tried.
class SplitPattern::Matcher {
 public:
  Matcher(const SplitPattern& pattern, std::string_view text, uint64_t& steps)
      : pattern_(pattern), text_(text), steps_(steps) {}

  // Where the program that begins at `pc` ends when it begins at `at` in the text.
  std::optional<size_t> run(size_t pc, size_t at);

 private:
  enum class Way : uint8_t {
    kOther,  // go on at `pc`
    kGive,   // the greedy repeat at `pc` gives a character back, as long as it ends after `low`
    kTake,   // the lazy repeat at `pc`, which has taken `count` characters, takes one more
  };
  struct WayBack {
    Way way;
    uint32_t pc;
    uint32_t count;
    size_t low;
    size_t at;
  };

  bool step() {
    if (steps_ == 0) return false;
    --steps_;
    return true;
  }
  bool takes(uint32_t set, size_t at) {
    if (at >= text_.size() || !step()) return false;
    const size_t bytes = character_bytes(text_, at);
    return pattern_.sets_[set].contains(utf8_code_point(text_.substr(at, bytes)));
  }
  bool push(const WayBack& way) {
    if (ways_back_.size() >= kWaysBackMax) steps_ = 0;
    if (steps_ == 0) return false;
    ways_back_.push_back(way);
    return true;
  }
  // Each does one instruction: moves `pc` and `at`, or says that it failed.
  bool repeat_set(const Instruction& instruction, size_t& pc, size_t& at);
  bool look(const Instruction& instruction, size_t& pc, size_t at);
  bool at_place(Operation place, size_t at) const;
  bool execute(size_t& pc, size_t& at);
  bool go_back(size_t base, size_t& pc, size_t& at);

  const SplitPattern& pattern_;
  std::string_view text_;
  uint64_t& steps_;
  std::vector<WayBack> ways_back_;
};

bool SplitPattern::Matcher::repeat_set(const Instruction& instruction, size_t& pc, size_t& at) {
  uint32_t count = 0;
  size_t low = at;
  const bool lazy = instruction.greed == Greed::kLazy;
  const uint32_t wanted = lazy ? instruction.min : instruction.max;
  while (count < wanted && takes(instruction.set, at)) {
    at += character_bytes(text_, at);
    if (++count == instruction.min) low = at;
  }
  if (count < instruction.min) return false;
  const auto here = static_cast<uint32_t>(pc);
  if (lazy) {
    if (!push({Way::kTake, here, count, at, at})) return false;
  } else if (instruction.greed == Greed::kGreedy && at > low) {
    if (!push({Way::kGive, here, 0, low, at})) return false;
  }
  ++pc;
  return true;
}

bool SplitPattern::Matcher::look(const Instruction& instruction, size_t& pc, size_t at) {
  bool matched = true;
  for (uint32_t back = 0; back < instruction.behind && matched; ++back) {
    matched = at > 0;
    if (matched) at = before(text_, at);
  }
  matched = matched && run(pc + 1, at).has_value();
  pc += static_cast<size_t>(instruction.next);
  return matched != instruction.negative && steps_ > 0;
}

bool SplitPattern::Matcher::at_place(Operation place, size_t at) const {
  switch (place) {
    case Operation::kLineBegin:
      return at == 0 || (text_[at - 1] == '\n' && at < text_.size());
    case Operation::kLineEnd:
      return at == text_.size() || text_[at] == '\n';
    case Operation::kTextBegin:
      return at == 0;
    default:
      return at == text_.size();
  }
}

bool SplitPattern::Matcher::execute(size_t& pc, size_t& at) {
  const Instruction& instruction = pattern_.program_[pc];
  switch (instruction.operation) {
    case Operation::kSet:
      if (!takes(instruction.set, at)) return false;
      at += character_bytes(text_, at);
      ++pc;
      return true;
    case Operation::kRepeatSet:
      return repeat_set(instruction, pc, at);
    case Operation::kSplit:
      if (!push({Way::kOther, static_cast<uint32_t>(pc + static_cast<size_t>(instruction.other)), 0, at, at}))
        return false;
      pc += static_cast<size_t>(instruction.next);
      return true;
    case Operation::kJump:
      pc += static_cast<size_t>(instruction.next);
      return true;
    case Operation::kAtomic: {
      const std::optional<size_t> end = run(pc + 1, at);
      if (!end) return false;
      at = *end;
      pc += static_cast<size_t>(instruction.next);
      return true;
    }
    case Operation::kLook:
      return look(instruction, pc, at);
    default:
      if (!at_place(instruction.operation, at)) return false;
      ++pc;
      return true;
  }
}

bool SplitPattern::Matcher::go_back(size_t base, size_t& pc, size_t& at) {
  while (ways_back_.size() > base && step()) {
    WayBack& way = ways_back_.back();
    const Instruction& instruction = pattern_.program_[way.pc];
    if (way.way == Way::kOther) {
      pc = way.pc;
      at = way.at;
      ways_back_.pop_back();
      return true;
    }
    if (way.way == Way::kGive) {
      at = way.at = before(text_, way.at);
      pc = way.pc + 1;
      if (way.at == way.low) ways_back_.pop_back();
      return true;
    }
    if (way.count < instruction.max && takes(instruction.set, way.at)) {
      at = way.at = way.at + character_bytes(text_, way.at);
      ++way.count;
      pc = way.pc + 1;
      return true;
    }
    ways_back_.pop_back();
  }
  return false;
}

std::optional<size_t> SplitPattern::Matcher::run(size_t pc, size_t at) {
  const size_t base = ways_back_.size();
  while (step()) {
    if (pattern_.program_[pc].operation == Operation::kMatched) {
      ways_back_.resize(base);
      return at;
    }
    if (!execute(pc, at) && !go_back(base, pc, at)) break;
  }
  ways_back_.resize(base);
  return std::nullopt;
}

std::optional<SplitPattern::Match> SplitPattern::find(std::string_view text, size_t from,
                                                      uint64_t& steps) const {
  Matcher matcher(*this, text, steps);
  for (size_t begin = from; begin < text.size() && steps > 0; begin += character_bytes(text, begin)) {
    const std::optional<size_t> end = matcher.run(0, begin);
    if (end && *end > begin) return Match{begin, *end};
  }
  return std::nullopt;
}

}  // namespace deepserve::runner
