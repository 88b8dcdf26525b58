#include "daemon/api/request_id.h"

#include <charconv>

namespace deepserve::daemon {

RequestId request_id_of(std::string_view text) {
  for (const std::string_view prefix : {"chatcmpl-", "cmpl-"}) {
    if (text.starts_with(prefix)) {
      text.remove_prefix(prefix.size());
      break;
    }
  }
  RequestId id = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  return problem == std::errc() && end == text.data() + text.size() && text.size() == 16 ? id : 0;
}

}  // namespace deepserve::daemon
