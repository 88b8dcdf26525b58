// A stream that is read on after its connection was lost.
#include "daemon/api/choice.h"
#include "tests/unit/api/resume_helpers.h"

namespace deepserve::daemon {
namespace {

std::string completion(const std::string& more = "") {
  return post("/v1/completions", R"({"prompt": "a", "stream": true)" + more + "}", kResumable);
}
std::string chat(const std::string& more = "") {
  return post("/v1/chat/completions",
              R"({"messages": [{"role": "user", "content": "hi"}], "stream": true)" + more + "}", kResumable);
}

// Whatever a runner says, a client that loses its connection after every single event hears the same as one
// that never does.
void expect_resumable_everywhere(const std::string& request,
                                 const std::vector<std::function<void(ResponseSink&)>>& steps,
                                 const std::string& chat_template = "") {
  ApiServer test;
  if (!chat_template.empty()) test.serving.model_rows[0].facts->chat_template = chat_template;
  Client client = test.connect();
  ASSERT_TRUE(client.send(request));
  ResponseSink& sink = test.sink();
  sink.on_accepted({});
  std::string stepwise;
  for (const auto& step : steps) {  // each step is told by itself
    step(sink);
    client.received();
  }
  const Answer answer = client.answer();
  ASSERT_TRUE(answer.complete);
  StreamSoFar whole;
  whole.take(answer.body);
  ASSERT_EQ(whole.dones + (whole.error.empty() ? 0 : 1), 1);

  size_t cuts = 0;
  for (size_t end = answer.body.find("\n\n"); end != std::string::npos;
       end = answer.body.find("\n\n", end + 2)) {
    StreamSoFar resumed;
    resumed.take(answer.body.substr(0, end + 2));
    if (resumed.dones != 0 || !resumed.error.empty()) continue;
    Client again = test.connect();
    ASSERT_TRUE(again.send(get_events(resumed.last_id)));
    const Answer rest = again.answer();
    ASSERT_EQ(rest.status, 200) << resumed.last_id << rest.body;
    resumed.take(rest.body);
    SCOPED_TRACE("after " + resumed.last_id + " of\n" + answer.body);
    EXPECT_EQ(resumed.dones, whole.dones);
    EXPECT_EQ(resumed.usages, whole.usages);
    EXPECT_EQ(resumed.error, whole.error);
    for (const auto& [index, choice] : whole.choices) {
      EXPECT_EQ(resumed.choices[index].text, choice.text);
      EXPECT_EQ(resumed.choices[index].calls, choice.calls);
      EXPECT_EQ(resumed.choices[index].logprobs, choice.logprobs);
      EXPECT_EQ(resumed.choices[index].roles, choice.roles);
      EXPECT_EQ(resumed.choices[index].finishes, choice.finishes);
    }
    ++cuts;
  }
  EXPECT_GE(cuts, 2u);
}

std::function<void(ResponseSink&)> says(ipc::Delta event) {
  return [event](ResponseSink& sink) { sink.on_delta(event); };
}
std::function<void(ResponseSink&)> ends(uint16_t choice = 0, bool last = true) {
  return [=](ResponseSink& sink) { sink.on_finished(finished(ipc::FinishReason::kStop, last, choice)); };
}
ipc::Delta with_logprobs(ipc::Delta event) {
  for (const ipc::TokenId token : event.tokens) event.logprobs.push_back({{token, -0.5f, event.text}});
  return event;
}

TEST(Resume, AChatAfterAnyOfItsEvents) {
  expect_resumable_everywhere(chat(R"(, "stream_options": {"include_usage": true})"),
                              {says(delta("Hel")), says(delta("", {8})), says(delta("lo", {9, 10})),
                               says(delta(" tail", {})), ends()});
}

TEST(Resume, SeveralChoicesEachAtItsOwnPlace) {
  expect_resumable_everywhere(
      chat(R"(, "n": 3)"),
      {says(delta("a", {1}, 2)), says(delta("b", {1}, 0)), says(delta("c", {2}, 2)), ends(2, false),
       says(delta("d", {1, 2}, 1)), ends(0, false), says(delta("e", {3}, 1)), ends(1)});
}

TEST(Resume, LogProbabilitiesAreToldOnce) {
  expect_resumable_everywhere(
      completion(R"(, "logprobs": 1)"),
      {says(with_logprobs(delta("a"))), says(with_logprobs(delta("", {8}))),
       says(with_logprobs(delta("b", {9}))), says(with_logprobs(delta("", {10}))), ends()});
}

TEST(Resume, AnEchoedPromptAndWhatFollows) {
  ipc::Delta echo = with_logprobs(delta("Once", {1}));
  echo.echo = true;
  ipc::Delta more = with_logprobs(delta("", {2}));
  more.echo = true;
  more.index = 1;
  ipc::Delta upon = with_logprobs(delta(" upon", {3}));
  upon.echo = true;
  upon.index = 2;
  expect_resumable_everywhere(completion(R"(, "echo": true, "logprobs": 1)"),
                              {says(echo), says(more), says(upon), says(with_logprobs(delta(" a"))), ends()});
}

TEST(Resume, ToolCallsBesideText) {
  const std::string tools = R"(, "tools": [{"type": "function", "function": {"name": "f"}}])";
  const std::string call = R"(<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>)";
  expect_resumable_everywhere(
      chat(tools),
      {says(delta("Let me")), says(delta(" see." + call, {8, 9})), says(delta("<tool_call>{\"name\"", {10})),
       says(delta(": \"f\", \"arguments\": {}}</tool_call>", {11})), ends()},
      "chatml");
  // The whole answer is the call: nobody knows before its end.
  expect_resumable_everywhere(
      chat(tools), {says(delta(R"({"name": "f",)")), says(delta(R"( "parameters": {}})", {8})), ends()},
      "llama3");
}

TEST(Resume, AFailureIsToldAgain) {
  expect_resumable_everywhere(completion(), {says(delta("a")), says(delta("b")), [](ResponseSink& sink) {
                                               sink.on_failed({Code::kRunnerLost, "gone"});
                                             }});
}

TEST(Resume, ItGoesOnWithoutItsClientAndWithSeveral) {
  ApiServer test;
  std::vector<std::string> bodies;
  {
    Client client = test.connect();
    ASSERT_TRUE(client.send(completion()));
    test.sink().on_accepted({});
    test.sink().on_delta(delta("one"));
    bodies.push_back(client.part("one").body);
    client.hang_up();
    pump_some(test.loop);
  }
  EXPECT_TRUE(test.serving.forgotten.empty());
  test.sink().on_delta(delta(" two", {8}));
  Client resumed = test.connect(), other = test.connect();
  ASSERT_TRUE(resumed.send(get_events("0000000000000001:1")));
  ASSERT_TRUE(other.send(get_events("")));
  EXPECT_EQ(resumed.part("two").fields.at("x-request-id"), "0000000000000001");
  EXPECT_EQ(other.part("two").body.find(" three"), std::string::npos);
  test.sink().on_delta(delta(" three", {9}));
  test.sink().on_finished(finished());
  StreamSoFar rest, all;
  rest.take(resumed.answer().body);
  all.take(other.answer().body);
  EXPECT_EQ(rest.choices[0].text, " two three");
  EXPECT_EQ(all.choices[0].text, "one two three");
  EXPECT_EQ(rest.dones + all.dones, 2);
}

TEST(Resume, AnOrdinaryStreamEndsWithItsClient) {
  ApiServer test;
  {
    Client client = test.connect();
    ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a", "stream": true})",
                                 "Idempotency-Key: stainless-python-retry-1\r\n")));
    test.sink().on_accepted({});
    Client other = test.connect();
    ASSERT_TRUE(other.send(get_events("")));
    EXPECT_EQ(other.answer().status, 409);
    client.hang_up();
    pump_some(test.loop);
  }
  EXPECT_EQ(test.serving.forgotten, std::vector<RequestId>{1});
}

