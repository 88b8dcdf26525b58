// What the answer is bound to be: which fields say so, and what reaches the runner.
#include "daemon/api/response_format.h"

#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

using ipc::ConstraintKind;

std::string completion(const std::string& members) {
  return post("/v1/completions", R"({"prompt": "a")" + (members.empty() ? "" : ", " + members) + "}");
}

ipc::Constraint constraint_of(const std::string& members) {
  ApiServer test;
  Client client = test.connect();
  EXPECT_TRUE(client.send(completion(members)));
  test.sink();
  return test.spec().generation.constraint;
}

TEST(ResponseFormat, EachWayToBindTheAnswerReachesTheRunner) {
  const std::string schema =
      R"({"type":"object","properties":{"b":{"const":1.5},"a":{"enum":["\u20ac","\n"]}}})";
  const std::string crossed = boost::json::serialize(boost::json::parse(schema));
  const std::tuple<std::string, ConstraintKind, std::string> cases[] = {
      {"", ConstraintKind::kNone, ""},
      {R"("response_format": null)", ConstraintKind::kNone, ""},
      {R"("response_format": {"type": "text"})", ConstraintKind::kNone, ""},
      {R"("response_format": {"type": "json_object"})", ConstraintKind::kJsonObject, ""},
      {R"("response_format": {"type": "json_schema", "json_schema": {"name": "it", "description": "d",
        "strict": true, "schema": )" +
           schema + "}}",
       ConstraintKind::kJsonSchema, crossed},
      {R"("grammar": "root ::= \"a\"")", ConstraintKind::kGrammar, R"(root ::= "a")"},
      {R"("guided_json": )" + schema, ConstraintKind::kJsonSchema, crossed},
      {R"("guided_json": "{\"type\": \"null\"}")", ConstraintKind::kJsonSchema, R"({"type": "null"})"},
      {R"("guided_grammar": "root ::= [a-z]")", ConstraintKind::kGrammar, "root ::= [a-z]"},
      {R"("guided_choice": ["yes", "no \"\\\n\u0001"])", ConstraintKind::kGrammar,
       R"(root ::= "yes" | "no \"\\\x0a\x01")"},
      {R"("structured_outputs": {"json": )" + schema + "}", ConstraintKind::kJsonSchema, crossed},
      {R"("structured_outputs": {"json_object": true})", ConstraintKind::kJsonObject, ""},
      {R"("structured_outputs": {"json_object": false, "regex": null})", ConstraintKind::kNone, ""},
      {R"("structured_outputs": {"grammar": "root ::= \"a\""})", ConstraintKind::kGrammar, R"(root ::= "a")"},
      {R"("structured_outputs": {"choice": ["a"]})", ConstraintKind::kGrammar, R"(root ::= "a")"},
  };
  for (const auto& [members, kind, text] : cases) {
    const ipc::Constraint constraint = constraint_of(members);
    EXPECT_EQ(constraint.kind, kind) << members;
    EXPECT_EQ(constraint.text, text) << members;
  }
}

TEST(ResponseFormat, WhatIsWrongIsRefusedByItsName) {
  const std::string json_schema = "response_format.json_schema";
  const auto with_schema = [](const std::string& members) {
    return R"("response_format": {"type": "json_schema", "json_schema": {)" + members + "}}";
  };
  const std::pair<std::string, std::string> bads[] = {
      {R"("response_format": "json")", "response_format"},
      {R"("response_format": {})", "response_format.type"},
      {R"("response_format": {"type": "xml"})", "response_format.type"},
      {R"("response_format": {"type": "text", "more": 1})", "response_format.more"},
      {R"("response_format": {"type": "json_schema"})", json_schema},
      {R"("response_format": {"type": "json_schema", "json_schema": []})", json_schema},
      {R"("response_format": {"type": "json_object", "json_schema": {}})", json_schema},
      {with_schema(R"("schema": {})"), json_schema + ".name"},
      {with_schema(R"("name": "a b", "schema": {})"), json_schema + ".name"},
      {with_schema("\"name\": \"" + std::string(65, 'a') + R"(", "schema": {})"), json_schema + ".name"},
      {with_schema(R"("name": "a")"), json_schema + ".schema"},
      {with_schema(R"("name": "a", "schema": true)"), json_schema + ".schema"},
      {with_schema(R"("name": "a", "schema": {}, "strict": 1)"), json_schema + ".strict"},
      {with_schema(R"("name": "a", "schema": {}, "description": 1)"), json_schema + ".description"},
      {with_schema(R"("name": "a", "schema": {}, "other": 1)"), json_schema + ".other"},
      {with_schema("\"name\": \"a\", \"schema\": {\"title\": \"" + std::string(kConstraintBytesMax, 'x') +
                   "\"}"),
       json_schema + ".schema"},
      {R"("grammar": "")", "grammar"},
      {R"("grammar": {})", "grammar"},
      {"\"grammar\": \"" + std::string(kConstraintBytesMax + 1, 'x') + "\"", "grammar"},
      {R"("guided_json": 5)", "guided_json"},
      {R"("guided_grammar": 5)", "guided_grammar"},
      {R"("guided_choice": [])", "guided_choice"},
      {R"("guided_choice": ["a", ""])", "guided_choice"},
      {R"("guided_regex": "a*")", "guided_regex"},
      {R"("structured_outputs": [])", "structured_outputs"},
      {R"("structured_outputs": {"regex": "a*"})", "structured_outputs.regex"},
      {R"("structured_outputs": {"structural_tag": "{}"})", "structured_outputs.structural_tag"},
      {R"("structured_outputs": {"json": 5})", "structured_outputs.json"},
      {R"("structured_outputs": {"other": 1})", "structured_outputs.other"},
      {R"("response_format": {"type": "json_object"}, "grammar": "root ::= \"a\"")", "grammar"},
      {R"("guided_json": {}, "guided_choice": ["a"])", "guided_choice"},
      {R"("structured_outputs": {"json": {}, "json_object": true})", "structured_outputs.json_object"},
  };
  ApiServer test;
  for (const auto& [members, param] : bads) {
    Client client = test.connect();
    ASSERT_TRUE(client.send(completion(members)));
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 400) << members;
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/param").as_string(), param) << members;
  }
  EXPECT_TRUE(test.serving.started.empty());
}

TEST(ResponseFormat, WhatTheRunnerCannotHonourIsTheFieldsFault) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completion(R"("grammar": "root ::= a")")));
  test.sink().on_failed({Code::kInvalidRequest, "the grammar has no rule 'a'"});
  const auto error = json_of(client.answer().body).at("error");
  EXPECT_EQ(error.at("param").as_string(), "grammar");
  EXPECT_EQ(error.at("type").as_string(), "invalid_request_error");
  // Other faults of the same request are not.
  ASSERT_TRUE(client.send(completion(R"("grammar": "root ::= a", "stop_token_ids": [9])")));
  test.sink(2).on_failed({Code::kInvalidRequest, "stop_token_ids holds token 9, the vocabulary ends at 8"});
  EXPECT_TRUE(json_of(client.answer().body).at_pointer("/error/param").is_null());
}

}  // namespace
}  // namespace deepserve::daemon
