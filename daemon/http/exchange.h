// One request and its answer: what a route sees of its connection.
//
// Everything is on the loop's thread. A route answers at once with respond(), or returns a Responder that
// answers later. Nothing that an Exchange does calls back into the Responder before it returns.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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
// the client is gone (hang-up, reset, slow reader): the destructor is where it lets go of what it tells of. A
// running request is forgotten then, unless its answer outlives the connection (api/live_answer.h).
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
  // For an upgrade in place (DESIGN 10): what another process needs to go on with this answer after what
  // produce() has given so far; there it is passed to Router::resume. Nothing: this answer has to end first.
  virtual std::optional<std::string> hand_over() const { return std::nullopt; }
  // For the same, as long as nothing was begun for it: its request, which is asked again there. Null: it is
  // not so.
  virtual const HttpRequest* to_ask_again() const { return nullptr; }
};

}  // namespace deepserve::daemon
