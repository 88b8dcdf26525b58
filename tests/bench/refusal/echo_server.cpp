// What of head_refusal_bench's figures is the kernel's: a server that answers whatever it reads with the text
// of its standard input, by one epoll_wait, one recv and one send, and does nothing else.
//
//   echo_server SOCKET < ANSWER
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iostream>
#include <iterator>
#include <span>
#include <string>

#include "ipc/base/check.h"

namespace {

constexpr size_t kReads_bytes = 64 * 1024;
constexpr int kEvents = 64;

int listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(::listen(listener, kEvents) == 0);
  return listener;
}

void watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  CHECK(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

void serve(int listener, const std::string& answer) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, listener);
  std::array<epoll_event, kEvents> events{};
  std::string buffer(kReads_bytes, '\0');
  while (true) {
    const int count = ::epoll_wait(epoll, events.data(), kEvents, -1);
    for (const auto& event : std::span(events).first(static_cast<size_t>(std::max(0, count)))) {
      const int fd = event.data.fd;
      if (fd == listener) {
        watch(epoll, ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      } else if (::recv(fd, buffer.data(), buffer.size(), 0) <= 0 ||
                 ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) {
        ::close(fd);
      }
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    fmt::print(stderr, "usage: echo_server SOCKET < ANSWER\n");
    return 2;
  }
  const std::string answer(std::istreambuf_iterator<char>(std::cin), {});
  serve(listen_at(arguments[1]), answer);
}
