// Which function answers which method and path.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/http/exchange.h"

namespace deepserve::daemon {

// The decoded parts of the path that matched the pattern's {names}, in order.
using PathParameters = std::vector<std::string>;

// Answers at once and returns null, or returns who will.
using Route = std::function<std::unique_ptr<Responder>(Exchange& exchange, const PathParameters& parameters)>;

class Router {
 public:
  // `pattern`: "/ctl/runners/{id}/restart"; a parameter is one segment, or, written "{name...}" at the end,
  // the rest. A route for GET also answers HEAD.
  void add(std::string method, std::string_view pattern, Route route);

  // Goes on with an answer that another process began, by what its Responder::hand_over said. Null when it
  // cannot, or has answered at once. An answer whose head was written goes on without start_stream.
  using Resume = std::function<std::unique_ptr<Responder>(Exchange& exchange, std::string_view what)>;
  void set_resume(Resume resume) { resume_ = std::move(resume); }
  std::unique_ptr<Responder> resume(Exchange& exchange, std::string_view what) const {
    return resume_ ? resume_(exchange, what) : nullptr;
  }

  // Answers by the route that matches, else with 404 not_found, or 405 with Allow.
  std::unique_ptr<Responder> dispatch(Exchange& exchange) const;

 private:
  struct Entry {
    std::string method;
    std::vector<std::string> segments;  // "{": a parameter; "{...": the rest
    Route route;
  };
  static bool matches(const Entry& entry, const std::vector<std::string_view>& segments,
                      PathParameters& parameters);

  std::vector<Entry> entries_;
  Resume resume_;
};

}  // namespace deepserve::daemon
