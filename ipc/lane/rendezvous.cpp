#include "ipc/lane/rendezvous.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "ipc/base/bytes.h"

namespace deepserve::ipc {
namespace {

constexpr uint32_t kHelloMagic = 0x4c48'5344;  // "DSHL" in memory
constexpr uint32_t kOfferMagic = 0x464f'5344;  // "DSOF" in memory
constexpr size_t kMessageBytesMax = 64 * 1024;
constexpr size_t kFdsMax = 4;
constexpr int kBacklog = 64;  // daemons that came and went while the runner did not look
constexpr size_t kCommandWordsMax = 256;

// Its directory by descriptor: the path of a socket's address is short, that of a runtime directory may not
// be.
struct Address {
  Fd directory;
  sockaddr_un name{};
};

Result<Address> address_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  Address address;
  address.directory = Fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!address.directory) return fail_errno(fmt::format("cannot open the directory '{}'", folder));
  const std::string name =
      fmt::format("/proc/self/fd/{}/{}", address.directory.get(), path.substr(slash + 1));
  if (name.size() >= sizeof address.name.sun_path)
    return fail(Code::kInvalidConfig, "the name of '{}' is too long for a socket", path);
  address.name.sun_family = AF_UNIX;
  std::memcpy(address.name.sun_path, name.c_str(), name.size() + 1);
  return address;
}

const sockaddr* generic(const sockaddr_un& name) {
  return reinterpret_cast<const sockaddr*>(&name);
}

Result<Fd> make_socket() {
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  return socket;
}

// One message with at most kFdsMax descriptors.
Result<void> send_message(int connection, std::span<const std::byte> body, std::span<const int> fds) {
  iovec part{const_cast<std::byte*>(body.data()), body.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kFdsMax * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  ssize_t sent;
  do sent = ::sendmsg(connection, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent != static_cast<ssize_t>(body.size())) return fail_errno("cannot send over a rendezvous");
  return {};
}

struct Received {
  std::vector<std::byte> body;
  std::vector<Fd> fds;
};

// Descriptors that nobody has asked for are closed with what comes back.
Result<std::optional<Received>> receive_message(int connection) {
  Received received;
  received.body.resize(kMessageBytesMax);
  iovec part{received.body.data(), received.body.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kFdsMax * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got;
  do got = ::recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::optional<Received>();
  if (got < 0 && errno != ECONNRESET) return fail_errno("cannot receive over a rendezvous");
  if (got <= 0) return fail(Code::kRunnerLost, "the peer hung up during a rendezvous");
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      received.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return fail(Code::kBadLane, "a message of a rendezvous is too long");
  received.body.resize(static_cast<size_t>(got));
  return std::optional<Received>(std::move(received));
}

}  // namespace

std::vector<std::byte> RunnerHello::encode() const {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(kHelloMagic);
  out.put(abi_major);
  out.put(abi_minor);
  out.put(epoch);
  out.put(process.pid);
  out.put(process.start_ticks);
  out.put(static_cast<uint32_t>(command.size()));
  for (const auto& word : command) out.put_string(word);
  return body;
}

Result<RunnerHello> RunnerHello::decode(std::span<const std::byte> body) {
  ByteReader in(body);
  RunnerHello hello;
  if (in.get<uint32_t>() != kHelloMagic) return fail(Code::kBadLane, "a runner's hello is none");
  hello.abi_major = in.get<uint16_t>();
  hello.abi_minor = in.get<uint16_t>();
  if (in.ok() && hello.abi_major != kAbiMajor) {
    return fail(Code::kBadLane, "a runner of ABI {}.{} cannot be adopted by a dsd of ABI {}.{}",
                hello.abi_major, hello.abi_minor, kAbiMajor, kAbiMinor);
  }
  hello.epoch = in.get<uint64_t>();
  hello.process.pid = in.get<uint64_t>();
  hello.process.start_ticks = in.get<uint64_t>();
  const uint32_t words = in.get_count(sizeof(uint32_t));
  if (words > kCommandWordsMax) return fail(Code::kBadLane, "a runner's hello has {} words", words);
  for (uint32_t i = 0; i < words; ++i) hello.command.push_back(in.get_string());
  if (!in.done()) return fail(Code::kBadLane, "a runner's hello is malformed");
  return hello;
}

Result<Fd> listen_at_rendezvous(const std::string& path) {
  TRY_ASSIGN(const Address address, address_of(path));
  TRY_ASSIGN(Fd socket, make_socket());
  const mode_t before = ::umask(0177);
  const bool bound = ::bind(socket.get(), generic(address.name), sizeof address.name) == 0;
  ::umask(before);
  if (!bound) return fail_errno(fmt::format("cannot bind '{}'", path));
  if (::listen(socket.get(), kBacklog) != 0) return fail_errno(fmt::format("cannot listen at '{}'", path));
  return socket;
}

Result<Fd> connect_to_rendezvous(const std::string& path) {
  TRY_ASSIGN(const Address address, address_of(path));
  TRY_ASSIGN(Fd socket, make_socket());
  if (::connect(socket.get(), generic(address.name), sizeof address.name) == 0) return socket;
  return fail(Code::kUnreachable, "nobody listens at '{}': {}", path, std::strerror(errno));
}

Fd accept_daemon(int rendezvous_fd) {
  Fd connection(::accept4(rendezvous_fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection) return connection;
  ucred peer{};
  socklen_t size = sizeof peer;
  const bool known = ::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  if (!known || peer.uid != ::geteuid()) connection.reset();
  return connection;
}

Result<void> send_hello(int connection, const RunnerHello& hello, int group_fd) {
  const auto body = hello.encode();
  if (body.size() > kMessageBytesMax) return fail(Code::kBadLane, "the command line is too long for a hello");
  return send_message(connection, body, {&group_fd, group_fd < 0 ? 0u : 1u});
}

Result<std::optional<Introduction>> receive_hello(int connection) {
  TRY_ASSIGN(auto received, receive_message(connection));
  if (!received) return std::optional<Introduction>();
  if (received->fds.size() > 1)
    return fail(Code::kBadLane, "a hello came with {} descriptors", received->fds.size());
  Introduction introduction;
  TRY_ASSIGN(introduction.hello, RunnerHello::decode(received->body));
  if (!received->fds.empty()) introduction.group = std::move(received->fds[0]);
  return std::optional<Introduction>(std::move(introduction));
}

Result<void> send_lane(int connection, uint64_t epoch, const LaneFds& fds) {
  std::vector<std::byte> body;
  ByteWriter out(body);
  out.put(kOfferMagic);
  out.put(epoch);
  const std::array numbers = {fds.to_runner.get(), fds.to_daemon.get(), fds.runner_wake.get(),
                              fds.daemon_wake.get()};
  return send_message(connection, body, numbers);
}

Result<std::optional<OfferedLane>> receive_lane(int connection) {
  TRY_ASSIGN(auto received, receive_message(connection));
  if (!received) return std::optional<OfferedLane>();
  ByteReader in(received->body);
  const auto magic = in.get<uint32_t>();
  OfferedLane offered;
  offered.epoch = in.get<uint64_t>();
  if (magic != kOfferMagic || !in.done() || received->fds.size() != kFdsMax)
    return fail(Code::kBadLane, "what a new daemon offered is no lane");
  offered.fds = {.to_runner = std::move(received->fds[0]),
                 .to_daemon = std::move(received->fds[1]),
                 .runner_wake = std::move(received->fds[2]),
                 .daemon_wake = std::move(received->fds[3])};
  return std::optional<OfferedLane>(std::move(offered));
}

}  // namespace deepserve::ipc
