// The command line of dsctl. All of CLI11 is behind it.
#pragma once

#include <functional>
#include <string>
#include <variant>

#include "ctl/options.h"
#include "ctl/session.h"

namespace deepserve::ctl {

// What was asked for.
struct ParsedCommand {
  GlobalOptions options;
  std::function<Result<void>(Session&)> run;
};

// Nothing is to be run: help was asked for (exit code 0, text for stdout) or the line is wrong (2, text for
// stderr).
struct ParseStop {
  int exit_code = 0;
  std::string text;
};

// `arguments` as main gets them. Global options may stand before or after the command.
std::variant<ParsedCommand, ParseStop> parse_command_line(int argument_count, const char* const* arguments);

}  // namespace deepserve::ctl
