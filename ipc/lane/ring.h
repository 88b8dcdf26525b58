// The two ends of one direction: slots published by their sequence word alone, and a FIFO byte ring for larger bodies.
//
// RingProducer and RingConsumer are the inner, non-virtual layer of the lane (lane.h has the contract, layout.h the
// memory). One thread uses one end. Either end may be built over memory in which its predecessor died at any moment:
// building it is the recovery.
//
// Trust: the other end may store anything anywhere. Indices are masked, lengths bounded, a message is copied once and
// the copy is checked.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/lane/layout.h"
#include "ipc/lane/memfd.h"

namespace deepserve::ipc {

inline constexpr uint64_t kIndexMask = (1ull << kIndexBits) - 1;
// How far the two ends fetch slots ahead of their use, and how often a consumer in a long drain stores its head.
inline constexpr uint64_t kPrefetch_slots = 12;
inline constexpr size_t kHeadStride_messages = 64;

// The sequence word of the message with this index; 0 (a fresh slot) is never one, as epochs start at 1.
constexpr uint64_t sequence_word(uint64_t epoch, uint64_t index) {
  return epoch << kIndexBits | ((index + 1) & kIndexMask);
}

// Pointers into a mapping, and sizes out of this process's own copy of the header's facts.
struct RingView {
  RingWords* words = nullptr;
  Slot* slots = nullptr;
  std::atomic<uint32_t>* slot_crcs = nullptr;  // nullptr: no checksums
  std::atomic<uint64_t>* body_words = nullptr;
  uint64_t slots_count = 0;
  uint64_t body_bytes = 0;
  uint64_t epoch = 0;

  uint64_t body_bytes_max() const { return body_bytes / 4; }
};

RingView ring_view(const MappedDirection& direction);

// Takes the line for writing before it is needed. An instruction that processors without it ignore.
inline void prefetch_for_write(const void* line) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}

class RingProducer {
 public:
  // Recovers: the tail is behind the last published message (a slot written but not published is written again), and
  // the byte ring's used part is what the messages between head and tail occupy.
  explicit RingProducer(const RingView& view);

  // Writes one message, unpublished. False: there is no room for it now. `body` is at most body_bytes_max().
  bool try_send(uint16_t type, std::span<const std::byte> body) {
    if (tail_ - head_ >= view_.slots_count && !slot_has_room()) return false;
    if (body.size() > kInline_bytes) return try_send_large(type, body);
    std::array<uint64_t, kInlineWords> words{};
    if (body.size() == kInline_bytes) {
      std::memcpy(words.data(), body.data(), kInline_bytes);
    } else if (!body.empty()) {
      std::memcpy(words.data(), body.data(), body.size());
    }
    write_slot(type, body.size(), BodyPlace::kInline, words);
    return true;
  }

  // Publishes everything written since the last call, in order; returns how many messages that were.
  size_t publish() {
    const uint64_t count = tail_ - published_;
    for (; published_ != tail_; ++published_) {
      // Pairs with the consumer's acquire load of the same word.
      view_.slots[published_ & mask_].words[0].store(sequence_word(view_.epoch, published_),
                                                     std::memory_order_release);
    }
    view_.words->tail.store(tail_, std::memory_order_relaxed);
    return count;
  }

  // Whether a body of this size could be sent now; looks at the consumer's head again.
  bool has_room(size_t body_bytes);

  uint64_t tail() const { return tail_; }            // messages written, since the memory's creation
  uint64_t published() const { return published_; }  // of these, published
  // The head word went backwards or beyond the tail: the peer lies, and no room is given any more.
  bool consumer_lies() const { return consumer_lies_; }

 private:
  struct LargeBody {
    uint64_t index = 0;     // of its message
    uint64_t position = 0;  // where the byte ring is free up to, once the head has passed that message
  };

  bool slot_has_room() {
    refresh_head();
    return tail_ - head_ < view_.slots_count;
  }
  void refresh_head();
  void recover();
  bool body_has_room(uint64_t bytes);
  bool try_send_large(uint16_t type, std::span<const std::byte> body);
  void remember_large(uint64_t index, uint64_t end_position);
  void write_crc(uint64_t index, std::span<const std::byte> body);

