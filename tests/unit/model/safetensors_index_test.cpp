#include "runner/model/huggingface/safetensors_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace deepserve::runner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(std::string_view text) {
  const auto index = parse_safetensors_index(text, "i.json");
  if (index) return "accepted";
  EXPECT_EQ(index.error().code, Code::kBadModelFile);
  EXPECT_THAT(index.error().message, HasSubstr("i.json: "));
  return index.error().message;
}

TEST(SafetensorsIndex, FilesAreDistinctAndSorted) {
  const auto index = parse_safetensors_index(
      R"({"metadata": {"total_size": 3},
          "weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}})",
      "i.json");
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_THAT(index->files, ElementsAre("a.safetensors", "b.safetensors"));
  EXPECT_EQ(index->tensors.at("x"), 1u);
  EXPECT_EQ(index->tensors.at("y"), 0u);
}

TEST(SafetensorsIndex, WhatIsNoIndexIsRefused) {
  EXPECT_THAT(refusal("[]"), HasSubstr("where an object belongs"));
  EXPECT_THAT(refusal("{}"), HasSubstr("weight_map: it is missing"));
  EXPECT_THAT(refusal(R"({"weight_map": []})"), HasSubstr("weight_map: an array"));
  EXPECT_THAT(refusal(R"({"weight_map": {}})"), HasSubstr("weight_map: it is empty"));
  EXPECT_THAT(refusal(R"({"weight_map": {"x": 7}})"), HasSubstr("tensor \"x\": the number 7"));
}

TEST(SafetensorsIndex, FilesOutsideOfTheDirectoryAreRefused) {
  for (const char* name : {"../x", "/etc/passwd", "a/b", "..", ".", "", ".hidden", "a\\u0000b"}) {
    EXPECT_THAT(refusal(fmt::format(R"({{"weight_map": {{"x": "{}"}}}})", name)),
                HasSubstr("is not the name of a file in the same directory"))
        << name;
  }
}

TEST(SafetensorsIndex, ATensorThatIsNamedTwiceIsRefused) {
  EXPECT_THAT(refusal(R"({"weight_map": {"x": "a", "y": "a", "x": "b"}})"),
              HasSubstr("\"x\" is there twice"));
}

TEST(SafetensorsIndex, BombsAreRefused) {
  std::string deep(10'000, '[');
  EXPECT_THAT(refusal(deep), HasSubstr("(at most 32)"));
  std::string many = R"({"weight_map": {)";
  for (int i = 0; i < 256; ++i) many += fmt::format("{}\"t{}\": \"f{}\"", i == 0 ? "" : ",", i, i);
  EXPECT_THAT(refusal(many + "}}"), HasSubstr("256 files"));
}

}  // namespace
}  // namespace deepserve::runner
