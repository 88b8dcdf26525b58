// dsctl: parse, run one command, turn its outcome into an exit code.
#include <signal.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "ctl/command_line.h"

namespace {

using namespace deepserve;
using namespace deepserve::ctl;

// With --json stdout is always one valid JSON text, also for a failure.
void report(Session& session, const Error& error) {
  complain(error.message);
  if (!session.options().json) return;
  boost::json::object body{{"code", std::string(error_row(error.code).name)}, {"message", error.message}};
  if (session.retry_after_ms()) body["retry_after_ms"] = *session.retry_after_ms();
  // A stdout that cannot be written is the failure being reported, or adds nothing to it.
  static_cast<void>(
      print_json(session, boost::json::serialize(boost::json::object{{"error", std::move(body)}})));
}

}  // namespace

int main(int argument_count, char** arguments) {
  ::signal(SIGPIPE, SIG_IGN);  // seen as EPIPE where it is written
  auto parsed = parse_command_line(argument_count, arguments);
  if (const auto* stop = std::get_if<ParseStop>(&parsed)) {
    std::fputs(stop->text.c_str(), stop->exit_code == 0 ? stdout : stderr);
    return stop->exit_code;
  }
  const auto& command = std::get<ParsedCommand>(parsed);
  Session session(command.options);
  const auto outcome = command.run(session);
  if (outcome || session.out().reader_gone()) return 0;
  report(session, outcome.error());
  return error_row(outcome.error().code).exit_code;
}