  void write_slot(uint16_t type, size_t body_bytes, BodyPlace place,
                  const std::array<uint64_t, kInlineWords>& words) {
    Slot& slot = view_.slots[tail_ & mask_];
    prefetch_for_write(&view_.slots[(tail_ + kPrefetch_slots) & mask_]);
    const uint64_t meta = static_cast<uint32_t>(body_bytes) | static_cast<uint64_t>(type) << 32 |
                          static_cast<uint64_t>(place) << 48;
    slot.words[1].store(meta, std::memory_order_relaxed);
    for (size_t i = 0; i < kInlineWords; ++i) slot.words[2 + i].store(words[i], std::memory_order_relaxed);
    if (view_.slot_crcs != nullptr && place == BodyPlace::kInline) write_crc(tail_, {});
    ++tail_;
  }

  RingView view_;
  uint64_t mask_;
  uint64_t tail_ = 0;
  uint64_t published_ = 0;
  uint64_t head_ = 0;  // the consumer's, as last seen
  uint64_t body_tail_ = 0;
  uint64_t body_head_ = 0;
  // Large bodies in flight, oldest first: a FIFO as long as the ring, so that it never allocates later.
  std::vector<LargeBody> large_;
  uint64_t large_first_ = 0;
  uint64_t large_end_ = 0;
  bool consumer_lies_ = false;
};

class RingConsumer {
 public:
  // Recovers: goes on from the stored head, so that what its predecessor had not finished handling comes again.
  explicit RingConsumer(const RingView& view);

  bool has_message() const {
    return view_.slots[head_ & mask_].words[0].load(std::memory_order_acquire) ==
           sequence_word(view_.epoch, head_);
  }

  // Calls on_message(uint16_t type, std::span<const std::byte> body) for up to `messages_max` messages, in order, and
  // stores the head behind those that were handled. `body` is a private copy, valid during the call.
  // kBadLane: a message lies; those before it are handled, and it stays at the front.
  template <typename OnMessage>
  Result<size_t> drain(size_t messages_max, OnMessage&& on_message) {
    size_t handled = 0;
    for (; handled < messages_max; ++handled) {
      Slot& slot = view_.slots[head_ & mask_];
      // Pairs with the producer's release store in publish().
      const uint64_t sequence = slot.words[0].load(std::memory_order_acquire);
      if (sequence != sequence_word(view_.epoch, head_)) break;
      __builtin_prefetch(&view_.slots[(head_ + kPrefetch_slots) & mask_], 0);
      const uint64_t meta = slot.words[1].load(std::memory_order_relaxed);
      std::array<uint64_t, kInlineWords> words;
      for (size_t i = 0; i < kInlineWords; ++i) words[i] = slot.words[2 + i].load(std::memory_order_relaxed);
      const auto body_bytes = static_cast<uint32_t>(meta);
      std::span<const std::byte> body;
      if (meta >> 48 == static_cast<uint64_t>(BodyPlace::kInline) && body_bytes <= kInline_bytes) [[likely]] {
        body = std::as_bytes(std::span(words)).first(body_bytes);
      } else if (!fetch_large(meta, words[0], body)) {
        store_head();
        return lying_slot(meta);
      }
      if (view_.slot_crcs != nullptr && !crc_holds(meta, words, body)) {
        store_head();
        return torn_slot();
      }
      on_message(static_cast<uint16_t>(meta >> 32), body);
      ++head_;
      if (handled % kHeadStride_messages == kHeadStride_messages - 1) store_head();
    }
    if (handled != 0) store_head();
    return handled;
  }

  uint64_t head() const { return head_; }  // messages handled, since the memory's creation

 private:
  // Pairs with the acquire load in RingProducer::refresh_head: our reads of the slots and bodies are done.
  void store_head() { view_.words->head.store(head_, std::memory_order_release); }
  bool fetch_large(uint64_t meta, uint64_t position, std::span<const std::byte>& body);
  bool crc_holds(uint64_t meta, const std::array<uint64_t, kInlineWords>& words, std::span<const std::byte> body);
  tl::unexpected<Error> lying_slot(uint64_t meta) const;
  tl::unexpected<Error> torn_slot() const;

  RingView view_;
  uint64_t mask_;
  uint64_t head_ = 0;
  std::vector<uint64_t> copy_;  // of the large body at hand
};

}  // namespace deepserve::ipc
