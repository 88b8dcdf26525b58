// One answer printed from beginning to end: what `generate` and `chat MESSAGE` share.
#pragma once

#include <string>
#include <string_view>

#include "ctl/http_client.h"
#include "ctl/options.h"
#include "ctl/session.h"

namespace deepserve::ctl {

// Streams the answer to stdout and ends it with a newline. With --json the request must be without "stream"
// and the answer is printed as one object, or with it (--stream) and every chunk is printed as one line.
Result<void> print_answer(Session& session, const GenerationOptions& options, const HttpRequest& request);

// Whether token counts are to be shown at the end.
bool wants_usage(const Session& session, const GenerationOptions& options);

// Model output as stdout may get it: made harmless for a terminal, as it is for a pipe.
std::string shown_text(const Session& session, std::string_view piece);

}  // namespace deepserve::ctl
