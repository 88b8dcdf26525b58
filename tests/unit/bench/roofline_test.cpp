#include "runner/bench/roofline.h"

#include <gtest/gtest.h>

#include <string>

namespace deepserve::runner {
namespace {

using kernels::Arithmetic;
using kernels::WeightType;

MachineLimits limits() {
  MachineLimits limits;
  limits.threads = 2;
  limits.read_bytes_per_second = 1000;
  limits.peaks = {{Arithmetic::kFloat32, "f", 100}, {Arithmetic::kInt8, "i", 10'000}};
  return limits;
}

StepWork work() {
  return {.weights = {{.type = WeightType::kQ4K, .layer_bytes = 500, .layer_elements = 1000}},
          .kv_position_bytes = 0,
          .attention_position_operations = 0};
}

TEST(Roofline, OneSequenceIsBoundByReads) {
  const Bound bound = bound_of(work(), decode_shape(1, 0), limits());
  EXPECT_DOUBLE_EQ(bound.read_seconds, 0.5);
  EXPECT_DOUBLE_EQ(bound.compute_seconds, 0.2);
  EXPECT_DOUBLE_EQ(bound.seconds(), 0.5);
  EXPECT_EQ(std::string(bound.by()), "reads");
}

TEST(Roofline, ManySequencesAreBoundByArithmetic) {
  const Bound bound = bound_of(work(), decode_shape(8, 0), limits());
  EXPECT_DOUBLE_EQ(bound.read_seconds, 0.5);
  EXPECT_DOUBLE_EQ(bound.seconds(), 1.6);
  EXPECT_EQ(std::string(bound.by()), "arithmetic");
}

TEST(Roofline, EachTypeIsHeldAgainstItsOwnPeakAndAttentionAgainstThatOfFloat32) {
  StepWork mixed = work();
  mixed.weights.push_back({.type = WeightType::kF16, .layer_bytes = 20, .layer_elements = 10});
  mixed.attention_position_operations = 50;
  const Bound bound = bound_of(mixed, decode_shape(1, 0), limits());
  EXPECT_DOUBLE_EQ(bound.operations, 2000 + 20 + 50);
  EXPECT_DOUBLE_EQ(bound.compute_seconds, 0.2 + 0.2 + 0.5);
}

TEST(Roofline, WhatAnInstructionSetLacksIsHeldAgainstFloat32) {
  EXPECT_EQ(limits().peak_for(WeightType::kBF16).instruction, "f");
  EXPECT_EQ(limits().peak_for(WeightType::kQ8_0).instruction, "i");
}

}  // namespace
}  // namespace deepserve::runner
