#include "runner/lane/lane_sink.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

constexpr size_t kTextPieceBytes = 64 * 1024;
constexpr size_t kMessageBytesMax = 4096;

// The largest beginning of `text` within `bytes` that ends between two characters.
size_t cut_between_characters(std::string_view text, size_t bytes) {
  size_t size = std::min(bytes, text.size());
  while (size > 0 && size < text.size() && (static_cast<uint8_t>(text[size]) & 0xC0) == 0x80) --size;
  return size;
}

}  // namespace

void LaneSink::send(ipc::MessageType type, std::vector<std::byte> body) {
  CHECK(body.size() <= lane_.body_bytes_max());
  unflushed_ = true;
  if (backlog_.empty() && lane_.send(type, body) != ipc::SendOutcome::kRefused) return;
  backlog_.emplace_back(type, std::move(body));
}

void LaneSink::retry() {
  while (!backlog_.empty()) {
    if (lane_.send(backlog_.front().first, backlog_.front().second) == ipc::SendOutcome::kRefused) return;
    backlog_.pop_front();
  }
}

// A long echo goes ahead in pieces, without tokens: the piece that has them is the last.
void LaneSink::delta(const ipc::Delta& event) {
  if (event.text.size() <= kTextPieceBytes) {
    send(ipc::MessageType::kDelta, event.encode());
    return;
  }
  std::string_view rest = event.text;
  ipc::Delta piece;
  piece.request = event.request;
  piece.choice = event.choice;
  piece.index = event.index;
  piece.echo = event.echo;
  while (rest.size() > kTextPieceBytes) {
    const size_t size = cut_between_characters(rest, kTextPieceBytes);
    piece.text = rest.substr(0, size);
    rest.remove_prefix(size);
    send(ipc::MessageType::kDelta, piece.encode());
  }
  piece.text = rest;
  piece.tokens = event.tokens;
  piece.logprobs = event.logprobs;
  send(ipc::MessageType::kDelta, piece.encode());
}

void LaneSink::failed(const ipc::Failed& event) {
  if (event.message.size() <= kMessageBytesMax) {
    send(ipc::MessageType::kFailed, event.encode());
    return;
  }
  ipc::Failed shortened = event;
  shortened.message.resize(cut_between_characters(event.message, kMessageBytesMax));
  send(ipc::MessageType::kFailed, shortened.encode());
}

void LaneSink::answer(const ipc::Answer& answer) {
  auto body = answer.encode();
  if (body.size() > lane_.body_bytes_max()) {
    ipc::Answer refusal;
    refusal.query = answer.query;
    refusal.failed = true;
    refusal.code = Code::kPayloadTooLarge;
    refusal.text =
        fmt::format("the answer has {} bytes, at most {} fit", body.size(), lane_.body_bytes_max());
    body = refusal.encode();
  }
  send(ipc::MessageType::kAnswer, std::move(body));
}

}  // namespace deepserve::runner
