#include <fmt/format.h>

#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kPromptsMax = 128;
constexpr size_t kGeneratedMax = 128;  // choices of all prompts together

void read_tokens_max(Fields& fields, ipc::Generation& generation) {
  fields.read_bool("echo", generation.echo);
  fields.read_integer("max_tokens", generation.echo ? 0 : 1, INT32_MAX, generation.tokens_max);
}

// So many choices are generated, and n of them told. Which those are is known at the end: there is no stream
// of them.
void read_best_of(Fields& fields, const CompletionShape& shape, ipc::Generation& generation) {
  uint16_t best_of = shape.choices;
  fields.read_integer("best_of", 1, static_cast<int64_t>(kGeneratedMax), best_of);
  if (best_of < shape.choices) return fields.fail_at("best_of", "must be at least n");
  if (best_of == shape.choices) return;
  if (shape.stream) return fields.fail_at("best_of", "above n cannot be streamed");
  generation.choices = best_of;
  if (generation.logprobs == ipc::kNoLogprobs) generation.logprobs = 0;  // to compare them by
}

void check_choices(Fields& fields, const CompletionSpec& spec) {
  const size_t choices = spec.prompts.size() * spec.request.generation.choices;
  if (choices <= kGeneratedMax || spec.prompts.size() < 2) return;
  fields.fail_at("prompt", fmt::format("asks for {} choices with n or best_of: at most {} in one request",
                                       choices, kGeneratedMax));
}

}  // namespace

Parsed<CompletionSpec> parse_completion_request(const HttpRequest& request) {
  const auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  CompletionSpec spec;
  spec.request.endpoint = "completions";
  fields.refuse_unsupported("suffix");
  read_prompts(fields, "prompt", kPromptsMax, spec.prompts);
  read_tokens_max(fields, spec.request.generation);
  fields.read_integer("logprobs", 0, 20, spec.request.generation.logprobs);
  read_common_fields(fields, request, spec);
  read_best_of(fields, spec.shape, spec.request.generation);
  check_choices(fields, spec);
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  return spec;
}

}  // namespace deepserve::daemon
