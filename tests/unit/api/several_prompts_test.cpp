// One answer out of several prompts, of more choices than are told, and with the prompt in front.
#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

std::string completions(const std::string& members) {
  return post("/v1/completions", "{" + members + "}");
}
const std::string kTwoPrompts = R"("prompt": ["one", "two"])";

std::string text_of(const boost::json::value& body, size_t choice) {
  return std::string(body.at("choices").at(choice).at("text").as_string());
}

// A token of one choice with the log probability that is given.
ipc::Delta scored(std::string text, float logprob, uint16_t choice) {
  ipc::Delta event = delta(std::move(text), {1}, choice);
  event.logprobs = {{{1, logprob, event.text}}};
  return event;
}

void accept_both(ApiServer& test) {
  test.sink(2).on_accepted({.request = 2, .prompt_tokens = 7, .cached_tokens = 1});
  test.sink(1).on_accepted({.request = 1, .prompt_tokens = 5, .cached_tokens = 2});
}

TEST(SeveralPrompts, EachIsARequestOfItsOwnAndTheAnswerIsOne) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(kTwoPrompts + R"(, "n": 2, "seed": 9, "stop": "x")")));
  accept_both(test);
  EXPECT_EQ(test.spec(1).prompt.text, "one");
  EXPECT_EQ(test.spec(2).prompt.text, "two");
  EXPECT_EQ(test.spec(2).generation.seed, 9u);
  EXPECT_EQ(test.spec(2).generation.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(test.spec(2).prompt_bytes, 3u);
  EXPECT_EQ(test.spec(1).whole, 0u);  // it is the first
  EXPECT_EQ(test.spec(2).whole, 1u);
  for (const RequestId id : {1, 2}) {
    EXPECT_EQ(test.spec(id).whole_parts, 2u);
    EXPECT_EQ(test.spec(id).whole_prompt_bytes, 6u);
  }
  test.sink(2).on_delta(delta("C", {1}, 0));
  test.sink(2).on_delta(delta("D", {1}, 1));
  test.sink(2).on_finished(finished(ipc::FinishReason::kLength, false, 0));
  test.sink(2).on_finished(finished(ipc::FinishReason::kStop, true, 1));
  EXPECT_EQ(client.received(), "");  // the first one still runs
  test.sink(1).on_delta(delta("A", {1}, 0));
  test.sink(1).on_delta(delta("B", {1}, 1));
  test.sink(1).on_finished(finished(ipc::FinishReason::kStop, false, 1));
  test.sink(1).on_finished(finished(ipc::FinishReason::kStop, true, 0));
  const Answer answer = client.answer();
  EXPECT_EQ(answer.fields.at("x-request-id"), "0000000000000001");
  const auto body = json_of(answer.body);
  ASSERT_EQ(body.at("choices").as_array().size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(text_of(body, i), std::string(1, static_cast<char>('A' + i)));
    EXPECT_EQ(body.at("choices").at(i).at("index").as_int64(), static_cast<int64_t>(i));
  }
  EXPECT_EQ(body.at("choices").at(2).at("finish_reason").as_string(), "length");
  EXPECT_EQ(body.at_pointer("/usage/prompt_tokens").as_int64(), 10);  // the runner's last word: 5 each
  EXPECT_EQ(body.at_pointer("/usage/completion_tokens").as_int64(), 6);
  EXPECT_EQ(body.at_pointer("/usage/prompt_tokens_details/cached_tokens").as_int64(), 4);
}

TEST(SeveralPrompts, EqualOnesDifferUnlessTheSeedIsNamed) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(R"("prompt": [[1, 2], [1, 2]])")));
  test.sink(2);
  EXPECT_NE(test.spec(1).generation.seed, test.spec(2).generation.seed);
  EXPECT_EQ(test.spec(2).prompt.tokens, (std::vector<ipc::TokenId>{1, 2}));
}

TEST(SeveralPrompts, AStreamBeginsWhenAllAreAcceptedAndCarriesAll) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(kTwoPrompts + R"(, "stream": true)")));
  test.sink(1).on_accepted({.request = 1, .prompt_tokens = 5, .cached_tokens = 0});
  test.sink(1).on_delta(delta("early"));
  EXPECT_EQ(client.received(), "");
  test.sink(2).on_accepted({.request = 2, .prompt_tokens = 5, .cached_tokens = 0});
  EXPECT_EQ(client.part("early").status, 200);
  test.sink(2).on_delta(delta("late"));
  test.sink(1).on_finished(finished());
  test.sink(2).on_finished(finished());
  const Answer answer = client.answer();
  const size_t late = answer.body.find("\"late\"");
  ASSERT_NE(late, std::string::npos);
  EXPECT_NE(answer.body.substr(answer.body.rfind("data: ", late)).find("\"index\":1,"), std::string::npos);
  EXPECT_NE(answer.body.find("id: 0000000000000001:1f.1\n"), std::string::npos);
  EXPECT_TRUE(answer.body.ends_with("data: [DONE]\n\n"));
}

