// How many tokens a prompt's bytes are, learnt from the prompts that runners have counted. Pure.
#pragma once

#include <cstdint>

namespace deepserve::daemon {

// Of one model.
class TokenRatio {
 public:
  static constexpr double kUnknown = 0.3;  // tokens a byte: a bit more than English text has

  void add(uint64_t bytes, uint32_t tokens);
  uint32_t tokens(uint64_t bytes) const;
  double tokens_per_byte() const { return tokens_ / bytes_; }

 private:
  static constexpr double kFading = 0.98;  // for each prompt: the last fifty count
  double bytes_ = 1024;                    // what is assumed weighs as much as so many bytes
  double tokens_ = kUnknown * 1024;
};

}  // namespace deepserve::daemon
