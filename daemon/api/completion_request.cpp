#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

constexpr uint32_t kTokensMaxDefault = 16;  // OpenAI's for this endpoint

// Adds the token ids; false when there is something else among them.
bool read_tokens(const json::array& list, std::vector<ipc::TokenId>& tokens) {
  tokens.reserve(list.size());
  for (const auto& item : list) {
    const auto token = integer_in(item, 0, INT32_MAX);
    if (!token) return false;
    tokens.push_back(static_cast<ipc::TokenId>(*token));
  }
  return true;
}

void read_tokens_max(Fields& fields, ipc::Generation& generation) {
  generation.tokens_max = kTokensMaxDefault;
  fields.read_bool("echo", generation.echo);
  fields.read_integer("max_tokens", generation.echo ? 0 : 1, INT32_MAX, generation.tokens_max);
}

void read_logprobs(Fields& fields, ipc::Generation& generation) {
  fields.read_integer("logprobs", 0, 20, generation.logprobs);
  if (generation.logprobs != ipc::kNoLogprobs && generation.echo) {
    fields.fail_at("logprobs", "together with echo is not supported", Code::kNotSupported);
  }
}

// Choosing the best of more than are told would need their scores.
void check_best_of(Fields& fields, const ipc::Generation& generation) {
  uint16_t best_of = generation.choices;
  fields.read_integer("best_of", 1, 128, best_of);
  if (best_of != generation.choices)
    fields.fail_at("best_of", "other than n is not supported", Code::kNotSupported);
}

}  // namespace

void read_prompt(Fields& fields, ipc::Prompt& prompt) {
  const auto* value = fields.take("prompt");
  if (value == nullptr) return fields.fail_at("prompt", "is missing");
  // A list of one prompt is that prompt.
  const auto* list = value->if_array();
  if (list != nullptr && !list->empty() && !(*list)[0].is_number()) {
    if (list->size() > 1) {
      return fields.fail_at("prompt", "with several prompts is not supported: send one request for each",
                            Code::kNotSupported);
    }
    value = &(*list)[0];
    list = value->if_array();
  }
  if (const auto* text = value->if_string()) {
    prompt.kind = ipc::PromptKind::kText;
    prompt.text = *text;
  } else if (list != nullptr && !list->empty() && read_tokens(*list, prompt.tokens)) {
    prompt.kind = ipc::PromptKind::kTokens;
  } else {
    fields.fail_at("prompt", "must be a string or a list of token ids that is not empty");
  }
}

Parsed<CompletionSpec> parse_completion_request(const HttpRequest& request) {
  const auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  CompletionSpec spec;
  spec.request.endpoint = "completions";
  fields.refuse_unsupported("suffix");
  read_prompt(fields, spec.request.prompt);
  read_tokens_max(fields, spec.request.generation);
  read_logprobs(fields, spec.request.generation);
  read_common_fields(fields, request, spec);
  check_best_of(fields, spec.request.generation);
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  return spec;
}

}  // namespace deepserve::daemon
