#include <unistd.h>

#include <cstdio>

#include "ctl/answer.h"
#include "ctl/commands.h"
#include "ctl/interrupt.h"
#include "ctl/line_editor.h"
#include "ctl/one_answer.h"
#include "ctl/standard_input.h"

namespace deepserve::ctl {
namespace {

constexpr std::string_view kHelp =
    "/system TEXT  set the system message (without TEXT: remove it) and start afresh\n"
    "/clear        forget the conversation\n"
    "/quit         end (as does Ctrl-D); Ctrl-C stops an answer\n"
    "//TEXT        a message that starts with a slash\n";

class Conversation {
 public:
  Conversation(Session& session, const GenerationOptions& options) : session_(session), options_(options) {}

  // Until the user ends it. Failures of single answers are told and do not end it.
  Result<void> run() {
    LineEditor editor("> ");
    if (session_.terminal().err_is_terminal)
      std::fputs("Ctrl-C stops an answer, Ctrl-D ends, /help says more.\n", stderr);
    for (;;) {
      TypedLine line = editor.read_line();
      if (line.end == LineEnd::kEndOfInput) return session_.out().write("\n");
      if (line.end == LineEnd::kInterrupted || line.text.find_first_not_of(" \t") == std::string::npos)
        continue;
      editor.remember(line.text);
      if (line.text == "/quit" || line.text == "/exit") return {};
      if (line.text.starts_with("//")) {
        TRY(answer(line.text.substr(1)));
      } else if (line.text.starts_with('/')) {
        obey(line.text);
      } else {
        TRY(answer(std::move(line.text)));
      }
    }
  }

 private:
  void obey(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    if (name == "/clear") {
      messages_.clear();
    } else if (name == "/system") {
      options_.system = space == std::string::npos ? std::string() : line.substr(space + 1);
      messages_.clear();
    } else if (name == "/help") {
      std::fwrite(kHelp.data(), 1, kHelp.size(), stderr);
    } else {
      complain(name + " is not a command here; /help lists them");
    }
  }

  // Fails only when stdout can no longer be written.
  Result<void> answer(std::string message) {
    messages_.push_back({"user", std::move(message)});
    Answer answer;
    Result<void> written;
    const AnswerHandlers handlers{[&](std::string_view piece) {
                                    written = session_.out().write(shown_text(session_, piece));
                                    return written;
                                  },
                                  {}};
    const InterruptScope interrupt;
    const bool with_usage = wants_usage(session_, options_);
    const auto done = stream_answer(session_, chat_request(options_, messages_, true, with_usage),
                                    interrupt.fd(), handlers, answer);
    TRY(written);
    if (!answer.text.empty()) TRY(session_.out().write("\n"));
    if (!done) complain(done.error().code == Code::kCancelled ? "stopped" : done.error().message);
    if (!done && done.error().code == Code::kContextLength) complain("/clear starts afresh");
    if (done && with_usage) complain(describe_usage(answer));
    // What was shown is part of the conversation, also when it was stopped; a message without an answer is
    // not.
    if (answer.text.empty()) {
      messages_.pop_back();
    } else {
      messages_.push_back({"assistant", std::move(answer.text)});
    }
    return {};
  }

  Session& session_;
  GenerationOptions options_;
  std::vector<ChatMessage> messages_;
};

}  // namespace

Result<void> chat(Session& session, const GenerationOptions& options, std::string message) {
  const bool typed_at_terminal = message.empty() && ::isatty(STDIN_FILENO) == 1;
  if (typed_at_terminal) {
    if (session.options().json)
      return fail(Code::kUsage, "--json needs a message, as an argument or on stdin");
    return Conversation(session, options).run();
  }
  if (message.empty() || message == "-") {
    TRY_ASSIGN(message, read_standard_input());
    while (message.ends_with('\n')) message.pop_back();
    if (message.empty()) return fail(Code::kUsage, "the message on stdin is empty");
  }
  const bool stream = !session.options().json || options.stream;
  const HttpRequest request =
      chat_request(options, {{"user", std::move(message)}}, stream, wants_usage(session, options));
  return print_answer(session, options, request);
}

}  // namespace deepserve::ctl