TEST(Resume, OnlyItsOwnClientMay) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completion()));
  test.sink().on_accepted({});
  test.client = "somebody else";
  for (const std::string last : {"", "0000000000000001:0"}) {
    Client other = test.connect();
    ASSERT_TRUE(other.send(get_events(last)));
    EXPECT_EQ(other.answer().status, 404);
  }
  test.client.clear();
  Client own = test.connect();
  ASSERT_TRUE(own.send(get_events("0000000000000001:7")));  // further than there is: it waits
  test.sink().on_finished(finished());
  StreamSoFar rest;
  rest.take(own.answer().body);
  EXPECT_EQ(rest.error, "gone");
}

TEST(Resume, AnIdOfOtherEventsOrOfNoneIsRefused) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completion()));
  test.sink().on_accepted({});
  for (const std::string last : {"0000000000000002:0", "1", "0000000000000001:x", "0000000000000001"}) {
    Client other = test.connect();
    ASSERT_TRUE(other.send(get_events(last)));
    const Answer answer = other.answer();
    EXPECT_EQ(answer.status, 400) << last;
    EXPECT_EQ(json_of(answer.body).at_pointer("/error/param").as_string(), "Last-Event-ID");
  }
}

TEST(Resume, AfterItsWindowItIsGoneAndOfAnotherLifeToo) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completion()));
  test.sink().on_accepted({});
  test.sink().on_finished(finished());
  ASSERT_EQ(client.answer().status, 200);
  const uint64_t now_ns = monotonic_ns();
  test.api.tick(now_ns + 20 * kSecond_ns);
  EXPECT_EQ(test.api.kept().size(), 1u);
  test.api.tick(now_ns + 31 * kSecond_ns);
  EXPECT_EQ(test.api.kept().size(), 0u);
  const auto status_of = [&](const std::string& last, RequestId id) {
    Client other = test.connect();
    EXPECT_TRUE(other.send(get_events(last, id)));
    return other.answer().status;
  };
  EXPECT_EQ(status_of("0000000000000001:0", 1), 410);
  EXPECT_EQ(status_of("", 1), 410);
  EXPECT_EQ(status_of("00000000000000ff:3", 0xff), 410);  // another dsd's
  EXPECT_EQ(status_of("", 0xff), 404);
}

