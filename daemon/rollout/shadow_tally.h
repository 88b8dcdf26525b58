// How a shadow's answers compare with those that the clients got (DESIGN 9). Pure.
//
// Both have the same prompt, the same seed and the same limits: with the same weights and the same
// numerics_id each answer is equal, token by token.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// Of each choice, its tokens.
using AnswerTokens = std::vector<std::vector<ipc::TokenId>>;

class ShadowTally {
 public:
  // A copy's answer, beside the original's.
  void compare(const AnswerTokens& original, const AnswerTokens& copy);
  void failed() { ++failed_; }    // a copy: the shadow is to blame
  void skipped() { ++skipped_; }  // the host had better things to do

  // "of 40 answers 38 equal (95.0 %), 97.1 % of their tokens before they differ; 1 failed, 0 skipped", or "no
  // answers yet; 0 failed, 0 skipped"
  std::string evidence() const;

 private:
  uint64_t answers_ = 0;
  uint64_t equal_ = 0;
  uint64_t failed_ = 0;
  uint64_t skipped_ = 0;
  uint64_t tokens_ = 0;  // of the originals that were compared
  uint64_t agreed_ = 0;  // of those, before the first one that differs, choice by choice
};

}  // namespace deepserve::daemon
