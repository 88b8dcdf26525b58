#include "ctl/one_answer.h"

#include "ctl/answer.h"

namespace deepserve::ctl {

Result<void> print_answer(Session& session, const GenerationOptions& options, const HttpRequest& request) {
  constexpr int kNo_interrupt = -1;  // SIGINT ends the program, and the daemon sees us go
  if (session.options().json && !options.stream) {
    TRY_ASSIGN(const std::string body, whole_answer(session, request));
    return print_json(session, body);
  }
  Answer answer;
  AnswerHandlers handlers;
  if (session.options().json) {
    handlers.on_chunk = [&](std::string_view chunk) { return print_json(session, chunk); };
  } else {
    handlers.on_text = [&](std::string_view piece) {
      return session.out().write(shown_text(session, piece));
    };
  }
  const auto done = stream_answer(session, request, kNo_interrupt, handlers, answer);
  if (!session.options().json && !answer.text.empty() && !answer.text.ends_with('\n') &&
      !session.out().reader_gone()) {
    TRY(session.out().write("\n"));
  }
  TRY(done);
  if (wants_usage(session, options)) complain(describe_usage(answer));
  return {};
}

bool wants_usage(const Session& session, const GenerationOptions& options) {
  return options.usage || session.options().verbose;
}

std::string shown_text(const Session& session, std::string_view piece) {
  return session.terminal().out_is_terminal ? visible_text(piece) : std::string(piece);
}

}  // namespace deepserve::ctl
