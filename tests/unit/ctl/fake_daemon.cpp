#include "tests/unit/ctl/fake_daemon.h"

#include <fmt/format.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <cctype>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "ipc/base/check.h"

namespace deepserve::ctl {
namespace {

Fd listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(::listen(socket.get(), 16) == 0);
  return socket;
}

size_t content_length(const std::string& head) {
  constexpr std::string_view kName = "Content-Length: ";
  const size_t at = head.find(kName);
  return at == std::string::npos ? 0 : std::stoul(head.substr(at + kName.size()));
}

FakeRequest read_request(const Fd& connection) {
  FakeRequest request;
  std::string bytes;
  std::array<char, 4096> buffer;
  for (;;) {
    const size_t end = bytes.find("\r\n\r\n");
    if (end != std::string::npos && bytes.size() >= end + 4 + content_length(bytes.substr(0, end))) {
      request.head = bytes.substr(0, end);
      request.body = bytes.substr(end + 4);
      request.line = bytes.substr(0, bytes.find(" HTTP/1.1"));
      return request;
    }
    const ssize_t size = ::recv(connection.get(), buffer.data(), buffer.size(), 0);
    if (size <= 0) return request;
    bytes.append(buffer.data(), static_cast<size_t>(size));
  }
}

std::string quoted(const std::string& text) {
  return boost::json::serialize(boost::json::string(text));
}

}  // namespace

FakeAnswer json_answer(unsigned status, const std::string& body, const std::string& headers) {
  return {fmt::format("HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n{}",
                      status, body.size(), headers, body)};
}

FakeAnswer error_answer(unsigned status, const std::string& code, const std::string& headers) {
  const std::string body =
      fmt::format(R"({{"error":{{"message":"it is {}","type":"t","code":"{}","param":null}}}})", code, code);
  return json_answer(status, body, headers);
}

FakeAnswer stream_answer_of(const std::vector<std::string>& events) {
  std::string bytes =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& event : events) bytes += fmt::format("{:x}\r\n{}\r\n", event.size(), event);
  return {bytes + "0\r\n\r\n"};
}

std::string chat_event(const std::string& text) {
  return fmt::format(
      "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{}}},\"finish_reason\":null}}]}}\n\n",
      quoted(text));
}

std::string completion_event(const std::string& text) {
  return fmt::format("data: {{\"choices\":[{{\"index\":0,\"text\":{},\"finish_reason\":null}}]}}\n\n",
                     quoted(text));
}

FakeDaemon::FakeDaemon(Handler handler) : handler_(std::move(handler)), stop_(::eventfd(0, EFD_CLOEXEC)) {
  std::string pattern = (std::filesystem::temp_directory_path() / "dsctl-test-XXXXXX").string();
  CHECK(::mkdtemp(pattern.data()) != nullptr);
  runtime_dir_ = pattern;
  api_ = listen_at(runtime_dir_ + "/api.sock");
  control_ = listen_at(runtime_dir_ + "/ctl.sock");
  thread_ = std::thread([this] { serve(); });
}

FakeDaemon::~FakeDaemon() {
  const uint64_t one = 1;
  CHECK(::write(stop_.get(), &one, sizeof one) == sizeof one);
  thread_.join();
  std::filesystem::remove_all(runtime_dir_);
}

std::vector<FakeRequest> FakeDaemon::requests() {
  const std::lock_guard lock(mutex_);
  return requests_;
}

bool FakeDaemon::wait_for_hang_ups(unsigned count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return hang_ups_ >= count; });
}

void FakeDaemon::serve() {
  for (;;) {
    std::array<pollfd, 3> watched = {
        {{stop_.get(), POLLIN, 0}, {api_.get(), POLLIN, 0}, {control_.get(), POLLIN, 0}}};
    CHECK(::poll(watched.data(), watched.size(), -1) > 0);
    if (watched[0].revents != 0) return;
    const bool is_api = watched[1].revents != 0;
    Fd connection(::accept4(is_api ? api_.get() : control_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection) answer(std::move(connection), is_api ? "api.sock" : "ctl.sock");
  }
}

void FakeDaemon::answer(Fd connection, const std::string& socket) {
  FakeRequest request = read_request(connection);
  request.socket = socket;
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const FakeAnswer reply = handler_(request);
  std::string_view left = reply.bytes;
  while (!left.empty()) {
    const ssize_t sent = ::send(connection.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    left.remove_prefix(static_cast<size_t>(sent));
  }
  if (!reply.stays_open) return;
  std::array<pollfd, 2> watched = {{{stop_.get(), POLLIN, 0}, {connection.get(), POLLIN, 0}}};
  CHECK(::poll(watched.data(), watched.size(), -1) > 0);
  if (watched[1].revents == 0) return;
  const std::lock_guard lock(mutex_);
  ++hang_ups_;
  changed_.notify_all();
}

}  // namespace deepserve::ctl
