// The daemon's effective config, which it gives as JSON, written as the TOML that a config file has.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace deepserve::ctl {

// Plain values first, then `[table]` and `[[table]]` sections. Nulls are left out: TOML has none.
std::string toml_text(const boost::json::value& config);

}  // namespace deepserve::ctl
