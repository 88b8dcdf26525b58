// A Serving of which the API hears nothing: what it started only counts.
#pragma once

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class SilentServing final : public Serving {
 public:
  RequestId start(RequestSpec, ResponseSink&) override { return ++last_id_; }
  void forget(RequestId) override { ++forgotten; }
  Result<void> cancel(RequestId) override { return {}; }
  uint64_t query(const std::string&, ipc::Query, QueryDone) override { return 1; }
  void drop_query(uint64_t) override {}
  void restart_runner(const std::string&, std::function<void(Result<void>)>) override {}
  std::vector<ModelRow> models() const override { return {}; }
  std::vector<RunnerRow> runners() const override { return {}; }
  std::vector<RequestRow> requests() const override { return {}; }
  std::optional<RequestRow> request(RequestId) const override { return std::nullopt; }
  QueueCounts counts() const override { return {}; }
  bool ready() const override { return true; }
  bool stopping() const override { return false; }

  size_t forgotten = 0;

 private:
  RequestId last_id_ = 0;
};

}  // namespace deepserve::daemon
