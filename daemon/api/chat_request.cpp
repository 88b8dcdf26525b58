#include "daemon/api/chat_fields.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

void read_tokens_max(Fields& fields, ipc::Generation& generation) {
  // max_completion_tokens is OpenAI's newer name for the same limit.
  uint32_t newer = ipc::kRestOfContext;
  fields.read_integer("max_tokens", 1, INT32_MAX, generation.tokens_max);
  fields.read_integer("max_completion_tokens", 1, INT32_MAX, newer);
  if (newer == ipc::kRestOfContext) return;
  if (generation.tokens_max != ipc::kRestOfContext && generation.tokens_max != newer) {
    fields.fail_at("max_completion_tokens", "contradicts max_tokens");
  }
  generation.tokens_max = newer;
}

void read_logprobs(Fields& fields, ipc::Generation& generation) {
  bool wanted = false;
  uint8_t alternatives = 0;
  fields.read_bool("logprobs", wanted);
  fields.read_integer("top_logprobs", 0, 20, alternatives);
  if (!wanted && alternatives != 0) fields.fail_at("top_logprobs", "is only allowed with \"logprobs\": true");
  if (wanted) generation.logprobs = alternatives;
}

void read_modalities(Fields& fields) {
  const auto* modalities = fields.take("modalities");
  if (modalities == nullptr || *modalities == json::value(json::array{"text"})) return;
  fields.fail_at("modalities", "other than [\"text\"] is not supported", Code::kNotSupported);
}

}  // namespace

Parsed<CompletionSpec> parse_chat_request(const HttpRequest& request) {
  const auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  CompletionSpec spec;
  spec.shape.chat = true;
  spec.request.endpoint = "chat";
  for (const std::string_view name :
       {"functions", "function_call", "audio", "prediction", "reasoning_effort", "verbosity"}) {
    fields.refuse_unsupported(name);
  }
  fields.refuse_any("web_search_options");
  read_modalities(fields);
  read_chat(fields, request.body, spec.prompts.emplace_back());
  spec.shape.reads_tool_calls = !spec.prompts[0].tools.empty();
  read_tokens_max(fields, spec.request.generation);
  read_logprobs(fields, spec.request.generation);
  read_common_fields(fields, request, spec);
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  return spec;
}

}  // namespace deepserve::daemon