TEST(Resume, APlaceThatThereIsNotIsGone) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completion()));
  test.sink().on_accepted({});
  test.sink().on_delta(delta("one"));
  test.sink().on_delta(delta(" two", {8}));
  test.sink().on_finished(finished());
  client.answer();
  for (const char* place : {"1+18446744073709551615", "1+5", "3", "1c1", "e1"}) {
    Client again = test.connect();
    ASSERT_TRUE(again.send(get_events("0000000000000001:" + std::string(place))));
    StreamSoFar told;
    told.take(again.answer().body);
    EXPECT_EQ(told.error, "gone") << place;
    EXPECT_EQ(told.choices[0].text, "") << place;
    EXPECT_EQ(told.dones, 0) << place;
  }
}

TEST(Resume, AHeadAloneHasNoEvents) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(completion()));
  test.sink().on_accepted({});
  test.sink().on_delta(delta("one"));
  std::string request = get_events("");
  request.replace(0, 3, "HEAD");
  Client other = test.connect();
  ASSERT_TRUE(other.send(request + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(other.answer(false).fields.at("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(other.answer().status, 200);  // the next answer begins where the head ended
}

// A reader that was not asked yet when all of it was there, and nothing is kept for others any more.
TEST(Resume, EventsOfAnAnswerInOnePieceThatIsKeptNoLongerAreWhole) {
  ApiServer test({}, 10'000, 1 << 20, 0, 10'000);
  Client whole = test.connect(), events = test.connect();
  ASSERT_TRUE(whole.send(post("/v1/completions", R"({"prompt": "a"})", kResumable)));
  test.sink().on_accepted({});
  ASSERT_TRUE(events.send(get_events("")));
  pump_some(test.loop);
  const std::string text(20'000, 'x');
  test.sink().on_delta(delta(text));
  test.api.tick(monotonic_ns());
  ASSERT_EQ(test.api.kept().size(), 0u);
  test.sink().on_finished(finished());
  StreamSoFar told;
  told.take(events.answer().body);
  EXPECT_EQ(told.choices[0].text, text);
  EXPECT_EQ(told.dones, 1);
  EXPECT_EQ(json_of(whole.answer().body).at_pointer("/choices/0/text").as_string(), text);
}

TEST(Resume, WhatWasLetGoStaysSo) {
  Choice choice;
  ipc::Delta event = delta("text", {7});
  event.logprobs = {{{7, -0.5f, "text"}}};
  choice.take(event, true, 0, false);
  choice.release(choice.heard);
  choice.release({});  // what a slower reader has, once all was given up
  EXPECT_FALSE(choice.has({}));
  EXPECT_TRUE(choice.has(choice.heard));
  EXPECT_EQ(choice.text_from(choice.heard), "");
}

TEST(Resume, NoStreamIsMadeOfTheBestOfSeveral) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a", "best_of": 2})", kResumable)));
  test.sink().on_accepted({});
  Client other = test.connect();
  ASSERT_TRUE(other.send(get_events("")));
  EXPECT_EQ(other.answer().status, 400);
}

