// Everything that /metrics tells (DESIGN 12). The names stand in metric_names.h and nowhere else.
//
// Counting is cheap: plain numbers on the loop's thread, given to prometheus-cpp when somebody asks.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/observe/client_labels.h"
#include "daemon/serving/serving.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

struct HttpCounters;

// A histogram as plain numbers.
class LocalHistogram {
 public:
  explicit LocalHistogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void observe(double value, uint64_t times = 1);

 private:
  friend class Metrics;
  std::vector<double> bounds_;  // upper, ascending; one more bucket for the rest
  std::vector<double> counts_;  // since the last scrape
  double sum_ = 0;
};

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // By the API, for each request.
  struct Acceptance {
    ipc::Class service_class = ipc::Class::kNormal;
    std::string_view client;
    double queue_seconds = 0;
    uint32_t prompt_tokens = 0;
    bool degraded = false;  // the answer will not be what was asked for
  };
  void count_accepted(const Acceptance& accepted);
  void count_refused(ipc::Class service_class, std::string_view reason, std::string_view client);
  void count_finished(ipc::FinishReason reason);  // one choice
  // An answer that is not what was asked for. `how`: one or several, parted by ", ".
  void count_degraded(std::string_view how, uint64_t truncated_bytes);
  // Of a request that came back for its slot: from its coming to its acceptance.
  void observe_retry_after_error(double seconds) { retry_after_error_.observe(seconds); }
  // The first token came so much later than nine of ten were predicted to; negative: earlier.
  void observe_prediction_error(double seconds) { prediction_error_.observe(seconds); }
  void observe_whole(double seconds) { whole_.observe(seconds); }
  void count_failed(Code code, double seconds);
  void observe_first_token(ipc::Class service_class, double seconds);
  // `tokens` came together, `seconds` after the ones before them.
  void observe_tokens(uint32_t tokens, double seconds) {
    generation_tokens_ += tokens;
    if (tokens != 0) inter_token_.observe(seconds / tokens, tokens);
  }
  void count_tokens(uint32_t tokens) { generation_tokens_ += tokens; }

  // By the API, when somebody is to read them: the answers that outlive their connections.
  void set_kept(size_t answers, size_t bytes);

  // By the supervisor, whenever a runner is started anew: "crash", "killed", "hung", "operator", ...
  void count_runner_restart(std::string_view reason);

  // The Prometheus text. `http`: may be null.
  std::string render(const Serving& serving, const HttpCounters* http);

 private:
  struct Registry;
  // Whose, and what became of it: "accepted", "degraded" or "refused", and why.
  struct Admitted {
    std::string client;  // its label
    ipc::Class service_class;
    std::string_view outcome;
    std::string reason;
    auto operator<=>(const Admitted&) const = default;
  };
  void flush_counters();
  void flush_histograms();
  void count_admitted(std::string_view client, ipc::Class service_class, std::string_view outcome,
                      std::string_view reason);
  void set_serving(const Serving& serving);
  void set_gpu(const GpuState& gpu, uint64_t now_ns);
  void set_http(const HttpCounters& http);

  std::unique_ptr<Registry> registry_;
  uint64_t prompt_tokens_ = 0;
  uint64_t generation_tokens_ = 0;
  std::map<std::string, uint64_t> finished_;  // by reason
  std::map<std::string, uint64_t> failed_;    // by error code
  std::map<std::string, uint64_t> restarts_;  // by reason
  std::map<std::string, uint64_t> degraded_;  // by how
  ClientLabels client_labels_;
  std::map<Admitted, uint64_t> admitted_;
  uint64_t truncated_bytes_ = 0;
  std::vector<LocalHistogram> first_token_;  // by class
  LocalHistogram inter_token_;
  LocalHistogram whole_;
  LocalHistogram queued_;
  LocalHistogram retry_after_error_;
  LocalHistogram prediction_error_;
};

}  // namespace deepserve::daemon
