// One line per event on stderr (the journal, under systemd). Use spdlog::info(...) and friends after
// init_log.
//
// Prompts and answers never go through here (DESIGN 11).
#pragma once

#include <string_view>

#include "ipc/base/errors.h"

namespace deepserve {

// `program` prefixes each line ("dsd", "ds-runner cpu0"). Under systemd (JOURNAL_STREAM set) the timestamp is
// left to the journal and each line carries its syslog priority.
void init_log(std::string_view program, LogLevel level);

}  // namespace deepserve
