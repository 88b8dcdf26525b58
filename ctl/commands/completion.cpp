#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "ctl/commands.h"

namespace deepserve::ctl {

Result<void> print_completion(Session& session, const std::string& shell, const CommandTree& commands) {
  const std::string script = completion_script(shell, commands);
  if (!session.options().json) return session.out().write(script);
  return print_json(session,
                    boost::json::serialize(boost::json::object{{"shell", shell}, {"script", script}}));
}

}  // namespace deepserve::ctl
