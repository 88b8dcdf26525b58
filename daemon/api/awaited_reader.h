// A client that came back before the answer that it came for: the requests of an earlier dsd return with
// their runners, a moment after this one listens (ApiOptions::return_until_ns). To another dsd, after an
// upgrade in place, it comes anew.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "daemon/api/kept_answers.h"
#include "daemon/api/live_answer.h"
#include "daemon/http/exchange.h"

namespace deepserve::daemon {

// An exchange whose request is still whole when its route has long returned.
class LastingExchange final : public Exchange {
 public:
  explicit LastingExchange(Exchange& exchange) : exchange_(exchange), request_(exchange.request()) {}

  const HttpRequest& request() const override { return request_; }
  uint64_t request_id() const override { return exchange_.request_id(); }
  void set_request_id(uint64_t id) override { exchange_.set_request_id(id); }
  void respond(HttpResponse response) override { exchange_.respond(std::move(response)); }
  void start_stream(HttpResponse head) override { exchange_.start_stream(std::move(head)); }
  void wake() override { exchange_.wake(); }
  void close_after() override { exchange_.close_after(); }
  // Nobody asks for it any more.
  void let_go_of_body() { request_.body = std::string(); }

 private:
  Exchange& exchange_;
  HttpRequest request_;
};

class AwaitedReader final : public Responder, private KeptAnswers::Waiting {
 public:
  struct Wishes {
    std::function<bool(const LiveAnswer&)> wants;
    std::function<bool()> may_come;
    // It is there.
    std::function<std::unique_ptr<Responder>(Exchange&, const std::shared_ptr<LiveAnswer>&)> read;
    // It did not come in time, or cannot any more: who answers, or null after having answered.
    std::function<std::unique_ptr<Responder>(Exchange&)> do_without;
  };
  // Waits until that time, as seen every HttpLimits::sweep_ms. The others are borrowed.
  AwaitedReader(Exchange& exchange, KeptAnswers& kept, Wishes wishes, uint64_t until_ns)
      : exchange_(exchange), kept_(kept), wishes_(std::move(wishes)), until_ns_(until_ns) {
    kept_.wait(*this);
  }
  ~AwaitedReader() override { kept_.no_longer_waits(*this); }

  bool produce(std::string& out) override { return reader_ != nullptr && reader_->produce(out); }
  void tick(uint64_t now_ns) override {
    if (reader_) return reader_->tick(now_ns);
    if (over_ || (now_ns < until_ns_ && wishes_.may_come())) return;
    over_ = true;
    kept_.no_longer_waits(*this);
    reader_ = wishes_.do_without(exchange_);
    exchange_.let_go_of_body();
  }
  std::optional<std::string> hand_over() const override {
    return reader_ ? reader_->hand_over() : std::nullopt;
  }
  const HttpRequest* to_ask_again() const override { return over_ ? nullptr : &exchange_.request(); }

 private:
  bool wants(const LiveAnswer& answer) const override { return wishes_.wants(answer); }
  size_t bytes() const override { return exchange_.request().body.size(); }
  void on_arrived(const std::shared_ptr<LiveAnswer>& answer) override {
    over_ = true;
    reader_ = wishes_.read(exchange_, answer);
    exchange_.let_go_of_body();
  }

  LastingExchange exchange_;
  KeptAnswers& kept_;
  const Wishes wishes_;
  const uint64_t until_ns_;
  std::unique_ptr<Responder> reader_;
  bool over_ = false;
};

}  // namespace deepserve::daemon
