// Stage 0 of admission (DESIGN 7): what would be refused anyway is refused on the head of its request, before
// its body is received or parsed.
//
// Only where the head says enough: a chat or a completion with Content-Length. Without X-Deepserve-Class the
// body might name any class, and with several models it names one of them: then only what each of these would
// refuse is refused (Serving::glance). Whatever is wrong with a head is its route's to say. A request that
// repeats one whose answer is kept, or may still come back from another dsd, costs nothing: it is never
// refused here.
#pragma once

#include <optional>

#include "daemon/api/api.h"
#include "daemon/http/message.h"

namespace deepserve::daemon {

class HeadJudge {
 public:
  // All borrowed.
  HeadJudge(Serving& serving, Metrics& metrics, const ApiOptions& options, const KeptAnswers& kept)
      : serving_(serving), metrics_(metrics), options_(options), kept_(kept) {}

  // The refusal; nothing for what is to be looked at as a whole. As daemon/http/judge.h asks for it.
  std::optional<HttpResponse> judge(const HttpRequest& head) const;

 private:
  bool may_return_key(const std::string& client, const std::string& key) const;

  Serving& serving_;
  Metrics& metrics_;
  const ApiOptions& options_;
  const KeptAnswers& kept_;
};

}  // namespace deepserve::daemon
