#include "ipc/lane/process_identity.h"

#include <fstream>
#include <sstream>
#include <string>

namespace deepserve::ipc {

Result<ProcessIdentity> process_identity(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return fail(Code::kNotFound, "there is no process {}", pid);
  // Field 2 is the program's name in parentheses and may itself hold spaces and parentheses.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return fail(Code::kIo, "/proc/{}/stat has no program name", pid);
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  ProcessIdentity identity{.pid = static_cast<uint64_t>(pid)};
  if (!(fields >> identity.start_ticks)) return fail(Code::kIo, "/proc/{}/stat has no field 22", pid);
  return identity;
}

}  // namespace deepserve::ipc
