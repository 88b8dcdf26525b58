#include "daemon/http/router.h"

#include <algorithm>
#include <set>

#include "daemon/http/error_response.h"

namespace deepserve::daemon {
namespace {

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> segments;
  if (!path.empty() && path[0] == '/') path.remove_prefix(1);
  for (;;) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == path.npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

void Router::add(std::string method, std::string_view pattern, Route route) {
  Entry entry{.method = std::move(method), .segments = {}, .route = std::move(route)};
  for (const std::string_view segment : split_path(pattern)) {
    const bool is_parameter = segment.starts_with('{');
    entry.segments.emplace_back(!is_parameter ? segment : segment.ends_with("...}") ? "{..." : "{");
  }
  entries_.push_back(std::move(entry));
}

bool Router::matches(const Entry& entry, const std::vector<std::string_view>& segments,
                     PathParameters& parameters) {
  parameters.clear();
  size_t at = 0;
  for (const std::string& expected : entry.segments) {
    if (at == segments.size()) return false;
    std::string_view segment = segments[at++];
    if (expected == "{...") {
      segment = {segment.data(),
                 static_cast<size_t>(segments.back().data() + segments.back().size() - segment.data())};
      at = segments.size();
    } else if (expected != "{") {
      if (segment != expected) return false;
      continue;
    }
    if (segment.empty() || !percent_decode(segment, parameters.emplace_back())) return false;
  }
  return at == segments.size();
}

std::unique_ptr<Responder> Router::dispatch(Exchange& exchange) const {
  const HttpRequest& request = exchange.request();
  const std::string_view method = request.method == "HEAD" ? std::string_view("GET") : request.method;
  const auto segments = split_path(request.path);
  PathParameters parameters;
  std::set<std::string> allowed;
  for (const Entry& entry : entries_) {
    if (!matches(entry, segments, parameters)) continue;
    if (entry.method == method) return entry.route(exchange, parameters);
    allowed.insert(entry.method);
    if (entry.method == "GET") allowed.insert("HEAD");
  }
  if (allowed.empty()) {
    exchange.respond(error_response({Code::kNotFound, "there is nothing at " + request.path}));
    return nullptr;
  }
  std::string list;
  for (const std::string& name : allowed) list += (list.empty() ? "" : ", ") + name;
  HttpResponse response =
      error_response({Code::kMethodNotAllowed, request.method + " is not allowed for " + request.path});
  response.fields.emplace_back("Allow", list);
  exchange.respond(std::move(response));
  return nullptr;
}

}  // namespace deepserve::daemon
