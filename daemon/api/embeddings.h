// One /v1/embeddings answer: each input is a request of its own to Serving, a few at a time, and the answer
// has their vectors in the inputs' order.
//
// One input that is refused or fails is the whole answer. Inputs wait here for their turn, so that one client
// with many of them does not fill the queue that it shares with others. A deadline that the request names
// holds for each input from its own start.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/api/answer_blob.h"
#include "daemon/api/embedding_spec.h"
#include "daemon/api/live_answer.h"
#include "daemon/api/request_group.h"
#include "daemon/observe/metrics.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class Embeddings final : public LiveAnswer, private RequestGroup::Listener {
 public:
  static constexpr size_t kRunningMax = 16;  // inputs at a time

  // Starts the first requests. The parts are borrowed.
  Embeddings(const ApiParts& parts, EmbeddingSpec spec, const AnswerTerms& terms, bool keeps);
  // Goes on with one that another dsd began; adopt() follows for each of its requests that came back. Inputs
  // that waited for their turn there are lost, and the answer with them.
  Embeddings(const ApiParts& parts, RequestId id, const RequestSpec& first, const AnswerBlob& blob);
  ~Embeddings() override;

  // LiveAnswer
  std::unique_ptr<Responder> reader(const std::shared_ptr<LiveAnswer>& self, Exchange& exchange,
                                    ReadingStart start) override;
  std::optional<Error> reason_not_to_stream() const override;
  bool is_stream() const override { return false; }
  bool can_be_handed_over() const override { return requests_.size() == vectors_.size(); }
  ResponseSink* adopt(RequestId id, const RequestSpec& spec, uint32_t member) override;
  size_t bytes() const override;
  void tick(uint64_t now_ns) override;
  // RunningAnswer
  AnswerStatus status() const override { return life_.status(); }
  void cancel() override;

 private:
  // RequestGroup::Listener
  void on_degraded(const Degraded& degraded) override { life_.degrade(degraded); }
  void on_accepted(size_t input, const ipc::Accepted& event) override;
  void on_delta(size_t, const ipc::Delta&) override {}
  void on_embedding(size_t input, const ipc::Embedding& event) override;
  void on_finished(size_t input, const ipc::Finished& event) override;
  void on_refused(const Refusal& refusal) override;
  void on_failed(const Error& error) override;

  void start_some();
  void give_up(const Error& error, const std::string& param = {});
  void respond_whole();

  Metrics& metrics_;
  const size_t answer_bytes_max_;
  AnswerBlob blob_;                   // of the next request to start
  EmbeddingSpec spec_;                // its inputs go to Serving one after the other
  uint64_t deadline_after_ns_ = 0;    // an input's start; 0: the class's default
  std::vector<std::string> vectors_;  // [inputs], as text
  size_t held_bytes_ = 0;             // of all vectors
  size_t inputs_ended_ = 0;
  uint64_t adopted_ns_ = 0;  // 0: it was begun here
  RequestGroup requests_;    // the last member: the first to go
};

}  // namespace deepserve::daemon
