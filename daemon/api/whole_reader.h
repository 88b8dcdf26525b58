// Sends one client the answer in one piece, whatever the answer is.
#pragma once

#include <memory>

#include "daemon/api/live_answer.h"

namespace deepserve::daemon {

class WholeReader final : public Responder, private AnswerReader {
 public:
  // Borrows the exchange. Shares the answer with its other readers and the store: the last one ends it.
  WholeReader(Exchange& exchange, std::shared_ptr<LiveAnswer> answer);
  ~WholeReader() override;

  void tick(uint64_t now_ns) override { answer_->tick(now_ns); }
  std::optional<std::string> hand_over() const override;

 private:
  void on_accepted() override {}
  void on_news() override {}
  void on_response(HttpResponse response) override { exchange_.respond(std::move(response)); }
  const ChoicePoint* told(size_t) const override { return nullptr; }

  Exchange& exchange_;
  std::shared_ptr<LiveAnswer> answer_;
};

}  // namespace deepserve::daemon
