// A lane with both of its ends in the test's hands, and what its runner has said.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipc/base/clock.h"
#include "ipc/lane/lane.h"

namespace deepserve::runner::testing {

inline constexpr uint64_t kPatience_ns = 20 * kSecond_ns;  // a test that waits so long has failed

// Sanitizers reserve memory beyond every limit, and end a process that runs out of it in their own way.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

ipc::LaneFds duplicate(const ipc::LaneFds& fds);

// The daemon's side of a lane: sends, and files what comes by kind.
class DaemonEnd {
 public:
  explicit DaemonEnd(ipc::LaneFds fds, uint64_t epoch = 1);

  template <typename Message>
  void send(const Message& message, ipc::MessageType type) {
    lane->send(type, message.encode());
    lane->flush();
  }
  void submit(const ipc::Submit& message) { send(message, ipc::MessageType::kSubmit); }

  // Takes what has come.
  void drain();
  // Drains until `done` holds; false when patience ran out.
  template <typename Done>
  bool wait_until(Done done);

  std::unique_ptr<ipc::Lane> lane;
  std::vector<ipc::MessageType> order;  // of all that came
  std::vector<ipc::RunnerState> states;
  std::vector<ipc::Accepted> accepted;
  std::map<ipc::RequestId, std::string> text;
  std::map<ipc::RequestId, std::vector<ipc::TokenId>> tokens;
  std::map<ipc::RequestId, std::string> echo_text;
  std::map<ipc::RequestId, std::vector<ipc::TokenId>> echo_tokens;
  std::map<ipc::RequestId, std::vector<float>> embeddings;
  std::map<ipc::RequestId, ipc::Finished> finished;
  std::map<ipc::RequestId, ipc::Failed> failed;
  std::map<uint64_t, ipc::Answer> answers;
  std::map<ipc::RequestId, ipc::Submit> adopted;
  std::vector<ipc::RequestId> adopted_order;

 private:
  void take(ipc::MessageType type, std::span<const std::byte> body);
};

template <typename Done>
bool DaemonEnd::wait_until(Done done) {
  const uint64_t begin_ns = monotonic_ns();
  while (!done()) {
    if (monotonic_ns() - begin_ns > kPatience_ns) return false;
    lane->wait(0, 10 * kMillisecond_ns, -1);
    drain();
  }
  return true;
}

}  // namespace deepserve::runner::testing
