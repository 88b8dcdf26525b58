#include "ipc/lane/ring.h"

#include "ipc/base/check.h"
#include "ipc/lane/crc32c.h"

namespace deepserve::ipc {
namespace {

uint64_t words_for(uint64_t bytes) {
  return (bytes + 7) / 8;
}

BodyPlace place_of(uint64_t meta) {
  return static_cast<BodyPlace>(meta >> 48);
}

// The byte ring is read and written in whole words, so that every access to it is an atomic one.
void store_body(const RingView& view, uint64_t position, std::span<const std::byte> body) {
  const uint64_t mask = view.body_bytes / 8 - 1;
  uint64_t at = position / 8;
  size_t done = 0;
  for (; body.size() - done >= 8; done += 8, ++at) {
    uint64_t word = 0;
    std::memcpy(&word, body.data() + done, sizeof word);
    view.body_words[at & mask].store(word, std::memory_order_relaxed);
  }
  if (done == body.size()) return;
  uint64_t last = 0;
  std::memcpy(&last, body.data() + done, body.size() - done);
  view.body_words[at & mask].store(last, std::memory_order_relaxed);
}

void load_body(const RingView& view, uint64_t position, std::span<uint64_t> copy) {
  const uint64_t mask = view.body_bytes / 8 - 1;
  const uint64_t first = position / 8;
  for (uint64_t i = 0; i < copy.size(); ++i) {
    copy[i] = view.body_words[(first + i) & mask].load(std::memory_order_relaxed);
  }
}

// Over what makes a message: its sequence word, the slot's other words, and a body that lies elsewhere.
uint32_t slot_crc(uint64_t sequence, uint64_t meta, const std::array<uint64_t, kInlineWords>& words,
                  std::span<const std::byte> body) {
  const std::array<uint64_t, 2> front = {sequence, meta};
  uint32_t crc = crc32c(std::as_bytes(std::span(front)));
  crc = crc32c(std::as_bytes(std::span(words)), crc);
  return place_of(meta) == BodyPlace::kByteRing ? crc32c(body, crc) : crc;
}

}  // namespace

RingView ring_view(const MappedDirection& direction) {
  return {.words = &direction.ring_words(),
          .slots = direction.slots(),
          .slot_crcs = direction.slot_crcs(),
          .body_words = direction.body_words(),
          .slots_count = direction.facts().slots,
          .body_bytes = direction.facts().body_bytes,
          .epoch = direction.facts().epoch};
}

RingProducer::RingProducer(const RingView& view)
    : view_(view), mask_(view.slots_count - 1), large_(view.slots_count) {
  recover();
}

void RingProducer::recover() {
  // Pairs with the consumer's release stores. A head that lies finds no published slot behind it, and is then
  // noticed by the next refresh_head or leaves the ring empty: wrong, but the peer's own loss.
  head_ = view_.words->head.load(std::memory_order_acquire);
  tail_ = head_;
  bool any_large = false;
  while (tail_ - head_ < view_.slots_count) {
    const Slot& slot = view_.slots[tail_ & mask_];
    // Our predecessor's own stores: its death, seen by the kernel, came before our birth.
    if (slot.words[0].load(std::memory_order_acquire) != sequence_word(view_.epoch, tail_)) break;
    const uint64_t meta = slot.words[1].load(std::memory_order_relaxed);
    if (place_of(meta) == BodyPlace::kByteRing) {
      const uint64_t position = slot.words[2].load(std::memory_order_relaxed) / 8 * 8;
      const uint64_t length = std::min<uint64_t>(static_cast<uint32_t>(meta), view_.body_bytes_max());
      if (!any_large) body_head_ = position;
      any_large = true;
      body_tail_ = position + words_for(length) * 8;
      remember_large(tail_, body_tail_);
    }
    ++tail_;
  }
  // Positions that do not fit the ring were forged by the consumer's process: its bodies are lost with its
  // messages.
  if (body_tail_ - body_head_ > view_.body_bytes) body_head_ = body_tail_;
  published_ = tail_;
  view_.words->tail.store(tail_, std::memory_order_relaxed);
}

void RingProducer::refresh_head() {
  // Pairs with the consumer's store_head(): what lies before the head may be overwritten.
  const uint64_t head = view_.words->head.load(std::memory_order_acquire);
  if (head - head_ > published_ - head_) {
    consumer_lies_ = true;
    return;
  }
  head_ = head;
  while (large_first_ != large_end_ && large_[large_first_ & mask_].index < head_) {
    body_head_ = large_[large_first_ & mask_].position;
    ++large_first_;
  }
}

bool RingProducer::body_has_room(uint64_t bytes) {
  // An empty byte ring has no oldest body that would hold its start back.
  if (large_first_ == large_end_) body_head_ = body_tail_;
  return view_.body_bytes - (body_tail_ - body_head_) >= bytes;
}

bool RingProducer::has_room(size_t body_bytes) {
  refresh_head();
  if (consumer_lies_ || tail_ - head_ >= view_.slots_count) return false;
  return body_bytes <= kInline_bytes || body_has_room(words_for(body_bytes) * 8);
}

bool RingProducer::try_send_large(uint16_t type, std::span<const std::byte> body) {
  CHECK(body.size() <= view_.body_bytes_max());
  const uint64_t bytes = words_for(body.size()) * 8;
  if (!body_has_room(bytes)) {
    refresh_head();
    if (!body_has_room(bytes)) return false;
  }
  store_body(view_, body_tail_, body);
  const uint64_t position = body_tail_;
  body_tail_ += bytes;
  remember_large(tail_, body_tail_);
  write_slot(type, body.size(), BodyPlace::kByteRing, [position](size_t i) { return i == 0 ? position : 0; });
  if (view_.slot_crcs != nullptr) write_crc(tail_ - 1, body);
  return true;
}

void RingProducer::remember_large(uint64_t index, uint64_t end_position) {
  large_[large_end_ & mask_] = {.index = index, .position = end_position};
  ++large_end_;
}

void RingProducer::write_crc(uint64_t index, std::span<const std::byte> body) {
  const Slot& slot = view_.slots[index & mask_];
  std::array<uint64_t, kInlineWords> words;
  for (size_t i = 0; i < kInlineWords; ++i) words[i] = slot.words[2 + i].load(std::memory_order_relaxed);
  const uint64_t meta = slot.words[1].load(std::memory_order_relaxed);
  const uint32_t crc = slot_crc(sequence_word(view_.epoch, index), meta, words, body);
  view_.slot_crcs[index & mask_].store(crc,
                                       std::memory_order_relaxed);  // published by the slot's sequence word
}

RingConsumer::RingConsumer(const RingView& view) : view_(view), mask_(view.slots_count - 1) {
  copy_.reserve(words_for(view.body_bytes_max()));
  head_ = view_.words->head.load(std::memory_order_acquire);  // our predecessor's own store
}

bool RingConsumer::fetch_large(uint64_t meta, uint64_t position, std::span<const std::byte>& body) {
  const auto body_bytes = static_cast<uint32_t>(meta);
  if (place_of(meta) != BodyPlace::kByteRing || body_bytes > view_.body_bytes_max() || position % 8 != 0) {
    lie_ = Error{Code::kBadLane, fmt::format("message {} of the lane lies: type {}, place {}, {} bytes at {}",
                                             head_, (meta >> 32) & 0xffff, meta >> 48, body_bytes, position)};
    return false;
  }
  copy_.resize(words_for(body_bytes));
  load_body(view_, position, copy_);
  body = std::as_bytes(std::span(copy_)).first(body_bytes);
  return true;
}

bool RingConsumer::crc_holds(uint64_t meta, const std::array<uint64_t, kInlineWords>& words,
                             std::span<const std::byte> body) {
  const uint32_t expected = view_.slot_crcs[head_ & mask_].load(std::memory_order_relaxed);
  if (slot_crc(sequence_word(view_.epoch, head_), meta, words, body) == expected) return true;
  lie_ = Error{Code::kBadLane, fmt::format("message {} of the lane does not match its checksum", head_)};
  return false;
}

}  // namespace deepserve::ipc
