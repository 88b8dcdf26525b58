// GPUs as a table for people: of the host, or of one runner.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "ctl/terminal.h"

namespace deepserve::ctl {

// Empty where `gpus` has no rows.
std::string gpu_table(const boost::json::value& gpus, const Terminal& terminal);

}  // namespace deepserve::ctl
