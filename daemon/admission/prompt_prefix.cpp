#include "daemon/admission/prompt_prefix.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>

namespace deepserve::daemon {
namespace {

class PieceHasher {
 public:
  PieceHasher(const ipc::PrefixSalt& salt, PromptPrefix& prefix)
      : prefix_(prefix), hash_(salt.low ^ std::rotl(salt.high, 32) ^ 0x9e3779b97f4a7c15) {}

  void take(std::string_view bytes) {
    prefix_.bytes += bytes.size();
    while (!bytes.empty() && prefix_.pieces.size() < PromptPrefix::kPiecesMax) {
      const size_t taken = std::min(bytes.size(), piece_.size() - filled_);
      std::copy_n(bytes.begin(), taken, piece_.begin() + static_cast<std::ptrdiff_t>(filled_));
      filled_ += taken;
      bytes.remove_prefix(taken);
      if (filled_ == piece_.size()) end_piece();
    }
  }
  // Fields that follow each other are parted, so that none runs into the next.
  void take_field(std::string_view bytes) {
    take(bytes);
    take(std::string_view("\0", 1));
  }

 private:
  void end_piece() {
    for (size_t at = 0; at < piece_.size(); at += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, piece_.data() + at, sizeof word);
      hash_ = (hash_ ^ word) * 0xbf58476d1ce4e5b9;
      hash_ ^= hash_ >> 29;
    }
    prefix_.pieces.push_back(hash_);
    filled_ = 0;
  }

  PromptPrefix& prefix_;
  std::array<char, PromptPrefix::kPieceBytes> piece_;
  size_t filled_ = 0;
  uint64_t hash_;
};

}  // namespace

PromptPrefix prefix_of(const ipc::Prompt& prompt, const ipc::PrefixSalt& salt) {
  PromptPrefix prefix;
  PieceHasher hasher(salt, prefix);
  if (prompt.kind == ipc::PromptKind::kTokens) {
    hasher.take(
        {reinterpret_cast<const char*>(prompt.tokens.data()), prompt.tokens.size() * sizeof(ipc::TokenId)});
  } else if (prompt.kind == ipc::PromptKind::kText) {
    hasher.take(prompt.text);
  } else {
    hasher.take_field(prompt.template_options);
    hasher.take_field(prompt.tools);
    for (const auto& message : prompt.chat) {
      for (const auto* field : {&message.role, &message.name, &message.reasoning, &message.content,
                                &message.tool_calls, &message.tool_call_id}) {
        hasher.take_field(*field);
      }
    }
  }
  return prefix;
}

}  // namespace deepserve::daemon
