// One answer, apart from the connections that read it (DESIGN 6): a completion or a list of embeddings.
//
// An ordinary answer is owned by its one reader and goes with it: what still runs of it is forgotten. One
// that is kept (kept_answers.h) is owned by the store too, keeps all that it has heard, and may be read by
// any number of readers, each from its own place. Either way the answer hears what its runners say, and its
// readers take from it what they have not told yet.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/api/answer_life.h"
#include "daemon/api/answer_terms.h"
#include "daemon/api/choice.h"
#include "daemon/api/position.h"
#include "daemon/http/exchange.h"

namespace deepserve::daemon {

struct ApiParts;

// Who reads an answer. It must not end the answer, or itself, from inside of these.
class AnswerReader {
 public:
  // All of it was accepted: a stream may begin.
  virtual void on_accepted() = 0;
  // There is something new.
  virtual void on_news() = 0;
  // All of the answer in one piece: what was refused, what failed before anything was told, or an answer that
  // is no stream.
  virtual void on_response(HttpResponse response) = 0;
  // What it has told of a choice; null: it tells all at the end.
  virtual const ChoicePoint* told(size_t choice) const = 0;

 protected:
  ~AnswerReader() = default;
};

// How a reader reads.
struct ReadingStart {
  bool streams = false;                     // events, else all in one piece
  bool head_told = false;                   // its stream has begun, in another process
  std::optional<StreamPosition> from = {};  // nothing: from the start
};

class LiveAnswer : public RunningAnswer {
 public:
  LiveAnswer(const ApiParts& parts, const RequestSpec& request, const AnswerTerms& terms)
      : life_(parts, request, terms), terms_(terms) {}
  virtual ~LiveAnswer() = default;

  // Who reads it for one more client. `self` is this answer.
  virtual std::unique_ptr<Responder> reader(const std::shared_ptr<LiveAnswer>& self, Exchange& exchange,
                                            ReadingStart start) = 0;
  // Why it cannot be told as events; nothing: it can.
  virtual std::optional<Error> reason_not_to_stream() const = 0;
  // Whether its client asked for events.
  virtual bool is_stream() const = 0;
  // All that another dsd needs to go on with it is with its runners.
  virtual bool can_be_handed_over() const = 0;
  // One more of the requests that it is made of, which came back with a runner. Null: it cannot be one.
  virtual ResponseSink* adopt(RequestId id, const RequestSpec& spec, uint32_t member) = 0;
  // Of what it keeps.
  virtual size_t bytes() const = 0;
  // Ends it if its time is over, or if a part of it did not come back from another dsd.
  virtual void tick(uint64_t now_ns) = 0;

  RequestId id() const { return life_.status().id; }
  const std::string& client() const { return life_.status().client; }
  const AnswerTerms& terms() const { return terms_; }
  bool ended() const { return life_.ended(); }
  uint64_t ended_ns() const { return life_.status().ended_ns; }
  // Its end came before all of it was accepted: there is nothing to resume.
  bool is_void() const { return ended() && !accepted_; }
  const std::optional<HttpResponse>& response() const { return response_; }
  bool accepted() const { return accepted_; }

  bool is_kept() const { return kept_; }
  void keep();
  uint64_t kept_since_ns() const { return kept_since_ns_; }
  // From now on it lives as long as its readers.
  virtual void stop_keeping() { kept_ = false; }

  void attach(AnswerReader& reader) { readers_.push_back(&reader); }
  void detach(AnswerReader& reader, uint64_t now_ns);
  size_t readers() const { return readers_.size(); }
  uint64_t left_ns() const { return left_ns_; }  // the last reader went; 0: none ever did
  // It ends as soon as nobody reads it, although it is kept for those who come back after a death of dsd.
  void end_with_reader() { ends_with_reader_ = true; }
  bool ends_with_reader() const { return ends_with_reader_ && !terms_.outlives; }

 protected:
  void note_accepted();
  void tell_news() const;
  // The answer in one piece.
  void respond(HttpResponse response);

  AnswerLife life_;
  std::vector<AnswerReader*> readers_;

 private:
  const AnswerTerms terms_;
  bool accepted_ = false;  // all of it
  bool kept_ = false;
  bool ends_with_reader_ = false;
  uint64_t kept_since_ns_ = 0;
  uint64_t left_ns_ = 0;
  std::optional<HttpResponse> response_;  // of a kept answer
};

}  // namespace deepserve::daemon
