// Stage 0 of admission (DESIGN 7): what would be refused anyway is refused on the head of its request, before
// its body is received or parsed.
//
// Only where the head says enough: a chat or a completion with X-Deepserve-Class and Content-Length. Without
// the class the body might name a better or a lower one. Whatever is wrong with a head is its route's to say.
#pragma once

#include <optional>

#include "daemon/api/api.h"
#include "daemon/http/message.h"

namespace deepserve::daemon {

class HeadJudge {
 public:
  // All borrowed.
  HeadJudge(Serving& serving, Metrics& metrics, const ApiOptions& options)
      : serving_(serving), metrics_(metrics), options_(options) {}

  // The refusal; nothing for what is to be looked at as a whole. As daemon/http/judge.h asks for it.
  std::optional<HttpResponse> judge(const HttpRequest& head) const;

 private:
  Serving& serving_;
  Metrics& metrics_;
  const ApiOptions& options_;
};

}  // namespace deepserve::daemon
