#include "daemon/process/sockets.h"

#include <grp.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "daemon/http/listener.h"
#include "daemon/process/inherited_sockets.h"

namespace deepserve::daemon {
namespace {

// api.sock belongs to the group deepserve where that exists, so that its members may connect.
void give_to_group(const std::string& path) {
  const group* deepserve_group = ::getgrnam("deepserve");
  if (deepserve_group == nullptr) return;
  if (::chown(path.c_str(), static_cast<uid_t>(-1), deepserve_group->gr_gid) != 0) {
    spdlog::warn("{} stays with our own group: chown failed", path);
  }
}

Result<Fd> open_socket(ListenerKind kind, const ListenAddress& address) {
  if (address.is_tcp()) return bind_loopback(address.text());
  TRY_ASSIGN(auto socket, bind_unix(address.unix_path, kind == ListenerKind::kControl ? 0600 : 0660));
  if (kind == ListenerKind::kApi) give_to_group(address.unix_path);
  return socket;
}

std::vector<ListenAddress> addresses_of(const Config& config, ListenerKind kind) {
  if (kind == ListenerKind::kApi) return config.server.listen;
  const auto& one = kind == ListenerKind::kControl ? config.server.control : config.observe.listen;
  return one.is_unix() || one.is_tcp() ? std::vector{one} : std::vector<ListenAddress>();
}

std::string_view key_of(ListenerKind kind) {
  constexpr std::array<std::string_view, static_cast<size_t>(ListenerKind::kCount)> kKeys{
      "server.listen", "server.control", "observe.listen"};
  return kKeys[static_cast<size_t>(kind)];
}

Result<void> change_kind(ListenerKind kind, const Config& before, const Config& after,
                         const std::vector<HandedListener>& held, SocketChange& change) {
  const auto old = addresses_of(before, kind);
  const auto fresh = addresses_of(after, kind);
  const bool unix_inherited = std::any_of(
      held.begin(), held.end(), [kind](const auto& one) { return one.kind == kind && one.inherited; });
  const auto check = [&](const ListenAddress& address) -> Result<void> {
    if (!address.is_unix() || !unix_inherited) return {};
    return fail(Code::kNotSupported,
                "{}: its Unix socket is the service manager's, whose unit says where it is", key_of(kind));
  };
  for (const auto& address : old) {
    if (std::find(fresh.begin(), fresh.end(), address) != fresh.end()) continue;
    TRY(check(address));
    for (const auto& one : held) {
      if (one.kind == kind && bound_address(one.fd) == address.text()) change.closed.push_back(one.fd);
    }
  }
  for (const auto& address : fresh) {
    if (std::find(old.begin(), old.end(), address) != old.end()) continue;
    TRY(check(address));
    auto socket = open_socket(kind, address);
    if (!socket) return fail(socket.error().code, "{}: {}", key_of(kind), socket.error().message);
    change.opened.push_back({kind, std::move(*socket)});
  }
  return {};
}

}  // namespace

Result<std::vector<ListeningSocket>> open_sockets(const Config& config) {
  std::vector<ListeningSocket> api, control, all;
  TRY_ASSIGN(auto given, take_inherited_sockets());
  for (auto& inherited : given) {
    TRY(adopt_listener(inherited.socket));
    if (inherited.name == "api") {
      api.push_back({ListenerKind::kApi, std::move(inherited.socket), true});
    } else if (inherited.name == "ctl") {
      control.push_back({ListenerKind::kControl, std::move(inherited.socket), true});
    } else {
      return fail(Code::kInvalidConfig,
                  "systemd passed a socket named '{}': only \"api\" and \"ctl\" are known", inherited.name);
    }
  }
  // systemd passes Unix sockets alone; the addresses over TCP are ours in either case.
  const bool unix_inherited = !api.empty();
  for (const auto& address : config.server.listen) {
    if (address.is_unix() && unix_inherited) continue;
    TRY_ASSIGN(auto socket, open_socket(ListenerKind::kApi, address));
    api.push_back({ListenerKind::kApi, std::move(socket)});
  }
  if (control.empty()) {
    TRY_ASSIGN(auto socket, open_socket(ListenerKind::kControl, config.server.control));
    control.push_back({ListenerKind::kControl, std::move(socket)});
  }
  for (auto* of_kind : {&api, &control}) {
    for (auto& one : *of_kind) all.push_back(std::move(one));
  }
  if (config.observe.listen.is_tcp()) {
    // A port that somebody else has must not keep models from being served; /metrics is on api.sock as well.
    auto socket = bind_loopback(config.observe.listen.text());
    if (socket) {
      all.push_back({ListenerKind::kObserve, std::move(*socket)});
    } else {
      spdlog::error("no /metrics over TCP: {}", socket.error().message);
    }
  } else if (config.observe.listen.is_unix()) {
    TRY_ASSIGN(auto socket, open_socket(ListenerKind::kObserve, config.observe.listen));
    all.push_back({ListenerKind::kObserve, std::move(socket)});
  }
  return all;
}

Result<SocketChange> change_sockets(const Config& before, const Config& after,
                                    const std::vector<HandedListener>& held) {
  SocketChange change;
  for (const auto kind : {ListenerKind::kApi, ListenerKind::kControl, ListenerKind::kObserve}) {
    const auto changed = change_kind(kind, before, after, held, change);
    if (changed) continue;
    for (const auto& made : change.opened) remove_socket_file(made.socket.get());
    return tl::unexpected<Error>(changed.error());
  }
  return change;
}

void remove_socket_file(int socket) {
  const std::string address = bound_address(socket);
  if (address.starts_with("unix:/")) ::unlink(address.c_str() + std::string_view("unix:").size());
}

Result<std::vector<ListeningSocket>> take_over_sockets(const std::vector<HandedListener>& handed) {
  for (const auto& one : handed) {
    if (!is_listening(one.fd)) return fail(Code::kIo, "descriptor {} does not listen", one.fd);
  }
  std::vector<ListeningSocket> all;
  for (const auto& one : handed) all.push_back({one.kind, Fd(one.fd), one.inherited});
  return all;
}

}  // namespace deepserve::daemon
