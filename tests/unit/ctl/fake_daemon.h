// A scripted daemon on api.sock and ctl.sock in a directory of its own, for tests of the real dsctl.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ipc/base/fd.h"

namespace deepserve::ctl {

struct FakeRequest {
  std::string socket;  // "api.sock" or "ctl.sock"
  std::string line;    // "GET /ctl/status"
  std::string head;
  std::string body;
};

struct FakeAnswer {
  std::string bytes;        // status line, headers and body
  bool stays_open = false;  // after the bytes: until the client hangs up, which is counted
};

// A whole JSON answer; `headers` are whole lines, each ended by CRLF.
FakeAnswer json_answer(unsigned status, const std::string& body, const std::string& headers = "");
// The error body of `code`, with its headers.
FakeAnswer error_answer(unsigned status, const std::string& code, const std::string& headers = "");
// A chunked event stream, one chunk for each of `events` ("data: ...\n\n").
FakeAnswer stream_answer_of(const std::vector<std::string>& events);
// The event of one piece of text, in the shape of a chat chunk or of a completion chunk.
std::string chat_event(const std::string& text);
std::string completion_event(const std::string& text);
inline const std::string kDone = "data: [DONE]\n\n";

class FakeDaemon {
 public:
  using Handler = std::function<FakeAnswer(const FakeRequest&)>;
  explicit FakeDaemon(Handler handler);
  ~FakeDaemon();
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;

  const std::string& runtime_dir() const { return runtime_dir_; }
  std::vector<FakeRequest> requests();
  // Waits, for 30 s at the most, until so many clients have hung up on an answer that stayed open.
  bool wait_for_hang_ups(unsigned count);

 private:
  void serve();
  void answer(Fd connection, const std::string& socket);

  Handler handler_;
  std::string runtime_dir_;
  Fd api_;
  Fd control_;
  Fd stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<FakeRequest> requests_;
  unsigned hang_ups_ = 0;
  std::thread thread_;
};

}  // namespace deepserve::ctl
