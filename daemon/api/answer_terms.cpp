#include "daemon/api/answer_terms.h"

#include <algorithm>

namespace deepserve::daemon {
namespace {

constexpr std::string_view kLibraryMade = "stainless-";

bool is_key(std::string_view text) {
  const bool visible = std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  return !text.empty() && text.size() <= kIdempotencyKeyBytesMax && visible;
}

}  // namespace

Result<AnswerTerms> read_terms(const HttpRequest& request, std::string& param) {
  AnswerTerms terms;
  if (const auto* resume = request.field("x-deepserve-resume")) {
    if (*resume != "0" && *resume != "1") {
      param = "X-Deepserve-Resume";
      return fail(Code::kInvalidRequest, "X-Deepserve-Resume: must be 1 or 0");
    }
    terms.outlives = *resume == "1";
  }
  const auto* key = request.field("idempotency-key");
  if (key == nullptr || key->starts_with(kLibraryMade)) return terms;
  if (!is_key(*key)) {
    param = "Idempotency-Key";
    return fail(Code::kInvalidRequest, "Idempotency-Key: must be 1 to {} visible ASCII characters",
                kIdempotencyKeyBytesMax);
  }
  terms.outlives = true;
  terms.key = *key;
  terms.fingerprint = digest_of_key(request.path + '\n' + request.body);
  return terms;
}

}  // namespace deepserve::daemon
