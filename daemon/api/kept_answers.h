// The answers that outlive their connections: those that run, and for a while those that have ended
// (answer_terms.h says how long). Which of them a client may come back to, by id or by its Idempotency-Key.
//
// Memory is bounded. Past `bytes_max` of all answers, or kEndedMax ended ones, the oldest ended ones go
// first. When only running ones are left, the one with the most bytes is no longer kept: its readers get the
// rest as those of any answer do, and without one it is cancelled. Either way, who comes back for what went
// by its id hears 410, and a key that belonged to it is free again. That is looked at every Api::kTick_ms, so
// that for so long there may be more. How many run is bounded by what admission takes; each has one key at
// most.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class LiveAnswer;

// One that is to come back from an earlier dsd.
struct ExpectedAnswer {
  RequestId id = 0;
  std::string client;
  std::string key;  // Idempotency-Key; empty: none

  bool operator==(const ExpectedAnswer&) const = default;
};

struct KeptLimits {
  uint64_t window_ns = 30'000'000'000;
  size_t bytes_max = 256 * 1024 * 1024;
};

class KeptAnswers {
 public:
  static constexpr size_t kEndedMax = 4096;
  static constexpr size_t kGoneMax = 4096;  // ids of which we know that they can be resumed no more

  explicit KeptAnswers(KeptLimits limits) : limits_(limits) {}

  // It has its id. One with the same key that is void gives way.
  void add(std::shared_ptr<LiveAnswer> answer);
  // An answer was begun that is not kept.
  void note_begun(RequestId id);

  // Null for an id or a key that is unknown, gone, or another client's.
  std::shared_ptr<LiveAnswer> find(RequestId id, std::string_view client) const;
  std::shared_ptr<LiveAnswer> find_key(const std::string& client, const std::string& key) const;
  // Whosever it is.
  std::shared_ptr<LiveAnswer> find_any(RequestId id) const;
  // It could be resumed, and cannot any more.
  bool is_gone(RequestId id, std::string_view client) const;
  // It was begun by this dsd, whosever it is, or would be.
  bool is_ours(RequestId id) const { return first_ != 0 && id >= first_ && id <= last_; }

  // Who waits for an answer that is to come back from another dsd. Borrowed until it came, or
  // no_longer_waits().
  class Waiting {
   public:
    virtual bool wants(const LiveAnswer& answer) const = 0;
    virtual size_t bytes() const { return 0; }  // of its request, which it keeps
    virtual void on_arrived(const std::shared_ptr<LiveAnswer>& answer) = 0;

   protected:
    ~Waiting() = default;
  };
  void wait(Waiting& waiting) { waiting_.push_back(&waiting); }
  // Whether there is room for one more that keeps so much: all that wait may have as much as all answers.
  bool may_wait(size_t bytes) const;
  void no_longer_waits(Waiting& waiting);

  // What was kept by the dsd whose place this one takes: of others nobody has to be waited for.
  void expect(std::vector<ExpectedAnswer> answers) { expected_ = std::move(answers); }
  bool knows_what_returns() const { return expected_.has_value(); }
  // For who takes this one's place: all that are kept, and those that have not come back yet.
  std::vector<ExpectedAnswer> expected_next() const;
  // Whether an answer that is not here may still come back. Of a dsd that died nobody knows what it had.
  bool may_return(RequestId id, std::string_view client) const;
  bool may_return_key(std::string_view client, std::string_view key) const;

  void tick(uint64_t now_ns);

  size_t size() const { return answers_.size(); }
  size_t bytes() const;

 private:
  using Key = std::pair<std::string, std::string>;  // client, key

  bool is_over(const LiveAnswer& answer, uint64_t now_ns) const;
  std::shared_ptr<LiveAnswer> remove(RequestId id);
  void make_room(std::vector<std::shared_ptr<LiveAnswer>>& removed);

  const KeptLimits limits_;
  std::unordered_map<RequestId, std::shared_ptr<LiveAnswer>> answers_;
  std::map<Key, RequestId> keys_;
  std::deque<std::pair<RequestId, std::string>> gone_;  // with their clients, the oldest first
  std::vector<Waiting*> waiting_;
  std::optional<std::vector<ExpectedAnswer>> expected_;  // nothing: it is not known
  RequestId first_ = 0;                                  // that this dsd began; 0: none
  RequestId last_ = 0;
};

}  // namespace deepserve::daemon
