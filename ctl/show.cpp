#include "ctl/show.h"

#include <boost/json/array.hpp>

namespace deepserve::ctl {

Result<void> ask_and_show(Session& session, const HttpRequest& request, const Render& render,
                          std::string_view doing, int silence_max_ms) {
  TRY_ASSIGN(const std::string body, session.control(request, doing, silence_max_ms));
  TRY_ASSIGN(const boost::json::value answer, parse_json(body));
  if (session.options().json) return print_json(session, body);
  return session.out().write(render(answer));
}

const boost::json::array& rows_of(const boost::json::value& answer) {
  static const boost::json::array none;
  const boost::json::array* rows = answer.if_array();
  return rows == nullptr ? none : *rows;
}

}  // namespace deepserve::ctl
