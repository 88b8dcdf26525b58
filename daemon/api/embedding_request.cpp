#include <fmt/format.h>

#include "daemon/admission/prompt_cut.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/embedding_spec.h"
#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kInputsMax = 2048;          // as OpenAI's
constexpr int64_t kDimensionsMax = 1 << 20;  // more than any model's

void read_inputs(Fields& fields, std::vector<ipc::Prompt>& inputs) {
  read_prompts(fields, "input", kInputsMax, inputs);
  for (const ipc::Prompt& input : inputs) {
    if (prompt_bytes(input) == 0) return fields.fail_at("input", "must not be, or hold, an empty string");
  }
}

void read_encoding(Fields& fields, bool& base64) {
  if (!fields.has("encoding_format")) return fields.ignore("encoding_format");
  std::string encoding;
  fields.read_string("encoding_format", encoding);
  if (encoding != "float" && encoding != "base64")
    fields.fail_at("encoding_format", "must be float or base64");
  base64 = encoding == "base64";
}

}  // namespace

Parsed<EmbeddingSpec> parse_embedding_request(const HttpRequest& request) {
  const auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  EmbeddingSpec spec;
  spec.request.endpoint = "embeddings";
  spec.request.work = ipc::Work::kEmbed;
  fields.read_string("model", spec.request.model);
  read_inputs(fields, spec.inputs);
  fields.read_integer("dimensions", 1, kDimensionsMax, spec.dimensions);
  read_encoding(fields, spec.base64);
  read_labels(fields);
  read_service_class(fields, request, spec.request);
  read_timeout(fields, request, spec.timeout_ns);
  fields.refuse_unsupported("truncate_prompt_tokens");
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  return spec;
}

}  // namespace deepserve::daemon
