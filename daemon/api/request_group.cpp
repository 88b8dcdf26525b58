#include "daemon/api/request_group.h"

#include <utility>

namespace deepserve::daemon {

RequestId RequestGroup::start(RequestSpec spec) {
  if (!members_.empty()) spec.whole = members_.front()->id;
  Member& member = *members_.emplace_back(std::make_unique<Member>(*this, members_.size()));
  ++present_;
  member.id = serving_.start(std::move(spec), member);
  return member.id;
}

ResponseSink* RequestGroup::adopt(size_t place, RequestId id) {
  if (place >= members_.size() || members_[place]) return nullptr;
  members_[place] = std::make_unique<Member>(*this, place);
  members_[place]->id = id;
  ++present_;
  return members_[place].get();
}

void RequestGroup::forget_all() {
  for (const auto& member : members_) {
    if (member && !std::exchange(member->ended, true)) serving_.forget(member->id);
  }
}

void RequestGroup::Member::on_accepted(const ipc::Accepted& event) {
  ++group.accepted_;
  group.listener_.on_accepted(place, event);
}

void RequestGroup::Member::on_finished(const ipc::Finished& event) {
  ended = ended || event.last;
  group.listener_.on_finished(place, event);
}

void RequestGroup::Member::on_refused(const Refusal& refusal) {
  ended = true;
  group.forget_all();
  group.listener_.on_refused(refusal);
}

void RequestGroup::Member::on_failed(const Error& error) {
  ended = true;
  group.forget_all();
  group.listener_.on_failed(error);
}

}  // namespace deepserve::daemon
