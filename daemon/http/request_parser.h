// Turns the bytes of a connection into one HTTP/1.x request: HeadScanner for the framing of the head,
// Boost.Beast's parser for its grammar and for the body (Content-Length or chunked).
//
// Strict where leniency would let a proxy and us disagree on where a request ends (RFC 9112 section 11.2).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/http/limits.h"
#include "daemon/http/message.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

class RequestParser {
 public:
  explicit RequestParser(const HttpLimits& limits);  // borrowed
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Takes bytes from the front and says how many; all of them unless the request is complete with fewer.
  // After an error (kInvalidRequest, kHttpVersion, kHeaderTooLarge, kPayloadTooLarge) nothing on this
  // connection can be trusted.
  Result<size_t> feed(std::string_view bytes);

  bool untouched() const;  // nothing but blank lines so far
  bool head_done() const;
  bool complete() const;
  bool expects_continue() const;  // the client waits for a 100 before it sends the body
  size_t body_bytes() const;      // received so far

  // Bytes that lead another parser to where this one is: those received, but that the chunks of a body are
  // one. Not of a complete request.
  std::string replay() const;

  // The request so far, once its head is done.
  const HttpRequest& head() const;
  // The same, with whom it is from.
  const HttpRequest& head(const Peer& peer);
  // The request, once complete; without its peer.
  HttpRequest take();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace deepserve::daemon
