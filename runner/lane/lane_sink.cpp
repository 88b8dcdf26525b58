#include "runner/lane/lane_sink.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

constexpr size_t kTextPieceBytes = 64 * 1024;
constexpr size_t kMessageBytesMax = 4096;
constexpr size_t kBodyBytesMaxDetached = 1u << 20;  // below that of every lane that dsd makes

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

bool LaneSink::begin(const ipc::Submit& message, std::span<const std::byte> submit) {
  // Log probabilities and an echo that were told elsewhere are not known here.
  const bool scored = message.generation.logprobs != ipc::kNoLogprobs;
  const bool tellable = message.resumed.empty() || (!scored && !message.generation.echo);
  if (message.has_unheard()) {
    // The next dsd hears all of them, and may be of a version that does not know the word.
    ipc::Submit kept = message;
    for (auto& choice : kept.resumed) choice.unheard = 0;
    if (!log_.begin(message.request, kept.encode(), tellable)) return false;
  } else if (!log_.begin(message.request, submit, tellable)) {
    return false;
  }
  keep_within_limits();
  return true;
}

void LaneSink::detach() {
  lane_ = nullptr;
  backlog_.clear();
  behind_.clear();
  history_.clear();
  abandoned_ = log_.cut_requests();
}

void LaneSink::attach(ipc::Lane& lane) {
  lane_ = &lane;
  backlog_.clear();
  behind_.clear();
  history_.clear();
  for (const ipc::RequestId request : log_.begin_again()) {
    if (log_.is_over(request)) {
      history_.push_back(request);
    } else {
      behind_.insert(request);
    }
  }
}

size_t LaneSink::body_bytes_max() const {
  return lane_ != nullptr ? lane_->body_bytes_max() : kBodyBytesMaxDetached;
}

void LaneSink::send(ipc::MessageType type, std::span<const std::byte> body) {
  CHECK(body.size() <= body_bytes_max());
  if (lane_ == nullptr) return;
  unflushed_ = true;
  if (backlog_.empty() && lane_->send(type, body) != ipc::SendOutcome::kRefused) return;
  backlog_.emplace_back(type, std::vector<std::byte>(body.begin(), body.end()));
}

// Of a request: into its log, and on to the daemon where nothing of it waits.
void LaneSink::tell(ipc::RequestId request, ipc::MessageType type, std::span<const std::byte> body) {
  if (!log_.append(request, type, body)) {
    if (!log_.is_lost(request)) send(type, body);
    return;
  }
  if (lane_ != nullptr && (blocked() || !catch_up(request))) behind_.insert(request);
  keep_within_limits();
}

// True: the log has nothing more of it.
bool LaneSink::catch_up(ipc::RequestId request, size_t* events) {
  while (const auto event = log_.next(request)) {
    if (lane_->send(event->type, event->body) == ipc::SendOutcome::kRefused) return false;
    unflushed_ = true;
    log_.told(request);
    if (events != nullptr) ++*events;
  }
  return true;
}

void LaneSink::keep_within_limits() {
  for (auto& cut : log_.keep_within_limits()) {
    behind_.erase(cut.request);
    if (lane_ == nullptr) {
      abandoned_.push_back(cut.request);
    } else {
      for (auto& [type, body] : cut.untold) send(type, body);
    }
  }
}

void LaneSink::retry() {
  if (lane_ == nullptr) return;
  lane_full_ = true;
  while (!backlog_.empty()) {
    if (lane_->send(backlog_.front().first, backlog_.front().second) == ipc::SendOutcome::kRefused) return;
    backlog_.pop_front();
  }
  for (; !behind_.empty(); behind_.erase(behind_.begin())) {
    if (!catch_up(*behind_.begin())) return;
  }
  for (size_t events = 0; !history_.empty() && events < kHistoryEvents; history_.pop_front()) {
    if (!catch_up(history_.front(), &events)) return;
  }
  lane_full_ = false;
}

void LaneSink::accepted(const ipc::Accepted& event) {
  tell(event.request, ipc::MessageType::kAccepted, event.encode());
}

void LaneSink::embedding(const ipc::Embedding& event) {
  tell(event.request, ipc::MessageType::kEmbedding, event.encode());
}

void LaneSink::finished(const ipc::Finished& event) {
  tell(event.request, ipc::MessageType::kFinished, event.encode());
  // Whoever cancels does not come back for the answer.
  if (event.last) log_.end(event.request, event.reason != ipc::FinishReason::kCancelled);
}

// One token that an earlier runner generated: only a daemon that comes anew has to hear of it.
void LaneSink::resumed(const ipc::Delta& event) {
  event.encode(body_);
  log_.append(event.request, ipc::MessageType::kDelta, body_, RequestLog::For::kNextOnly);
}

void LaneSink::delta(const ipc::Delta& event) {
  const size_t text_bytes_max = std::min(kTextPieceBytes, body_bytes_max() / 4);
  if (event.text.size() <= text_bytes_max) {
    event.encode(body_);
    if (body_.size() <= body_bytes_max()) return tell(event.request, ipc::MessageType::kDelta, body_);
  }
  send_in_pieces(event, text_bytes_max);
}

// Text goes ahead, without tokens; its last piece has as many of the tokens as fit, and the rest of them
// follow without text. Where not all of one token's log probabilities fit, the least likely alternatives go.
void LaneSink::send_in_pieces(const ipc::Delta& event, size_t text_bytes_max) {
  const size_t tokens_max = std::max<size_t>(1, body_bytes_max() / (4 * sizeof(ipc::TokenId)));
  const bool scored = !event.logprobs.empty();
  std::string_view text = event.text;
  ipc::Delta piece;
  piece.request = event.request;
  piece.choice = event.choice;
  piece.index = event.index;
  piece.echo = event.echo;
  for (; text.size() > text_bytes_max; text.remove_prefix(piece.text.size())) {
    piece.text = text.substr(0, cut_between_characters(text, text_bytes_max));
    tell(event.request, ipc::MessageType::kDelta, piece.encode());
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
    while (body_.size() > body_bytes_max() && scored && shrink(piece.logprobs[0])) piece.encode(body_);
    tell(event.request, ipc::MessageType::kDelta, body_);
    piece.text.clear();
    sent += count;
  } while (sent < event.tokens.size());
}

void LaneSink::failed(const ipc::Failed& event) {
  ipc::Failed shortened = event;
  shortened.message.resize(cut_between_characters(event.message, kMessageBytesMax));
  tell(event.request, ipc::MessageType::kFailed, shortened.encode());
  // What a runner that drains does not take another one has by then.
  log_.end(event.request, event.code != Code::kShuttingDown);
}

void LaneSink::answer(const ipc::Answer& answer) {
  auto body = answer.encode();
  if (body.size() > body_bytes_max()) {
    ipc::Answer refusal;
    refusal.query = answer.query;
    refusal.failed = true;
    refusal.code = Code::kPayloadTooLarge;
    refusal.text = fmt::format("the answer has {} bytes, at most {} fit", body.size(), body_bytes_max());
    body = refusal.encode();
  }
  send(ipc::MessageType::kAnswer, body);
}

}  // namespace deepserve::runner
