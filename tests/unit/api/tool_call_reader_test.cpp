#include "daemon/api/tool_call_reader.h"

#include <gtest/gtest.h>

#include "daemon/api/json_slice.h"

namespace deepserve::daemon {
namespace {

struct Read {
  std::string text;
  std::vector<ToolCall> calls;

  bool operator==(const Read&) const = default;
};

Read read_in_pieces(ToolCallFormat format, std::string_view answer, size_t piece_bytes) {
  ToolCallReader reader(format);
  Read read;
  for (size_t at = 0; at < answer.size(); at += piece_bytes)
    reader.take(answer.substr(at, piece_bytes), read.text, read.calls);
  reader.finish(read.text, read.calls);
  EXPECT_EQ(reader.held_bytes(), 0u);
  return read;
}

// The same however the answer is cut.
Read read(ToolCallFormat format, std::string_view answer) {
  const Read whole = read_in_pieces(format, answer, answer.size() + 1);
  for (size_t piece_bytes = 1; piece_bytes <= answer.size(); ++piece_bytes)
    EXPECT_EQ(read_in_pieces(format, answer, piece_bytes), whole) << answer << " in " << piece_bytes;
  return whole;
}

const auto kTagged = ToolCallFormat::kTagged;
const auto kJson = ToolCallFormat::kJsonAnswer;
const auto kDeepSeek = ToolCallFormat::kDeepSeek;

TEST(ToolCallReader, ReadsTaggedCallsAndTheTextBefore) {
  EXPECT_EQ(read(kTagged,
                 "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1.50, \"y\": \"</\"}}\n</tool_call>"),
            (Read{"", {{"f", "{\"x\": 1.50, \"y\": \"</\"}"}}}));
  EXPECT_EQ(read(kTagged,
                 "Let me see.\n\n<tool_call>{\"name\":\"a\",\"arguments\":{}}</tool_call>\n"
                 "<tool_call>{\"name\":\"b\"}</tool_call>\n"),
            (Read{"Let me see.", {{"a", "{}"}, {"b", "{}"}}}));
  EXPECT_EQ(read(kTagged, "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"x\\\": 1}\"}"),
            (Read{"", {{"f", "{\"x\": 1}"}}}))
      << "the end of the answer closes a call that is whole";
}

TEST(ToolCallReader, WhatIsNoCallStaysText) {
  for (const std::string_view answer :
       {"", "Hello < you <tool", "  spaces \n", "<tool_call>\nno JSON\n</tool_call> x",
        "<tool_call>{\"name\": \"f\", ", "<tool_call>{\"nam\": 1}</tool_call>\n",
        "a<tool_call>[1]</tool_call>b", "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
        "<tool_call>\n<function=f>\n</function>\n</tool_call>"})
    EXPECT_EQ(read(kTagged, answer), (Read{std::string(answer), {}}));
  EXPECT_EQ(read(ToolCallFormat::kNone, "<tool_call>{\"name\":\"a\"}</tool_call>"),
            (Read{"<tool_call>{\"name\":\"a\"}</tool_call>", {}}));
  EXPECT_EQ(read(kTagged, "<tool_call>{\"name\":\"a\"}</tool_call> and <tool_call>?</tool_call> done "),
            (Read{" and <tool_call>?</tool_call> done", {{"a", "{}"}}}));
}

TEST(ToolCallReader, ReadsAnAnswerOfJson) {
  EXPECT_EQ(read(kJson, "{\"name\": \"f\", \"parameters\": {\"x\": [1, 2]}}"),
            (Read{"", {{"f", "{\"x\": [1, 2]}"}}}));
  EXPECT_EQ(read(kJson,
                 "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"arguments\": {}}"),
            (Read{"", {{"f", "{}"}, {"g", "{}"}}}));
  for (const std::string_view answer :
       {"", "Hi {\"name\": \"f\"}", "{\"answer\": 42}", "{\"name\": \"f\"} and more", "{\"name\": \"f\"",
        "<|python_tag|>search.call(query=\"x\")", " <|pyt", "{}", "7"})
    EXPECT_EQ(read(kJson, answer), (Read{std::string(answer), {}}));
}

TEST(ToolCallReader, ReadsDeepSeeksMarks) {
  EXPECT_EQ(read(kDeepSeek,
                 "Looking.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
                 "{\"x\": \"```\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n"
                 "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
            (Read{"Looking.", {{"f", "{\"x\": \"```\"}"}, {"g", "{}"}}}));
  EXPECT_EQ(read(kDeepSeek,
                 "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"x\": 1}<｜tool▁call▁end｜>"
                 "<｜tool▁calls▁end｜>"),
            (Read{"", {{"f", "{\"x\": 1}"}}}));
  const std::string_view bad = "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"x\": <｜tool▁call▁end｜>";
  EXPECT_EQ(read(kDeepSeek, bad), (Read{std::string(bad), {}}));
}

TEST(ToolCallReader, AFamilysModelsWriteInOneFormat) {
  EXPECT_EQ(tool_call_format("chatml"), kTagged);
  EXPECT_EQ(tool_call_format("llama3"), kJson);
  EXPECT_EQ(tool_call_format("deepseek"), kDeepSeek);
  EXPECT_EQ(tool_call_format("deepseek-r1"), kDeepSeek);
  EXPECT_EQ(tool_call_format("none"), ToolCallFormat::kNone);
}

TEST(ToolCallReader, AMegabyteInACallIsReadInLinearTime) {
  const std::string answer =
      "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":\"" + std::string(1 << 20, '<') + "\"}}</tool_call>";
  EXPECT_EQ(read_in_pieces(kTagged, answer, 3).calls.size(), 1u);
}

TEST(JsonSlice, GivesThePartsAsTheyAreSpelt) {
  const std::string_view json =
      R"( { "a" : 1.50E0 , "b":[ {"x":"]}\"," } , [2,[]] ,"s" ], "":null,"c":{ } } )";
  EXPECT_EQ(member_slice(json, "a"), "1.50E0");
  EXPECT_EQ(member_slice(json, ""), "null");
  EXPECT_EQ(member_slice(json, "c"), "{ }");
  EXPECT_EQ(member_slice(json, "x"), std::nullopt);
  EXPECT_EQ(item_slices(*member_slice(json, "b")),
            (std::vector<std::string_view>{"{\"x\":\"]}\\\",\" }", "[2,[]]", "\"s\""}));
  EXPECT_TRUE(item_slices("[ ]").empty());
  for (const std::string_view broken : {"", "{", "[", "{\"a", "{\"a\":", "[1,", "{\"a\\", "]", "}"}) {
    member_slice(broken, "a");
    item_slices(broken);
  }
}

}  // namespace
}  // namespace deepserve::daemon
