// What the body of a /v1/chat/completions or /v1/completions request asks for: what Serving is to do, and the
// shape in which the client wants to read it.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <string>

#include "daemon/api/field_error.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class Fields;

struct CompletionShape {
  bool chat = false;  // chat.completion, else text_completion
  bool stream = false;
  bool include_usage = false;  // of a stream: one more event with the usage
  std::string model;           // the name that the answer tells
  std::string fingerprint;     // system_fingerprint; empty: not told
};

struct CompletionSpec {
  RequestSpec request;  // without peer and client
  CompletionShape shape;
};

// Peer, client, model row and fingerprint are the route's business. A request without a seed gets a random
// one.
Parsed<CompletionSpec> parse_chat_request(const HttpRequest& request);
Parsed<CompletionSpec> parse_completion_request(const HttpRequest& request);

// The `messages` of a chat. Content is a string or a list of {"type": "text"} parts, which are put together.
void read_messages(Fields& fields, ipc::Prompt& prompt);
// A prompt as text or as token ids.
void read_prompt(Fields& fields, ipc::Prompt& prompt);

// The fields that both endpoints have: how tokens are chosen, when to stop, streaming, class, deadline,
// labels.
void read_common_fields(Fields& fields, const HttpRequest& request, CompletionSpec& spec);

// X-Deepserve-Resume is refused: no request outlives its connection yet. Idempotency-Key, which is for the
// same, is accepted and has no effect: OpenAI's own libraries send it unasked.
void refuse_resumption(Fields& fields, const HttpRequest& request);

// X-Deepserve-Class, `priority`, `service_tier` and X-Deepserve-Deadline-Ms (see api.h).
void read_service_class(Fields& fields, const HttpRequest& request, RequestSpec& spec);

// Of all text and tokens in it.
uint64_t prompt_bytes(const ipc::Prompt& prompt);

}  // namespace deepserve::daemon
