#include "runner/model/huggingface/json_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <string>

namespace deepserve::runner {
namespace {

using testing::HasSubstr;

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  const auto value = parse_json(text, "m.json", limits);
  if (value) return "accepted";
  EXPECT_EQ(value.error().code, Code::kBadModelFile);
  EXPECT_THAT(value.error().message, HasSubstr("m.json: "));
  return value.error().message;
}

std::string repeated(std::string_view text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

TEST(JsonDocument, TextThatIsNoJsonIsRefusedWithItsOffset) {
  EXPECT_THAT(refusal("{\"a\": 1, }"), HasSubstr("offset 9: "));
  EXPECT_THAT(refusal("{\"a\": 1"), HasSubstr("offset 7: incomplete"));
  EXPECT_THAT(refusal(""), HasSubstr("incomplete"));
  EXPECT_THAT(refusal("{} {}"), HasSubstr("offset 3: "));
  EXPECT_THAT(refusal("{\"a\": \"\xff\"}"), HasSubstr("offset 7: "));
  EXPECT_EQ(refusal(" {} \n"), "accepted");
}

TEST(JsonDocument, DepthIsBounded) {
  EXPECT_EQ(refusal(repeated("[", 32) + repeated("]", 32)), "accepted");
  EXPECT_THAT(refusal(repeated("[", 10'000) + repeated("]", 10'000)), HasSubstr("(at most 32)"));
  EXPECT_THAT(refusal(repeated("{\"a\":", 10'000)), HasSubstr("(at most 32)"));
}

TEST(JsonDocument, BytesAndMemoryAreBounded) {
  EXPECT_THAT(refusal(repeated(" ", 101), {.text_bytes_max = 100}), HasSubstr("101 bytes of JSON"));
  const std::string values = fmt::format("[{}0]", repeated("0,", 400'000));
  EXPECT_EQ(refusal(values), "accepted");
  EXPECT_THAT(refusal(values, {.memory_bytes_max = 4u << 20}), HasSubstr("more than 4194304 bytes"));
  const std::string key = fmt::format("{{\"{}\": 1}}", repeated("a", 500'000));
  EXPECT_THAT(refusal(key, {.memory_bytes_max = 100'000}), HasSubstr("more than 100000 bytes"));
}

TEST(JsonFields, ReadWhatIsThereAndNothingForNull) {
  const auto value =
      parse_json(R"({"n": 7, "x": 0.5, "b": true, "s": "t", "o": {"k": 1}, "z": null})", "f", {});
  ASSERT_TRUE(value);
  const auto fields = JsonFields::of(*value, "f");
  ASSERT_TRUE(fields);
  EXPECT_EQ(*fields->find_unsigned("n"), 7u);
  EXPECT_EQ(*fields->find_number("n"), 7.0);
  EXPECT_EQ(*fields->find_number("x"), 0.5);
  EXPECT_EQ(*fields->find_bool("b"), true);
  EXPECT_EQ(*fields->find_string("s"), "t");
  EXPECT_EQ((*fields->find_object("o"))->where(), "f: o");
  EXPECT_FALSE(fields->has("z"));
  EXPECT_EQ(*fields->find_unsigned("z"), std::nullopt);
  EXPECT_EQ(*fields->find_string("absent"), std::nullopt);
}

TEST(JsonFields, AnotherTypeIsNamedWithItsField) {
  const auto value = parse_json(R"({"n": -7, "x": 1e999, "b": 1, "s": [], "o": "text"})", "f", {});
  ASSERT_TRUE(value);
  const auto fields = JsonFields::of(*value, "f");
  EXPECT_EQ(fields->find_unsigned("n").error().message, "f: n: the number -7 where a count belongs");
  EXPECT_EQ(fields->find_number("x").error().message, "f: x: the number inf where a number belongs");
  EXPECT_EQ(fields->find_bool("b").error().message, "f: b: the number 1 where true or false belongs");
  EXPECT_EQ(fields->find_string("s").error().message, "f: s: an array where a string belongs");
  EXPECT_EQ(fields->find_object("o").error().message, "f: o: a string where an object belongs");
  EXPECT_EQ(JsonFields::of(*fields->find("s"), "f").error().message, "f: an array where an object belongs");
}

}  // namespace
}  // namespace deepserve::runner