TEST(SeveralPrompts, TheRefusalOfOneIsTheWholeAnswer) {
  for (const std::string stream : {R"()", R"(, "stream": true)"}) {
    ApiServer test;
    Client client = test.connect();
    ASSERT_TRUE(client.send(completions(kTwoPrompts + stream)));
    test.sink(1).on_accepted({});
    test.sink(1).on_delta(delta("x"));
    test.sink(2).on_refused(refusal(1200, ipc::Class::kNormal));
    EXPECT_EQ(test.serving.forgotten, std::vector<RequestId>{1});
    const Answer answer = client.answer();
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.fields.at("retry-after"), "2");
  }
}

TEST(SeveralPrompts, AFailureOfOneEndsTheStreamOfAll) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(kTwoPrompts + R"(, "stream": true)")));
  accept_both(test);
  test.sink(1).on_finished(finished());
  test.sink(2).on_failed({Code::kRunnerLost, "the runner died"});
  EXPECT_TRUE(test.serving.forgotten.empty());  // the other had ended
  const Answer answer = client.answer();
  EXPECT_NE(answer.body.find("event: error\n"), std::string::npos);
  EXPECT_EQ(answer.body.find("[DONE]"), std::string::npos);
}

TEST(SeveralPrompts, TooMuchBeforeAllAreAcceptedIsAnAnswerTooLarge) {
  ApiServer test({}, 10'000, 1000);
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(kTwoPrompts + R"(, "stream": true)")));
  test.sink(1).on_accepted({});
  test.sink(1).on_delta(delta(std::string(1001, 'x')));
  EXPECT_EQ(client.answer().status, 413);
  EXPECT_EQ(test.serving.forgotten, (std::vector<RequestId>{1, 2}));
}

TEST(SeveralPrompts, AHangUpForgetsAllThatRun) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(R"("prompt": ["a", "b", "c"])")));
  test.sink(3);
  test.sink(2).on_accepted({});
  test.sink(2).on_finished(finished());
  client.hang_up();
  EXPECT_TRUE(pump_until(test.loop, [&] { return test.serving.forgotten == std::vector<RequestId>{1, 3}; }));
}

TEST(BestOf, TellsTheLikeliestTokenByTokenTheBestFirst) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(R"("prompt": "a", "n": 2, "best_of": 4)")));
  ResponseSink& sink = test.sink();
  EXPECT_EQ(test.spec().generation.choices, 4);
  EXPECT_EQ(test.spec().generation.logprobs, 0);
  sink.on_accepted({});
  sink.on_delta(scored("worst", -3.0f, 0));
  sink.on_delta(scored("long", -0.5f, 1));
  for (int i = 0; i < 9; ++i) sink.on_delta(scored("+", -0.5f, 1));  // in sum far less likely than "second"
  sink.on_delta(scored("second", -0.7f, 3));
  for (const uint16_t choice : {0, 1, 2}) sink.on_finished(finished(ipc::FinishReason::kStop, false, choice));
  sink.on_finished(finished(ipc::FinishReason::kLength, true, 3));
  const auto body = json_of(client.answer().body);
  ASSERT_EQ(body.at("choices").as_array().size(), 2u);
  EXPECT_EQ(text_of(body, 0), "long+++++++++");
  EXPECT_EQ(text_of(body, 1), "second");
  EXPECT_EQ(body.at("choices").at(1).at("index").as_int64(), 1);
  EXPECT_EQ(body.at("choices").at(1).at("finish_reason").as_string(), "length");
  EXPECT_TRUE(body.at("choices").at(0).at("logprobs").is_null());  // nobody asked for them
}

TEST(BestOf, IsCountedPromptByPrompt) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(kTwoPrompts + R"(, "best_of": 2, "logprobs": 3)")));
  accept_both(test);
  EXPECT_EQ(test.spec().generation.logprobs, 3);
  for (const RequestId id : {RequestId{1}, RequestId{2}}) {
    test.sink(id).on_delta(scored("bad", -2.0f, 0));
    test.sink(id).on_delta(scored(id == 1 ? "good" : "fine", -1.0f, 1));
    test.sink(id).on_finished(finished(ipc::FinishReason::kStop, false, 0));
    test.sink(id).on_finished(finished(ipc::FinishReason::kStop, true, 1));
  }
  const auto body = json_of(client.answer().body);
  ASSERT_EQ(body.at("choices").as_array().size(), 2u);
  EXPECT_EQ(text_of(body, 0), "good");
  EXPECT_EQ(text_of(body, 1), "fine");
  EXPECT_TRUE(body.at("choices").at(0).at("logprobs").is_object());
}

TEST(BestOf, EqualToNChoosesNothing) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(R"("prompt": "a", "n": 2, "best_of": 2, "stream": true)")));
  test.sink();
  EXPECT_EQ(test.spec().generation.choices, 2);
  EXPECT_EQ(test.spec().generation.logprobs, ipc::kNoLogprobs);
}

