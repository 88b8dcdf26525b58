#include "runner/lane/lane_sink.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

constexpr size_t kTextPieceBytes = 64 * 1024;
constexpr size_t kMessageBytesMax = 4096;

// The largest beginning of `text` within `bytes` that ends between two characters; never nothing.
size_t cut_between_characters(std::string_view text, size_t bytes) {
  size_t size = std::min(bytes, text.size());
  while (size > 0 && size < text.size() && (static_cast<uint8_t>(text[size]) & 0xC0) == 0x80) --size;
  return size > 0 ? size : std::min(bytes, text.size());
}

// Takes away what is worth least. False: nothing is left to take.
bool shrink(std::vector<ipc::TokenLogprob>& entry) {
  if (entry.empty()) return false;
  if (entry.size() > 1) {
    entry.pop_back();
    return true;
  }
  auto& text = entry[0].text;
  text.resize(text.size() / 2);
  return !text.empty();
}

}  // namespace

void LaneSink::send(ipc::MessageType type, std::span<const std::byte> body) {
  CHECK(body.size() <= lane_.body_bytes_max());
  unflushed_ = true;
  if (backlog_.empty() && lane_.send(type, body) != ipc::SendOutcome::kRefused) return;
  backlog_.emplace_back(type, std::vector<std::byte>(body.begin(), body.end()));
}

void LaneSink::retry() {
  while (!backlog_.empty()) {
    if (lane_.send(backlog_.front().first, backlog_.front().second) == ipc::SendOutcome::kRefused) return;
    backlog_.pop_front();
  }
}

void LaneSink::delta(const ipc::Delta& event) {
  const size_t text_bytes_max = std::min(kTextPieceBytes, lane_.body_bytes_max() / 4);
  if (event.text.size() <= text_bytes_max) {
    event.encode(body_);
    if (body_.size() <= lane_.body_bytes_max()) return send(ipc::MessageType::kDelta, body_);
  }
  send_in_pieces(event, text_bytes_max);
}

// Text goes ahead, without tokens; its last piece has as many of the tokens as fit, and the rest of them
// follow without text. Where not all of one token's log probabilities fit, the least likely alternatives go.
void LaneSink::send_in_pieces(const ipc::Delta& event, size_t text_bytes_max) {
  const size_t tokens_max = std::max<size_t>(1, lane_.body_bytes_max() / (4 * sizeof(ipc::TokenId)));
  const bool scored = !event.logprobs.empty();
  std::string_view text = event.text;
  ipc::Delta piece;
  piece.request = event.request;
  piece.choice = event.choice;
  piece.index = event.index;
  piece.echo = event.echo;
  for (; text.size() > text_bytes_max; text.remove_prefix(piece.text.size())) {
    piece.text = text.substr(0, cut_between_characters(text, text_bytes_max));
    send(ipc::MessageType::kDelta, piece.encode());
  }
  piece.text = text;
  size_t sent = 0;
  do {
    const size_t count = std::min(scored ? 1 : tokens_max, event.tokens.size() - sent);
    piece.index = event.index + static_cast<uint32_t>(sent);
    piece.tokens.assign(event.tokens.begin() + static_cast<ptrdiff_t>(sent),
                        event.tokens.begin() + static_cast<ptrdiff_t>(sent + count));
    if (scored) piece.logprobs = {event.logprobs.at(sent)};
    piece.encode(body_);
    while (body_.size() > lane_.body_bytes_max() && scored && shrink(piece.logprobs[0])) piece.encode(body_);
    send(ipc::MessageType::kDelta, body_);
    piece.text.clear();
    sent += count;
  } while (sent < event.tokens.size());
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
  send(ipc::MessageType::kAnswer, body);
}

}  // namespace deepserve::runner
