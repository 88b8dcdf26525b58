#include "tests/unit/lane_server/lane_pair.h"

#include <fcntl.h>

#include "ipc/base/check.h"

namespace deepserve::runner::testing {

ipc::LaneFds duplicate(const ipc::LaneFds& fds) {
  const auto copy = [](const Fd& fd) { return Fd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 100)); };
  return {copy(fds.to_runner), copy(fds.to_daemon), copy(fds.runner_wake), copy(fds.daemon_wake)};
}

DaemonEnd::DaemonEnd(ipc::LaneFds fds, uint64_t epoch) {
  auto attached = ipc::Lane::attach(std::move(fds), ipc::Side::kDaemon, epoch);
  CHECK(attached.has_value());
  lane = std::move(*attached);
}

void DaemonEnd::drain() {
  const auto handled = lane->drain(1000, [this](ipc::MessageType type, auto body) { take(type, body); });
  CHECK(handled.has_value());
}

void DaemonEnd::take(ipc::MessageType type, std::span<const std::byte> body) {
  order.push_back(type);
  switch (type) {
    case ipc::MessageType::kState:
      states.push_back(ipc::RunnerState::decode(body).value());
      break;
    case ipc::MessageType::kAccepted:
      accepted.push_back(ipc::Accepted::decode(body).value());
      break;
    case ipc::MessageType::kDelta: {
      const auto delta = ipc::Delta::decode(body).value();
      auto& so_far = delta.echo ? echo_tokens[delta.request] : tokens[delta.request];
      CHECK(delta.index == so_far.size());
      so_far.insert(so_far.end(), delta.tokens.begin(), delta.tokens.end());
      (delta.echo ? echo_text : text)[delta.request] += delta.text;
      break;
    }
    case ipc::MessageType::kEmbedding: {
      const auto message = ipc::Embedding::decode(body).value();
      CHECK(embeddings.emplace(message.request, message.values).second);
      break;
    }
    case ipc::MessageType::kFinished: {
      const auto message = ipc::Finished::decode(body).value();
      CHECK(finished.emplace(message.request, message).second);
      break;
    }
    case ipc::MessageType::kFailed: {
      const auto message = ipc::Failed::decode(body).value();
      CHECK(failed.emplace(message.request, message).second);
      break;
    }
    case ipc::MessageType::kAdopted: {
      const auto message = ipc::Submit::decode(body).value();
      CHECK(adopted.emplace(message.request, message).second);
      adopted_order.push_back(message.request);
      break;
    }
    case ipc::MessageType::kAnswer: {
      const auto message = ipc::Answer::decode(body).value();
      answers[message.query] = message;
      break;
    }
    default:
      CHECK(false);
  }
}

}  // namespace deepserve::runner::testing