ipc::Delta echoed(uint32_t index, std::string text, std::vector<std::string> tokens) {
  ipc::Delta event;
  event.echo = true;
  event.index = index;
  event.text = std::move(text);
  for (const std::string& token : tokens) {
    const auto id = static_cast<ipc::TokenId>(event.tokens.size() + 1);
    event.tokens.push_back(id);
    auto& entry = event.logprobs.emplace_back();
    if (index + event.tokens.size() > 1) entry = {{id, -0.5f, token}, {99, -0.25f, "z"}};
  }
  return event;
}

TEST(Echo, PutsThePromptFirstWithoutCountingIt) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(R"("prompt": "a", "echo": true, "stream": true)")));
  ResponseSink& sink = test.sink();
  EXPECT_TRUE(test.spec().generation.echo);
  sink.on_accepted({});
  ipc::Delta echo = echoed(0, "Once", {"Once"});
  echo.logprobs.clear();
  sink.on_delta(echo);
  EXPECT_NE(client.part("Once").body.find("id: 0000000000000001:e1\n"), std::string::npos);
  sink.on_delta(delta(" upon"));
  sink.on_finished(finished());
  EXPECT_NE(client.answer().body.find("id: 0000000000000001:1\n"), std::string::npos);
}

TEST(Echo, TellsThePromptsLogProbabilitiesTheFirstOfThemNull) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(R"("prompt": "a", "echo": true, "max_tokens": 0, "logprobs": 1)")));
  ResponseSink& sink = test.sink();
  EXPECT_EQ(test.spec().generation.tokens_max, 0u);
  EXPECT_EQ(test.spec().generation.logprobs, 1);
  sink.on_accepted({});
  sink.on_delta(echoed(0, "\u20acin fine", {"\u20ac", "in", " fine"}));
  sink.on_delta(echoed(3, " day", {" day"}));
  sink.on_finished(finished(ipc::FinishReason::kLength));
  const auto body = json_of(client.answer().body);
  EXPECT_EQ(text_of(body, 0), "\u20acin fine day");
  const auto& logprobs = body.at_pointer("/choices/0/logprobs");
  EXPECT_EQ(boost::json::serialize(logprobs.at("tokens")), "[\"\u20ac\",\"in\",\" fine\",\" day\"]");
  EXPECT_EQ(boost::json::serialize(logprobs.at("text_offset")), "[0,1,3,8]");
  ASSERT_EQ(logprobs.at("token_logprobs").as_array().size(), 4u);
  EXPECT_TRUE(logprobs.at("token_logprobs").at(0).is_null());
  EXPECT_TRUE(logprobs.at("top_logprobs").at(0).is_null());
  EXPECT_EQ(logprobs.at("token_logprobs").at(3).as_double(), -0.5);
  EXPECT_EQ(logprobs.at("top_logprobs").at(3).at("z").as_double(), -0.25);
}

// "<s>", the euro sign in two tokens, "<sep>", and what a stop string held back.
TEST(Echo, TheOffsetsAreWhereTheTokensAreInTheText) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(R"("prompt": "a", "echo": true, "logprobs": 0)")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  sink.on_delta(echoed(0, "", {"<s>"}));
  sink.on_delta(echoed(1, "Once", {" Once"}));
  sink.on_delta(echoed(2, "", {"\xe2"}));
  sink.on_delta(echoed(3, "\u20ac", {"\x82\xac"}));
  sink.on_delta(echoed(4, "", {"<sep>"}));
  sink.on_delta(echoed(5, "in", {"in"}));
  const auto answered = [&sink](uint32_t index, std::string text, std::string token) {
    ipc::Delta event = scored(std::move(text), -1.0f, 0);
    event.index = index;
    event.logprobs[0][0].text = std::move(token);
    sink.on_delta(event);
  };
  answered(0, "", " up");
  answered(1, " upon", "on");
  answered(2, "", "</s>");
  answered(3, "!", "!");
  sink.on_finished(finished());
  const auto body = json_of(client.answer().body);
  EXPECT_EQ(text_of(body, 0), "Once\u20acin upon!");
  EXPECT_EQ(boost::json::serialize(body.at_pointer("/choices/0/logprobs/text_offset")),
            "[0,0,4,5,5,5,7,10,12,12]");
}

TEST(Echo, DoesNotDecideWhichChoiceIsBest) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completions(R"("prompt": "a", "echo": true, "best_of": 2)")));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  for (const uint16_t choice : {0, 1}) {
    ipc::Delta echo = echoed(1, "P", {"P"});
    echo.choice = choice;
    for (int i = 0; i < (choice == 0 ? 8 : 0); ++i) echo.logprobs.push_back(echo.logprobs[0]);
    sink.on_delta(echo);
    sink.on_delta(scored(choice == 0 ? "bad" : "good", choice == 0 ? -2.0f : -1.0f, choice));
    sink.on_finished(finished(ipc::FinishReason::kStop, choice == 1, choice));
  }
  EXPECT_EQ(text_of(json_of(client.answer().body), 0), "Pgood");
}

}  // namespace
}  // namespace deepserve::daemon
