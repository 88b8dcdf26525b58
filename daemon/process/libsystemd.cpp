#include "daemon/process/libsystemd.h"

#include <dlfcn.h>

namespace deepserve::daemon {
namespace {

template <typename Function>
Result<Function> find(void* library, const char* name, const char* function) {
  if (void* found = ::dlsym(library, function)) return reinterpret_cast<Function>(found);
  return fail(Code::kNotSupported, "{} has no {}", name, function);
}

}  // namespace

Result<Libsystemd> load_libsystemd(const char* name) {
  void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);  // never closed: its functions are kept
  if (library == nullptr) return fail(Code::kNotSupported, "{}", ::dlerror());
  Libsystemd found;
  TRY_ASSIGN(found.notify, find<decltype(found.notify)>(library, name, "sd_notify"));
  TRY_ASSIGN(found.watchdog_enabled,
             find<decltype(found.watchdog_enabled)>(library, name, "sd_watchdog_enabled"));
  TRY_ASSIGN(found.listen_fds_with_names,
             find<decltype(found.listen_fds_with_names)>(library, name, "sd_listen_fds_with_names"));
  return found;
}

const Result<Libsystemd>& libsystemd() {
  static const Result<Libsystemd> found = load_libsystemd("libsystemd.so.0");
  return found;
}

}  // namespace deepserve::daemon
