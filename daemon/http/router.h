// Which function answers which method and path.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
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
};

}  // namespace deepserve::daemon
