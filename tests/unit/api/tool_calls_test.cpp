#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

const std::string kTools =
    R"("tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": 1.0, "y": 1e3}}}])";
const std::string kAsk = R"({"messages": [{"role": "user", "content": "hi"}], )" + kTools;

struct ToolServer : ApiServer {
  explicit ToolServer(const std::string& chat_template = "chatml") {
    serving.model_rows[0].facts->chat_template = chat_template;
  }
};

TEST(ToolCalls, AreTakenOutOfAnAnswerInOnePiece) {
  ToolServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/chat/completions", kAsk + "}")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_delta(delta("<tool_"));
  sink.on_delta(delta("call>{\"name\": \"f\", \"arguments\": {\"x\": 2}}</tool_call>"));
  sink.on_finished(finished());
  const auto choice = json_of(client.answer().body).at_pointer("/choices/0");
  EXPECT_TRUE(choice.at_pointer("/message/content").is_null());
  EXPECT_EQ(choice.at("finish_reason").as_string(), "tool_calls");
  EXPECT_EQ(choice.at_pointer("/message/tool_calls"),
            boost::json::parse(R"([{"id": "call_0000000000000001_0_0", "type": "function",
                                    "function": {"name": "f", "arguments": "{\"x\": 2}"}}])"));
}

TEST(ToolCalls, AreEventsOfAStream) {
  ToolServer test("llama3");
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/chat/completions", kAsk + R"(, "stream": true})")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_delta(delta("{\"name\": \"f\", "));
  sink.on_delta(delta("\"parameters\": {}}"));
  sink.on_finished(finished());
  const std::string body = client.answer().body;
  EXPECT_NE(
      body.find(R"("delta":{"tool_calls":[{"index":0,"id":"call_0000000000000001_0_0","type":"function",)"
                R"("function":{"name":"f","arguments":"{}"}}]})"),
      std::string::npos)
      << body;
  EXPECT_NE(body.find(R"("finish_reason":"tool_calls")"), std::string::npos);
  EXPECT_EQ(body.find("parameters"), std::string::npos);
  EXPECT_TRUE(body.ends_with("data: [DONE]\n\n"));
}

TEST(ToolCalls, WithoutToolsTheAnswerIsText) {
  ToolServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/chat/completions", kAsk + R"(, "tool_choice": "none"})")));
  ResponseSink& sink = test.sink();
  EXPECT_EQ(test.spec().prompt.tools, "");
  sink.on_accepted({});
  sink.on_delta(delta("<tool_call>{\"name\": \"f\"}</tool_call>"));
  sink.on_finished(finished());
  const auto choice = json_of(client.answer().body).at_pointer("/choices/0");
  EXPECT_EQ(choice.at_pointer("/message/content").as_string(), "<tool_call>{\"name\": \"f\"}</tool_call>");
  EXPECT_EQ(choice.at("finish_reason").as_string(), "stop");
}

TEST(ToolCalls, ReachTheTemplateAsTheyAreWritten) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/chat/completions", R"({"messages": [
      {"role": "user", "content": "hi"},
      {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls":
          [ {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1.0}"}}]},
      {"role": "tool", "tool_call_id": "c", "name": "f", "content": "7"},
      {"role": "assistant", "content": "It", "prefix": true}],
      "chat_template_kwargs": { "enable_thinking": false }, "parallel_tool_calls": true, )" +
                                                           kTools + "}")));
  test.sink();
  const ipc::Prompt& prompt = test.spec().prompt;
  EXPECT_EQ(prompt.chat[1].tool_calls,
            R"([ {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1.0}"}}])");
  EXPECT_EQ(prompt.chat[1].content, "");
  EXPECT_EQ(prompt.chat[1].reasoning, "hm");
  EXPECT_EQ(prompt.chat[2].tool_call_id, "c");
  EXPECT_EQ(prompt.chat[2].name, "f");
  EXPECT_EQ(prompt.tools, kTools.substr(9));
  EXPECT_EQ(prompt.template_options, R"({ "enable_thinking": false ,"continue_final_message":true})");
}

TEST(ToolCalls, WhatIsWrongWithThemIsNamed) {
  ApiServer test;
  const auto with_call = [](const std::string& call) {
    return R"("messages": [{"role": "assistant", "tool_calls": [)" + call + "]}]";
  };
  const std::string user = R"("messages": [{"role": "user", "content": "a"}], )";
  const auto tool = [](const std::string& members) {
    return R"("tools": [{"type": "function", "function": {)" + members + "}}]";
  };
  const std::pair<std::string, const char*> bads[] = {
      {with_call("1"), "messages[0].tool_calls[0]"},
      {with_call("{}"), "messages[0].tool_calls[0].id"},
      {with_call(R"({"id": "c"})"), "messages[0].tool_calls[0].type"},
      {with_call(R"({"id": "c", "type": "custom"})"), "messages[0].tool_calls[0].type"},
      {with_call(R"({"id": "c", "type": "function"})"), "messages[0].tool_calls[0].function"},
      {with_call(R"({"id": "c", "type": "function", "function": {"name": "f", "arguments": {}}})"),
       "messages[0].tool_calls[0].function.arguments"},
      {R"("messages": [{"role": "tool", "content": "a"}])", "messages[0].tool_call_id"},
      {R"("messages": [{"role": "user", "content": "a", "tool_calls": [{}]}])", "messages[0].tool_calls"},
      {R"("messages": [{"role": "assistant", "content": "a", "prefix": true}, )"
       R"({"role": "user", "content": "a"}])",
       "messages[0].prefix"},
      {user + R"("tools": {})", "tools"},
      {user + R"("tools": [7])", "tools[0]"},
      {user + R"("tools": [{"type": "function"}])", "tools[0].function"},
      {user + R"("tools": [{"type": "web_search"}])", "tools[0].type"},
      {user + tool(R"("name": "a b")"), "tools[0].function.name"},
      {user + tool(R"("name": ")" + std::string(65, 'x') + "\""), "tools[0].function.name"},
      {user + tool(R"("name": "f", "parameters": [])"), "tools[0].function.parameters"},
      {user + tool(R"("name": "f", "strict": true)"), "tools[0].function.strict"},
      {user + tool(R"("name": "f", "cost": 1)"), "tools[0].function.cost"},
      {user + tool(R"("name": "f")") + R"(, "tool_choice": "required")", "tool_choice"},
      {user + tool(R"("name": "f")") + R"(, "tool_choice": {"type": "function"})", "tool_choice"},
      {user + R"("tool_choice": "auto")", "tool_choice"},
      {user + R"("parallel_tool_calls": false)", "parallel_tool_calls"},
      {user + R"("chat_template_kwargs": [])", "chat_template_kwargs"},
      {user + R"("chat_template_kwargs": {"messages": []})", "chat_template_kwargs.messages"},
      {user + R"("continue_final_message": true, "add_generation_prompt": true)", "add_generation_prompt"},
      {user + R"("add_generation_prompt": 1)", "add_generation_prompt"},
  };
  for (const auto& [members, param] : bads) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(post("/v1/chat/completions", "{" + members + "}")));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 400) << members;
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/param"), param) << members << answer.body;
  }
  EXPECT_TRUE(test.serving.started.empty());
}

}  // namespace
}  // namespace deepserve::daemon
