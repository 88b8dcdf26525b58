#include "ctl/answer.h"
#include "ctl/commands.h"
#include "ctl/one_answer.h"
#include "ctl/standard_input.h"

namespace deepserve::ctl {

Result<void> generate(Session& session, const GenerationOptions& options, std::string prompt) {
  if (prompt == "-") {
    TRY_ASSIGN(prompt, read_standard_input());
  }
  const bool stream = !session.options().json || options.stream;
  return print_answer(session, options,
                      completion_request(options, prompt, stream, wants_usage(session, options)));
}

}  // namespace deepserve::ctl
