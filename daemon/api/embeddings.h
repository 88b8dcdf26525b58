// Answers one /v1/embeddings request: each input is a request of its own to Serving, a few at a time, and the
// answer has their vectors in the inputs' order.
//
// One input that is refused or fails is the whole answer. Inputs wait here for their turn, so that one client
// with many of them does not fill the queue that it shares with others. A deadline that the request names
// holds for each input from its own start.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/api/answer_life.h"
#include "daemon/api/embedding_spec.h"
#include "daemon/api/request_group.h"
#include "daemon/http/exchange.h"
#include "daemon/observe/metrics.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct ApiParts;

class Embeddings final : public Responder, private RequestGroup::Listener, private RunningAnswer {
 public:
  static constexpr size_t kRunningMax = 16;  // inputs at a time

  // Starts the first requests. Everything is borrowed but the spec.
  Embeddings(Exchange& exchange, const ApiParts& parts, EmbeddingSpec spec);
  ~Embeddings() override;

  void tick(uint64_t now_ns) override;

 private:
  // RequestGroup::Listener
  void on_degraded(const std::string& how) override { life_.degrade(how); }
  void on_accepted(size_t input, const ipc::Accepted& event) override;
  void on_delta(size_t, const ipc::Delta&) override {}
  void on_embedding(size_t input, const ipc::Embedding& event) override;
  void on_finished(size_t input, const ipc::Finished& event) override;
  void on_refused(const Refusal& refusal) override;
  void on_failed(const Error& error) override;
  // RunningAnswer
  AnswerStatus status() const override { return life_.status(); }
  void cancel() override;

  void start_some();
  void give_up(const Error& error, const std::string& param = {});
  void respond();

  Exchange& exchange_;
  Metrics& metrics_;
  AnswerLife life_;
  const size_t answer_bytes_max_;
  EmbeddingSpec spec_;                // its inputs go to Serving one after the other
  uint64_t deadline_after_ns_ = 0;    // an input's start; 0: the class's default
  std::vector<std::string> vectors_;  // [inputs], as text
  size_t held_bytes_ = 0;             // of all vectors
  size_t inputs_ended_ = 0;
  RequestGroup requests_;  // the last member: the first to go
};

}  // namespace deepserve::daemon
