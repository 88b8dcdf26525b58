// One keep-alive connection to the server: sends a request at a time and reads its answer, without blocking.
//
// All instants are monotonic. A connection that the server closed while it was idle is opened anew, once for
// each request and only as long as nothing of an answer has come.
#pragma once

#include <optional>
#include <string>

#include "ctl/bench/answer_reader.h"
#include "ctl/bench/endpoint.h"
#include "ctl/bench/poller.h"

namespace deepserve::ctl::bench {

class Connection {
 public:
  enum class Phase {
    kIdle,     // no request; open or not
    kSending,  // connecting, or not all is written
    kWaiting,  // all is written
    kDone,     // the answer is complete: the reader has it until the next request
    kLost,     // there will be no (whole) answer: `why` says it
  };

  // Borrows both. `token` is what the poller will say of this connection.
  Connection(const Endpoint& endpoint, Poller& poller, uint64_t token);

  // Sends the next request. False: the server's queue of connections is full just now, try again soon.
  // An idle connection only.
  bool start(std::string request);
  // Works on what can be written and read now. Call it for what the poller says of a busy connection; it
  // reads a bounded piece at a time.
  Phase advance();
  // What the poller says of an idle connection: the server has closed it, or sends what nobody asked for.
  void drop();
  // After kDone or kLost: fit for the next request.
  void release();
  // At any time: hangs up on what is under way.
  void hang_up();

  Phase phase() const { return phase_; }
  bool is_open() const { return static_cast<bool>(socket_); }
  AnswerReader& reader() { return reader_; }
  uint64_t sent_ns() const { return sent_ns_; }  // when its first byte went out; 0: not yet
  uint64_t read_ns() const { return read_ns_; }  // when bytes came last
  const std::string& why() const { return why_; }
  // The error of why it was lost was that nobody listens.
  bool was_unreachable() const { return was_unreachable_; }

 private:
  bool open();
  void write_some();
  void read_some();
  void lose(std::string why);
  bool send_again();

  const Endpoint& endpoint_;
  Poller& poller_;
  uint64_t token_;
  Fd socket_;
  Phase phase_ = Phase::kIdle;
  bool is_reused_ = false;
  bool watches_writes_ = false;
  std::string request_;
  size_t written_bytes_ = 0;
  AnswerReader reader_;
  uint64_t sent_ns_ = 0;
  uint64_t read_ns_ = 0;
  std::string why_;
  bool was_unreachable_ = false;
};

}  // namespace deepserve::ctl::bench
