// What dsd itself costs per streamed token: 64 streams over api.sock, the runner replaced by the SYNTHETIC
// one that emits tokens as fast as the lane takes them. Prints tokens per second of one core of dsd (by dsd's
// own CPU time), the bar, and PASS or FAIL.
//
//   stream_bench [--streams N] [--tokens N] [--bar N]      dsd and synthetic_runner are found beside this
//   program
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "ipc/base/clock.h"
#include "ipc/base/fd.h"

namespace {

using namespace deepserve;
namespace fs = std::filesystem;

constexpr std::string_view kToken = " token";
constexpr std::string_view kEvent = "data: ";
static_assert(kToken.size() == kEvent.size());
constexpr uint64_t kReadyLimit_ns = 10 * kSecond_ns;

struct Options {
  size_t streams = 64;
  size_t tokens = 20'000;
  double bar = 200'000;
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "stream_bench: %s\n", why.c_str());
  std::exit(1);
}

Fd connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    socket.reset();
  return socket;
}

void send_all(const Fd& socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::write(socket.get(), text.data(), text.size());
    if (sent <= 0) give_up("dsd closed a connection");
    text.remove_prefix(static_cast<size_t>(sent));
  }
}

// A dsd of our own in a directory of its own, ended with it.
class Dsd {
 public:
  explicit Dsd(const fs::path& programs) {
    std::string pattern = fs::temp_directory_path() / "deepserve-bench-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    std::ofstream(directory_ + "/synthetic.gguf") << "not a model: the runner is synthetic\n";
    std::ofstream(directory_ + "/deepserve.toml")
        << "[[device]]\nname = \"cpu0\"\nkind = \"cpu\"\n[[model]]\nname = \"synthetic\"\n"
           "path = \"synthetic.gguf\"\ndevices = [\"cpu0\"]\n";
    const std::string program = programs / "dsd", runner = programs / "synthetic_runner";
    const std::string config = directory_ + "/deepserve.toml", run = directory_ + "/run",
                      state = directory_ + "/state";
    pid_ = ::fork();
    if (pid_ == 0) {
      const int log = ::open((directory_ + "/log").c_str(), O_WRONLY | O_CREAT, 0600);
      ::dup2(log, 2);
      ::execl(program.c_str(), "dsd", "--config", config.c_str(), "--runtime-dir", run.c_str(), "--state-dir",
              state.c_str(), "--runner", runner.c_str(), nullptr);
      ::_exit(127);
    }
  }
  ~Dsd() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    fs::remove_all(directory_);
  }

  std::string api_socket() const { return directory_ + "/run/api.sock"; }

  void wait_ready() const {
    const uint64_t limit_ns = monotonic_ns() + kReadyLimit_ns;
    while (monotonic_ns() < limit_ns) {
      if (const Fd socket = connect_to(api_socket())) {
        send_all(socket, "GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        char answer[16] = {};
        if (::read(socket.get(), answer, sizeof answer - 1) > 12 && std::strncmp(answer + 9, "200", 3) == 0)
          return;
      }
      ::usleep(10'000);
    }
    give_up("dsd did not become ready");
  }

  double cpu_seconds() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    unsigned long user = 0, system = 0;
    std::sscanf(text.c_str() + text.rfind(')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                &user, &system);
    return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }

 private:
  std::string directory_;
  pid_t pid_ = -1;
};

struct Stream {
  Fd socket;
  size_t tokens = 0;
  size_t events = 0;
  std::string tail;  // a token may be cut between two reads
  bool done = false;
};

size_t count_of(std::string_view word, std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(word, at)) != text.npos; at += word.size()) ++count;
  return count;
}

void count_tokens(Stream& stream, std::string_view chunk) {
  stream.tail.append(chunk);
  stream.tokens += count_of(kToken, stream.tail);
  stream.events += count_of(kEvent, stream.tail);
  stream.done = stream.done || stream.tail.find("[DONE]") != std::string::npos;
  // One byte less than a word is kept: it counts nothing twice and loses nothing.
  if (stream.tail.size() >= kToken.size()) stream.tail.erase(0, stream.tail.size() - kToken.size() + 1);
}

struct Counts {
  size_t tokens = 0;
  size_t events = 0;
};

// Streams until all are done.
Counts stream_all(const std::string& socket_path, const Options& options) {
  const std::string body = "{\"model\":\"synthetic\",\"prompt\":\"go\",\"stream\":true,\"max_tokens\":" +
                           std::to_string(options.tokens) + "}";
  const std::string request =
      "POST /v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  std::vector<Stream> streams(options.streams);
  std::vector<pollfd> polls;
  for (auto& stream : streams) {
    stream.socket = connect_to(socket_path);
    if (!stream.socket) give_up("cannot connect");
    send_all(stream.socket, request);
    polls.push_back({stream.socket.get(), POLLIN, 0});
  }
  static char chunk[256 * 1024];
  for (size_t open = streams.size(); open != 0;) {
    if (::poll(polls.data(), polls.size(), 30'000) <= 0) give_up("nothing came for 30 s");
    for (size_t i = 0; i < polls.size(); ++i) {
      if (polls[i].revents == 0) continue;
      const ssize_t got = ::read(polls[i].fd, chunk, sizeof chunk);
      if (got <= 0) give_up("a stream broke off");
      count_tokens(streams[i], {chunk, static_cast<size_t>(got)});
      if (!streams[i].done) continue;
      polls[i].fd = -1;
      --open;
    }
  }
  Counts counts;
  for (const auto& stream : streams) {
    counts.tokens += stream.tokens;
    counts.events += stream.events;
  }
  return counts;
}

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = arguments[i];
    const double value = std::atof(arguments[i + 1]);
    if (name == "--streams") {
      options.streams = static_cast<size_t>(value);
    } else if (name == "--tokens") {
      options.tokens = static_cast<size_t>(value);
    } else if (name == "--bar") {
      options.bar = value;
    } else {
      give_up("unknown option " + std::string(name));
    }
  }
  return options;
}

}  // namespace

int main(int count, char** arguments) {
  const Options options = parse(count, arguments);
  const Dsd dsd(fs::read_symlink("/proc/self/exe").parent_path());
  dsd.wait_ready();
  const double cpu_before_s = dsd.cpu_seconds();
  const uint64_t start_ns = monotonic_ns();
  const auto [tokens, events] = stream_all(dsd.api_socket(), options);
  const double wall_s = static_cast<double>(monotonic_ns() - start_ns) * 1e-9;
  const double cpu_s = dsd.cpu_seconds() - cpu_before_s;
  if (tokens != options.streams * options.tokens) {
    give_up("tokens were lost or came twice: " + std::to_string(tokens));
  }
  const double per_core_second = static_cast<double>(tokens) / std::max(cpu_s, 0.01);
  const bool passed = per_core_second >= options.bar;
  std::printf(
      "stream_bench (synthetic runner): %zu streams x %zu tokens in %.2f s wall (%.0f tokens/s), "
      "%.1f tokens per SSE event, dsd used %.2f s\n",
      options.streams, options.tokens, wall_s, static_cast<double>(tokens) / wall_s,
      static_cast<double>(tokens) / static_cast<double>(events), cpu_s);
  std::printf("tokens per second of one core of dsd: %.0f  bar >= %.0f  %s\n", per_core_second, options.bar,
              passed ? "PASS" : "FAIL");
  return passed ? 0 : 1;
}
