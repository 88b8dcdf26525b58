// Several requests to Serving that make up one answer: one for each prompt of a completion, one for each
// input of an embedding.
//
// They succeed together: when one is refused or fails, the others are forgotten, and the listener hears of
// that one alone.
#pragma once

#include <memory>
#include <vector>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class RequestGroup {
 public:
  // What the members are told, with the place of the one that it is about. Called as a ResponseSink is; may
  // start further members and forget all of them.
  class Listener {
   public:
    virtual void on_degraded(const Degraded& degraded) = 0;  // of any of them
    virtual void on_accepted(size_t member, const ipc::Accepted& event) = 0;
    virtual void on_delta(size_t member, const ipc::Delta& event) = 0;
    virtual void on_embedding(size_t member, const ipc::Embedding& event) = 0;
    virtual void on_finished(size_t member, const ipc::Finished& event) = 0;
    // No member runs any more.
    virtual void on_refused(const Refusal& refusal) = 0;
    virtual void on_failed(const Error& error) = 0;

   protected:
    ~Listener() = default;
  };

  // Both borrowed.
  RequestGroup(Serving& serving, Listener& listener) : serving_(serving), listener_(listener) {}
  // Forgets the members that run.
  ~RequestGroup() { forget_all(); }
  RequestGroup(const RequestGroup&) = delete;
  RequestGroup& operator=(const RequestGroup&) = delete;

  // Starts one more; its place is the number of those before it. `spec` says how many there will be
  // (whole_parts, whole_prompt_bytes).
  RequestId start(RequestSpec spec);
  // Of a group that another dsd began: so many members are to come back, each to its own place. Null: there
  // is no such place, or it is taken.
  void await(size_t members) { members_.resize(members); }
  ResponseSink* adopt(size_t place, RequestId id);
  void forget_all();

  // Of those that there are.
  size_t size() const { return present_; }
  RequestId id(size_t member) const { return members_[member]->id; }
  size_t accepted() const { return accepted_; }

 private:
  struct Member final : ResponseSink {
    Member(RequestGroup& of_group, size_t at) : group(of_group), place(at) {}
    void on_degraded(const Degraded& degraded) override { group.listener_.on_degraded(degraded); }
    void on_accepted(const ipc::Accepted& event) override;
    void on_delta(const ipc::Delta& event) override { group.listener_.on_delta(place, event); }
    void on_embedding(const ipc::Embedding& event) override { group.listener_.on_embedding(place, event); }
    void on_finished(const ipc::Finished& event) override;
    void on_refused(const Refusal& refusal) override;
    void on_failed(const Error& error) override;

    RequestGroup& group;
    const size_t place;
    RequestId id = 0;
    bool ended = false;
  };

  Serving& serving_;
  Listener& listener_;
  std::vector<std::unique_ptr<Member>> members_;
  size_t present_ = 0;
  size_t accepted_ = 0;
};

}  // namespace deepserve::daemon
