#include <sys/random.h>

#include <charconv>

#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"
#include "daemon/api/response_format.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

constexpr uint16_t kChoicesMax = 128;
constexpr size_t kStopsMax = 16;
constexpr size_t kStopBytesMax = 512;  // the runner's own limit
constexpr size_t kStopTokensMax = 64;
constexpr size_t kBiasesMax = 1024;
constexpr int64_t kTokenIdMax = INT32_MAX;

void read_stop(Fields& fields, ipc::Generation& generation) {
  const auto* stop = fields.take("stop");
  if (stop == nullptr) return;
  const auto add = [&](const json::value& value) {
    const auto* text = value.if_string();
    if (text == nullptr || text->empty() || text->size() > kStopBytesMax) {
      return fields.fail_at(
          "stop", "must be a string or a list of strings, none of them empty or longer than 512 bytes");
    }
    generation.stop.emplace_back(*text);
  };
  const auto* list = stop->if_array();
  if (list == nullptr) return add(*stop);
  if (list->size() > kStopsMax) return fields.fail_at("stop", "has more than 16 entries");
  for (const auto& value : *list) add(value);
}

void read_stop_tokens(Fields& fields, ipc::Generation& generation) {
  const auto* value = fields.take("stop_token_ids");
  if (value == nullptr) return;
  const auto* list = value->if_array();
  if (list == nullptr || list->size() > kStopTokensMax) {
    return fields.fail_at("stop_token_ids", "must be a list of at most 64 token ids");
  }
  for (const auto& item : *list) {
    const auto token = integer_in(item, 0, kTokenIdMax);
    if (!token) return fields.fail_at("stop_token_ids", "must be a list of token ids");
    generation.stop_tokens.push_back(static_cast<ipc::TokenId>(*token));
  }
}

void read_logit_bias(Fields& fields, ipc::Generation& generation) {
  const auto* value = fields.take("logit_bias");
  if (value == nullptr) return;
  const auto* map = value->if_object();
  if (map == nullptr || map->size() > kBiasesMax) {
    return fields.fail_at("logit_bias", "must be an object of at most 1024 token ids with their bias");
  }
  for (const auto& [key, bias] : *map) {
    uint32_t token = 0;
    const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (problem != std::errc() || end != key.data() + key.size() || key.empty() || token > kTokenIdMax) {
      return fields.fail_at("logit_bias", "has a key that is not a token id");
    }
    const double number = bias.is_number() ? bias.to_number<double>() : 1000.0;
    if (!(number >= -100 && number <= 100)) {
      return fields.fail_at("logit_bias", "has a bias that is not a number from -100 to 100");
    }
    generation.logit_bias.emplace_back(token, static_cast<float>(number));
  }
}

void read_top_k(Fields& fields, ipc::Generation& generation) {
  int64_t top_k = 0;
  fields.read_integer("top_k", -1, INT32_MAX, top_k);  // -1 and 0: off, as in vLLM
  generation.top_k = top_k > 0 ? static_cast<uint32_t>(top_k) : 0;
}

void read_sampling(Fields& fields, ipc::Generation& generation) {
  fields.read_number("temperature", 0, 2, generation.temperature);
  fields.read_number("top_p", 0, 1, generation.top_p);
  if (generation.top_p <= 0) fields.fail_at("top_p", "must be above 0 and at most 1");
  read_top_k(fields, generation);
  fields.read_number("min_p", 0, 1, generation.min_p);
  fields.read_number("presence_penalty", -2, 2, generation.presence_penalty);
  fields.read_number("frequency_penalty", -2, 2, generation.frequency_penalty);
  fields.read_number("repetition_penalty", 0, 10, generation.repetition_penalty);
  // Nearer to 0 it would make numbers of the logits that no float holds.
  if (generation.repetition_penalty < 0.01f) fields.fail_at("repetition_penalty", "must be from 0.01 to 10");
  read_logit_bias(fields, generation);
}

// True when the client names it; else it is random.
bool read_seed(Fields& fields, ipc::Generation& generation) {
  const bool is_given = fields.has("seed");
  fields.read_integer("seed", INT64_MIN, INT64_MAX, generation.seed);
  if (!is_given && ::getrandom(&generation.seed, sizeof generation.seed, 0) != sizeof generation.seed) {
    generation.seed = monotonic_ns();
  }
  return is_given;
}

void read_stream(Fields& fields, CompletionShape& shape) {
  fields.read_bool("stream", shape.stream);
  const auto* options = fields.take("stream_options");
  if (options == nullptr) return;
  const auto* object = options->if_object();
  if (object == nullptr) return fields.fail_at("stream_options", "must be an object");
  if (!shape.stream) return fields.fail_at("stream_options", "is only allowed with \"stream\": true");
  Fields inner(*object, "stream_options.");
  inner.read_bool("include_usage", shape.include_usage);
  // OpenAI's padding against eavesdroppers who count bytes; events here are never padded.
  bool include_obfuscation = false;
  inner.read_bool("include_obfuscation", include_obfuscation);
  if (include_obfuscation) inner.fail_at("include_obfuscation", "is not supported", Code::kNotSupported);
  inner.finish();
  fields.adopt(inner);
}

}  // namespace

void read_common_fields(Fields& fields, const HttpRequest& request, CompletionSpec& spec) {
  ipc::Generation& generation = spec.request.generation;
  fields.read_string("model", spec.request.model);
  read_sampling(fields, generation);
  spec.seed_given = read_seed(fields, generation);
  read_constraint(fields, generation.constraint, spec.shape.constraint_param);
  read_stop(fields, generation);
  read_stop_tokens(fields, generation);
  fields.read_bool("ignore_eos", generation.ignore_eos);
  fields.read_integer("n", 1, kChoicesMax, generation.choices);
  spec.shape.choices = generation.choices;
  spec.shape.logprobs = generation.logprobs;
  fields.read_integer("min_tokens", 0, INT32_MAX, generation.tokens_min);
  if (generation.tokens_min > generation.tokens_max) fields.fail_at("min_tokens", "is more than max_tokens");
  read_stream(fields, spec.shape);
  read_labels(fields);
  spec.shape.tell_tier = read_service_class(fields, request, spec.request);
  read_timeout(fields, request, spec.timeout_ns);
  read_agreement(fields, request, spec.request);
  for (const std::string_view name :
       {"use_beam_search", "length_penalty", "prompt_logprobs", "truncate_prompt_tokens", "allowed_token_ids",
        "bad_words", "logits_processors"}) {
    fields.refuse_unsupported(name);
  }
}

}  // namespace deepserve::daemon
