// The way of most commands: ask ctl.sock, then print what it said, as JSON or as text for people.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "ctl/json_rows.h"
#include "ctl/session.h"

namespace deepserve::ctl {

using Render = std::function<std::string(const boost::json::value& answer)>;

// Arguments as Session::control's. With --json the answer's own text is printed, else what `render` makes of
// it.
Result<void> ask_and_show(Session& session, const HttpRequest& request, const Render& render,
                          std::string_view doing = "asking the daemon", int silence_max_ms = 30'000);

// The rows of a JSON array; none for anything else.
const boost::json::array& rows_of(const boost::json::value& answer);

}  // namespace deepserve::ctl
