// What the body of a /v1/chat/completions or /v1/completions request asks for: what Serving is to do, and the
// shape in which the client wants to read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/api/field_error.h"
#include "daemon/api/prompt_fields.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class Fields;

struct CompletionShape {
  bool chat = false;  // chat.completion, else text_completion
  bool stream = false;
  bool include_usage = false;     // of a stream: one more event with the usage
  bool reads_tool_calls = false;  // the prompt has tools: their calls are told apart from the text
  bool tell_tier = false;         // the client named a service tier: the answer says which it got
  uint16_t choices = 1;  // of each prompt that are told; request.generation has how many are generated
  uint8_t logprobs = ipc::kNoLogprobs;  // how many alternatives are told; kNoLogprobs: none at all
  std::string constraint_param;         // the field that binds the answer's form; empty: none does
  std::string model;                    // the name that the answer tells
  std::string fingerprint;              // system_fingerprint; empty: not told
};

struct CompletionSpec {
  RequestSpec request;               // without peer, client and prompt
  std::vector<ipc::Prompt> prompts;  // at least one; of a chat: one
  bool seed_given = false;
  std::optional<uint64_t> timeout_ns;  // for all of the answer; 0: none; nothing: the server's default
  CompletionShape shape;
};

// Peer, client, model row and fingerprint are the route's business. A request without a seed gets a random
// one.
Parsed<CompletionSpec> parse_chat_request(const HttpRequest& request);
Parsed<CompletionSpec> parse_completion_request(const HttpRequest& request);

// The fields that both endpoints have: how tokens are chosen, what form the answer is bound to, when to stop,
// streaming, class, deadline, timeout, labels.
void read_common_fields(Fields& fields, const HttpRequest& request, CompletionSpec& spec);

// X-Deepserve-Class, `priority`, `service_tier` and X-Deepserve-Deadline-Ms (see api.h). True when the body
// names a service tier.
bool read_service_class(Fields& fields, const HttpRequest& request, RequestSpec& spec);

// Whether X-Deepserve-Deadline-Ms and X-Deepserve-Timeout-Ms may be so much: up to a day.
bool is_deadline(uint64_t milliseconds);

// X-Deepserve-Timeout-Ms: how long all of the answer may take.
void read_timeout(Fields& fields, const HttpRequest& request, std::optional<uint64_t>& timeout_ns);

// X-Deepserve-Ticket, the body's hash, and whether a library says that it repeats itself.
void read_retry(const HttpRequest& request, RequestSpec& spec);

// X-Deepserve-Accept-Degraded: a list of what is agreed to (daemon/config/agreement.h), in place of what the
// client's configuration says; empty: nothing is. False: it names something else.
inline constexpr const char* kAgreementHeader = "x-deepserve-accept-degraded";
bool read_agreement_header(const HttpRequest& request, std::optional<Agreement>& agreed);
// That, and the body's `truncation`: auto or disabled.
void read_agreement(Fields& fields, const HttpRequest& request, RequestSpec& spec);

// OpenAI's word for a class: vip is priority, normal default, batch flex.
std::string_view service_tier_name(ipc::Class service_class);

// `user` and the like, `metadata`, `store`: what says who asks and why. Checked, and without effect.
void read_labels(Fields& fields);

}  // namespace deepserve::daemon
