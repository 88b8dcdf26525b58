// Tells one client a completion as server-sent events, from any place in it.
//
// It takes from the answer whatever was not told yet, so that what came since the last time goes into one
// event for each choice. After its last event an answer that finished ends with [DONE], one that failed with
// `event: error` (DESIGN 6).
//
// A place that the answer has not reached yet is waited for: an answer of another dsd is heard again from its
// first token on. A place that no delta ended at cannot be resumed: kGone, as an event.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/api/completion.h"
#include "daemon/api/live_answer.h"

namespace deepserve::daemon {

class StreamReader final : public Responder, private AnswerReader {
 public:
  // Borrows the exchange. Shares the answer with its other readers and the store: the last one ends it.
  StreamReader(Exchange& exchange, std::shared_ptr<Completion> answer, const ReadingStart& start,
               uint64_t keep_alive_ms);
  ~StreamReader() override;

  bool produce(std::string& out) override;
  void tick(uint64_t now_ns) override;
  std::optional<std::string> hand_over() const override;

 private:
  struct Told {
    ChoicePoint at;
    ChoicePoint base;  // where the tokens of `at` end
    bool begun = false;
    bool finished = false;
    std::optional<ChoicePosition> wanted;  // not reached yet
  };

  void on_accepted() override;
  void on_news() override { exchange_.wake(); }
  void on_response(HttpResponse response) override;
  const ChoicePoint* told(size_t choice) const override { return &told_[choice].at; }

  void begin();
  bool find_wanted(size_t index);
  void produce_choice(std::string& out, size_t index);
  void mark_told(Told& told, const Choice& choice);
  void append_id(std::string& out) const;
  std::string position() const;
  void append_error(std::string& out, const Error& error) const;

  Exchange& exchange_;
  std::shared_ptr<Completion> answer_;
  const uint64_t keep_alive_ms_;
  std::vector<Told> told_;  // by choice
  uint64_t last_event_ns_ = 0;
  bool begun_ = false;  // its head is written
  bool usage_told_ = false;
  bool keep_alive_due_ = false;
  bool ended_ = false;
};

}  // namespace deepserve::daemon
