// Answers what an operator ordered once it holds, or cannot: whoever carries it out says so, perhaps long
// after the client has gone.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "daemon/http/exchange.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

class LateResponder : public Responder {
 public:
  // To be called with what became of the order, once; nothing happens once the client has gone.
  using Done = std::function<void(const Result<void>& result)>;

  // Borrows the exchange. `order` gives the order and passes on what it is given; `answer` makes of the
  // result what the client gets.
  LateResponder(Exchange& exchange, std::function<HttpResponse(const Result<void>&)> answer,
                const std::function<void(Done)>& order)
      : exchange_(exchange), answer_(std::move(answer)) {
    order([this, alive = std::weak_ptr<bool>(alive_)](const Result<void>& result) {
      if (!alive.expired()) exchange_.respond(answer_(result));
    });
  }

 private:
  Exchange& exchange_;
  const std::function<HttpResponse(const Result<void>&)> answer_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with the callback only
};

}  // namespace deepserve::daemon
