#include "daemon/api/client_identity.h"

#include <algorithm>

namespace deepserve::daemon {
namespace {

std::string name_of(const Peer& peer, const ApiOptions& options) {
  if (options.client_name) return options.client_name(peer);
  return peer.known ? "uid:" + std::to_string(peer.uid) : "tcp";
}

bool is_end_user(const std::string& text) {
  const bool visible = std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  return !text.empty() && text.size() <= kEndUserBytesMax && visible;
}

}  // namespace

Result<std::string> client_of(const HttpRequest& request, const ApiOptions& options) {
  std::string name = name_of(request.peer, options);
  const std::string* end_user = request.field("x-deepserve-client");
  if (end_user == nullptr) return name;
  if (!options.is_trusted_proxy || !options.is_trusted_proxy(request.peer)) {
    return fail(Code::kForbidden, "X-Deepserve-Client: only a trusted proxy may name its end users");
  }
  if (!is_end_user(*end_user)) {
    return fail(Code::kInvalidRequest, "X-Deepserve-Client: must be 1 to {} visible ASCII characters",
                kEndUserBytesMax);
  }
  return name + '#' + *end_user;
}

}  // namespace deepserve::daemon
