// Whether two answers were told with the same log probabilities, to the bit.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::runner::testing {

using Logprobs = std::vector<std::vector<ipc::TokenLogprob>>;

inline void expect_same_logprobs(const Logprobs& left, const Logprobs& right) {
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    ASSERT_EQ(left[i].size(), right[i].size());
    for (size_t j = 0; j < left[i].size(); ++j) {
      EXPECT_EQ(left[i][j].token, right[i][j].token);
      EXPECT_EQ(left[i][j].logprob, right[i][j].logprob);
    }
  }
}

}  // namespace deepserve::runner::testing