TEST(Resume, AnAnswerInOnePieceCanBeReadAsEvents) {
  ApiServer test;
  Client client = test.connect();
  ASSERT_TRUE(client.send(post("/v1/completions", R"({"prompt": "a"})", kResumable)));
  test.sink().on_accepted({});
  Client other = test.connect();
  ASSERT_TRUE(other.send(get_events("")));
  test.sink().on_delta(delta("text"));
  EXPECT_EQ(other.part("text").status, 200);
  test.sink().on_finished(finished());
  EXPECT_EQ(json_of(client.answer().body).at_pointer("/choices/0/text").as_string(), "text");
  EXPECT_TRUE(other.answer().body.ends_with("data: [DONE]\n\n"));
}

TEST(Resume, OverTheCapTheOldestEndedGoFirstAndThenWhatIsKeptOfTheLargest) {
  ApiServer test({}, 10'000, 1 << 20, 0, 100'000);
  Client first = test.connect();
  ASSERT_TRUE(first.send(completion()));
  test.sink(1).on_accepted({});
  test.sink(1).on_delta(delta(std::string(40'000, 'x')));
  test.sink(1).on_finished(finished());
  ASSERT_EQ(first.answer().status, 200);
  Client second = test.connect();
  ASSERT_TRUE(second.send(completion()));
  test.sink(2).on_accepted({});
  test.sink(2).on_delta(delta(std::string(70'000, 'y')));
  ASSERT_EQ(second.part("yyy").status, 200);
  test.api.tick(monotonic_ns());
  EXPECT_EQ(test.api.kept().size(), 1u);  // the second is left
  test.sink(2).on_delta(delta(std::string(70'000, 'z')));
  test.api.tick(monotonic_ns());
  EXPECT_EQ(test.api.kept().size(), 0u);
  EXPECT_TRUE(test.serving.forgotten.empty());  // it goes on for its reader
  test.sink(2).on_delta(delta("end"));
  test.sink(2).on_finished(finished());
  StreamSoFar told;
  told.take(second.answer().body);
  EXPECT_EQ(told.choices[0].text, std::string(70'000, 'y') + std::string(70'000, 'z') + "end");
  Client third = test.connect();
  ASSERT_TRUE(third.send(get_events("", 2)));
  EXPECT_EQ(third.answer().status, 410);
}

TEST(Resume, WhatTakesTooLongEndsWithoutAReader) {
  ApiServer test({}, 10'000, 1 << 20, kSecond_ns);
  {
    Client client = test.connect();
    ASSERT_TRUE(client.send(completion()));
    test.sink().on_accepted({});
    client.hang_up();
    pump_some(test.loop);
  }
  test.api.tick(monotonic_ns() + 2 * kSecond_ns);
  EXPECT_EQ(test.serving.forgotten, std::vector<RequestId>{1});
  Client other = test.connect();
  ASSERT_TRUE(other.send(get_events("")));
  EXPECT_NE(other.answer().body.find("request_timeout"), std::string::npos);
}

}  // namespace
}  // namespace deepserve::daemon
