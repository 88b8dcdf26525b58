// An HTTP request as it was received, and an answer to be sent.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/http/peer.h"

namespace deepserve::daemon {

struct HttpRequest {
  std::string method;                                       // as sent; methods are case-sensitive
  std::string path;                                         // percent-encoded as sent, without the query
  std::string query;                                        // after '?', undecoded
  std::vector<std::pair<std::string, std::string>> fields;  // in order, names in lower case, values trimmed
  std::string body;
  bool keep_alive = true;
  bool http_1_0 = false;
  Peer peer;

  // The first field of this name (in lower case); null when there is none.
  const std::string* field(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};  // ignored by start_stream
  std::vector<std::pair<std::string, std::string>> fields =
      {};              // beyond the ones that the connection writes itself
  bool close = false;  // end the connection after it
};

// "OK", "Not Found", ...; "Unknown" for a status outside the table of errors.h.
std::string_view reason_phrase(int status);

// %41 -> A. False when a '%' is not followed by two hexadecimal digits or the result holds a NUL.
bool percent_decode(std::string_view text, std::string& decoded);

}  // namespace deepserve::daemon
