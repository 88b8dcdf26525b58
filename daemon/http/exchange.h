// One request and its answer: what a route sees of its connection.
//
// Everything is on the loop's thread. A route answers at once with respond(), or returns a Responder that
// answers later. Nothing that an Exchange does calls back into the Responder before it returns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "daemon/http/message.h"

namespace deepserve::daemon {

class Exchange {
 public:
  virtual const HttpRequest& request() const = 0;
  // Goes into X-Request-Id; a fresh random one unless set before the answer is begun.
  virtual uint64_t request_id() const = 0;
  virtual void set_request_id(uint64_t id) = 0;

  // The whole answer. Exactly one of respond and start_stream is called, once.
  virtual void respond(HttpResponse response) = 0;
  // The head now; the body comes out of Responder::produce.
  virtual void start_stream(HttpResponse head) = 0;
  // Has produce called before the loop sleeps (as soon as the client has room). Cheap to repeat.
  virtual void wake() = 0;
  // The connection ends after this answer.
  virtual void close_after() = 0;

 protected:
  ~Exchange() = default;
};

// Answers one Exchange. Owned by the connection and destroyed once the answer has been sent, or as soon as
// the client is gone (hang-up, reset, slow reader): the destructor is where a running request is forgotten.
class Responder {
 public:
  virtual ~Responder() = default;
  // Appends what is ready of a stream's body; true when the body is complete with that. Called after wake(),
  // never while unsent_bytes_max are unsent: what comes meanwhile waits in the responder.
  virtual bool produce(std::string& out) {
    (void)out;
    return true;
  }
  // Every now and then (HttpLimits::sweep_ms).
  virtual void tick(uint64_t now_ns) { (void)now_ns; }
};

}  // namespace deepserve::daemon
