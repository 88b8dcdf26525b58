#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "ctl/commands.h"
#include "ctl/json_rows.h"

namespace deepserve::ctl {

Result<void> show_version(Session& session) {
  namespace json = boost::json;
  json::value daemon_version;
  std::string why_not;
  const auto body = session.control({.path = "/ctl/status"}, "asking the daemon");
  if (body) {
    TRY_ASSIGN(const json::value status, parse_json(*body));
    daemon_version = field(status, "version");
  } else {
    why_not = body.error().message;
  }
  if (session.options().json) {
    return print_json(session,
                      json::serialize(json::object{{"dsctl", DEEPSERVE_VERSION}, {"dsd", daemon_version}}));
  }
  const std::string daemon = daemon_version.is_null() ? "unknown: " + why_not : text_of(daemon_version);
  return session.out().write(fmt::format("dsctl {}\ndsd {}\n", DEEPSERVE_VERSION, visible_line(daemon)));
}

}  // namespace deepserve::ctl
