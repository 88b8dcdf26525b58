// Asking for text: the bodies of chat and completion requests, and one answer read as it streams.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/http_client.h"
#include "ctl/options.h"
#include "ctl/session.h"

namespace deepserve::ctl {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// POST /v1/chat/completions, POST /v1/completions. `with_usage` asks a stream for its token counts.
HttpRequest chat_request(const GenerationOptions& options, const std::vector<ChatMessage>& messages,
                         bool stream, bool with_usage);
HttpRequest completion_request(const GenerationOptions& options, const std::string& prompt, bool stream,
                               bool with_usage);

struct Answer {
  std::string text;
  std::string finish_reason;
  std::optional<uint64_t> prompt_tokens;
  std::optional<uint64_t> completion_tokens;
  uint64_t first_text_ns = 0;  // since the request was sent; 0: no text came
  uint64_t total_ns = 0;
  bool is_shown = false;  // something of it was handed on: from here on a retry would repeat it
};

struct AnswerHandlers {
  std::function<Result<void>(std::string_view piece)> on_text;        // its text, piece by piece
  std::function<Result<void>(std::string_view chunk_json)> on_chunk;  // every event's data; may be empty
};

// Sends a request with "stream": true over api.sock and follows it to [DONE]. Refusals are retried until the
// first piece of text is there, never afterwards. A stream that breaks off is gone on with at the daemon that
// takes the place of the one that died, if one does within half a minute. It does not ask to outlive its
// connection (X-Deepserve-Resume): who interrupts dsctl wants no more. `answer` holds what came, also on
// failure. kCancelled: interrupted. kIo: the stream ended early. Any other code: what the daemon said.
Result<void> stream_answer(Session& session, const HttpRequest& request, int interrupt_fd,
                           const AnswerHandlers& handlers, Answer& answer);

// The same for a request without "stream": the body of the answer. One that was lost is asked for once more.
Result<std::string> whole_answer(Session& session, const HttpRequest& request);

// "24 prompt tokens, 96 tokens in 1.2 s (first after 0.1 s), 80.0 tokens/s".
std::string describe_usage(const Answer& answer);

}  // namespace deepserve::ctl
