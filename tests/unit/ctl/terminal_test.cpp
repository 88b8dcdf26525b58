// dsctl on a terminal: colours, harmless output, and the conversation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <future>

#include "tests/unit/ctl/dsctl_process.h"
#include "tests/unit/ctl/fake_daemon.h"

namespace deepserve::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kPrompt = "> ";
const std::string kControl_c = "\x03";
const std::string kControl_d = "\x04";

// Answers "again" with an answer that never ends, "full" with a refusal for a minute, all else with "You said
// N.".
FakeAnswer converse(const FakeRequest& request) {
  const auto body = boost::json::parse(request.body);
  const auto& messages = body.at("messages").as_array();
  const std::string last = messages.back().at("content").as_string().c_str();
  if (last == "full") return error_answer(503, "server_overloaded", "retry-after-ms: 60000\r\n");
  if (last == "again") {
    FakeAnswer endless = stream_answer_of({chat_event("going on")});
    endless.bytes.resize(endless.bytes.size() - 5);
    endless.stays_open = true;
    return endless;
  }
  return stream_answer_of({chat_event("answer to "), chat_event(std::to_string(messages.size())), kDone});
}

TEST(OnATerminal, ListsHaveColoursUnlessAskedNotTo) {
  FakeDaemon daemon(
      [](const FakeRequest&) { return json_answer(200, R"([{"name":"tiny","state":"ready"}])"); });
  TerminalDsctl colored({"model", "ls", "--runtime-dir", daemon.runtime_dir()});
  EXPECT_EQ(colored.wait_for_end(), 0);
  EXPECT_THAT(colored.screen(), HasSubstr("\x1b[32mready\x1b[0m"));
  TerminalDsctl plain({"model", "ls", "--no-color", "--runtime-dir", daemon.runtime_dir()});
  EXPECT_EQ(plain.wait_for_end(), 0);
  EXPECT_THAT(plain.screen(), Not(HasSubstr("\x1b")));
}

TEST(OnATerminal, ControlCharactersOfAModelAreShownNotObeyed) {
  FakeDaemon daemon([](const FakeRequest&) {
    return stream_answer_of({chat_event("x\x1b]0;owned\ay"), kDone});
  });
  TerminalDsctl dsctl({"chat", "hi", "--runtime-dir", daemon.runtime_dir()});
  EXPECT_EQ(dsctl.wait_for_end(), 0);
  EXPECT_EQ(dsctl.screen(), "x\u241b]0;owned\u2407y\r\n");
}

TEST(OnATerminal, WhatTakesLongerThanASecondIsSaidAndTakenAwayAgain) {
  std::promise<void> release;
  FakeDaemon daemon([released = release.get_future().share()](const FakeRequest&) {
    released.wait();
    return json_answer(200, R"({"id":"tiny@cpu0","state":"ready","pid":7})");
  });
  TerminalDsctl dsctl({"runner", "restart", "tiny@cpu0", "--runtime-dir", daemon.runtime_dir()});
  EXPECT_TRUE(dsctl.wait_for("restarting tiny@cpu0: 1."));
  release.set_value();
  EXPECT_EQ(dsctl.wait_for_end(), 0);
  EXPECT_TRUE(dsctl.screen().ends_with("\r\x1b[Ktiny@cpu0 is ready again as pid 7\r\n")) << dsctl.screen();
}

TEST(Conversation, CarriesItsHistoryUntilCleared) {
  FakeDaemon daemon(converse);
  TerminalDsctl dsctl({"chat", "--runtime-dir", daemon.runtime_dir()});
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("one\r");
  ASSERT_TRUE(dsctl.wait_for("answer to 1")) << dsctl.screen();
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("grün\r");
  ASSERT_TRUE(dsctl.wait_for("answer to 3")) << dsctl.screen();
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("/clear\r");
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("/system Be brief.\r");
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("three\r");
  ASSERT_TRUE(dsctl.wait_for("answer to 2")) << dsctl.screen();
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type(kControl_d);
  EXPECT_EQ(dsctl.wait_for_end(), 0);
  const auto requests = daemon.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(
      boost::json::parse(requests[1].body).at("messages"),
      boost::json::parse(R"([{"role":"user","content":"one"},{"role":"assistant","content":"answer to 1"},
                                   {"role":"user","content":"grün"}])"));
  EXPECT_EQ(
      boost::json::parse(requests[2].body).at("messages"),
      boost::json::parse(R"([{"role":"system","content":"Be brief."},{"role":"user","content":"three"}])"));
}

TEST(Conversation, ControlDTypedTheMomentThePromptIsSeenEndsIt) {
  constexpr int kTries =
      30;  // each lost the key in one of seven while the terminal was switched after the prompt
  for (int i = 0; i < kTries; ++i) {
    TerminalDsctl dsctl({"chat", "--runtime-dir", "/nowhere"});
    ASSERT_TRUE(dsctl.wait_for(kPrompt));
    dsctl.type(kControl_d);
    ASSERT_EQ(dsctl.wait_for_end(), 0);
  }
}

TEST(Conversation, ControlCStopsTheAnswerNotTheProgram) {
  FakeDaemon daemon(converse);
  TerminalDsctl dsctl({"chat", "--runtime-dir", daemon.runtime_dir()});
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("again\r");
  ASSERT_TRUE(dsctl.wait_for("going on"));
  dsctl.type(kControl_c);
  ASSERT_TRUE(dsctl.wait_for("stopped")) << dsctl.screen();
  EXPECT_TRUE(daemon.wait_for_hang_ups(1));
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("two\r");
  ASSERT_TRUE(dsctl.wait_for("answer to 3")) << "the part that was shown stays in the conversation";
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("/quit\r");
  EXPECT_EQ(dsctl.wait_for_end(), 0);
}

TEST(Conversation, ControlCEndsTheWaitForARetryAndDropsATypedLine) {
  FakeDaemon daemon(converse);
  TerminalDsctl dsctl({"chat", "--runtime-dir", daemon.runtime_dir()});
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("full\r");
  ASSERT_TRUE(dsctl.wait_for("try 2 of 5 in 60.0 s")) << dsctl.screen();
  dsctl.type(kControl_c);
  ASSERT_TRUE(dsctl.wait_for("stopped")) << dsctl.screen();
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("half a li" + kControl_c);
  ASSERT_TRUE(dsctl.wait_for("^C"));
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type("whole\r");
  ASSERT_TRUE(dsctl.wait_for("answer to 1")) << "what was never answered is not part of the conversation";
  ASSERT_TRUE(dsctl.wait_for(kPrompt));
  dsctl.type(kControl_d);
  EXPECT_EQ(dsctl.wait_for_end(), 0);
}

}  // namespace
}  // namespace deepserve::ctl
