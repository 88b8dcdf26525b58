#include "daemon/api/whole_reader.h"

#include "daemon/api/handed_reading.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

WholeReader::WholeReader(Exchange& exchange, std::shared_ptr<LiveAnswer> answer)
    : exchange_(exchange), answer_(std::move(answer)) {
  exchange_.set_request_id(answer_->id());
  answer_->attach(*this);
  if (answer_->response()) exchange_.respond(*answer_->response());
}

WholeReader::~WholeReader() {
  answer_->detach(*this, monotonic_ns());
}

std::optional<std::string> WholeReader::hand_over() const {
  if (!answer_->can_be_handed_over()) return std::nullopt;
  return handed_text({.request = answer_->id(), .streams = false});
}

}  // namespace deepserve::daemon
