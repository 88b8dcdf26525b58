// What a request agrees to get instead of what it asks for.
#include <algorithm>

#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// OpenAI's field of its Responses API.
void read_truncation(Fields& fields, RequestSpec& spec) {
  if (!fields.has("truncation")) return;
  std::string truncation;
  fields.read_string("truncation", truncation);
  if (truncation != "auto" && truncation != "disabled") {
    return fields.fail_at("truncation", "must be auto or disabled");
  }
  spec.truncates = truncation == "auto";
}

}  // namespace

bool read_agreement_header(const HttpRequest& request, std::optional<Agreement>& agreed) {
  const auto* text = request.field(kAgreementHeader);
  if (text == nullptr) return true;
  agreed.emplace();
  std::string_view rest = *text;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const auto word = trimmed(rest.substr(0, comma));
    if (!word.empty() && !agree(*agreed, word)) return false;
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return true;
}

void read_agreement(Fields& fields, const HttpRequest& request, RequestSpec& spec) {
  if (!read_agreement_header(request, spec.agreed)) {
    fields.fail_at("X-Deepserve-Accept-Degraded", "must be a list of truncated_context and smaller_model");
  }
  read_truncation(fields, spec);
}

}  // namespace deepserve::daemon
