// The two ends of one direction: slots published by their sequence word alone, and a FIFO byte ring for
// larger bodies.
//
// RingProducer and RingConsumer are the inner, non-virtual layer of the lane (lane.h has the contract,
// layout.h the memory). One thread uses one end. Either end may be built over memory in which its predecessor
// died at any moment: building it is the recovery.
//
// Trust: the other end may store anything anywhere. Indices are masked, lengths bounded, a message is copied
// once and the copy is checked.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/lane/layout.h"
#include "ipc/lane/memfd.h"

namespace deepserve::ipc {

inline constexpr uint64_t kIndexMask = (1ull << kIndexBits) - 1;
// How far the two ends fetch slots ahead of their use: as many as a core has line fills in flight. Never
// beyond what the end knows to be its own, as fetching a line that the other end still uses costs both of
// them a transfer.
inline constexpr uint64_t kPrefetch_slots = 32;
// How often a consumer in a long drain stores its head.
inline constexpr size_t kHeadStride_messages = 64;

// A consumer that has drained a stream dry should look again only after this many relax_processor() (a few
// microseconds): looking at once takes the line that the producer is writing, and then both wait for each
// other's transfers line by line instead of moving a hundred lines at a time.
inline constexpr int kStreamPauses = 192;

inline void relax_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

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

inline void prefetch_for_read(const void* line) {
  __builtin_prefetch(line, 0);
}

class RingProducer {
 public:
  // Recovers: the tail is behind the last published message (a slot written but not published is written
  // again), and the byte ring's used part is what the messages between head and tail occupy.
  explicit RingProducer(const RingView& view);

  // Writes one message, unpublished. False: there is no room for it now. `body` is at most body_bytes_max().
  bool try_send(uint16_t type, std::span<const std::byte> body) {
    if (tail_ - head_ >= view_.slots_count && !slot_has_room()) return false;
    if (body.size() > kInline_bytes) return try_send_large(type, body);
    if (body.size() == kInline_bytes) [[likely]] {
      write_slot(type, kInline_bytes, BodyPlace::kInline, [body](size_t i) {
        // Word by word: a wider load of what the caller has just stored in words would stall on those stores.
        uint64_t word = 0;
        std::memcpy(&word, body.data() + i * 8, 8);
        return word;
      });
    } else {
      std::array<uint64_t, kInlineWords> words{};
      if (!body.empty()) std::memcpy(words.data(), body.data(), body.size());
      write_slot(type, body.size(), BodyPlace::kInline, [&words](size_t i) { return words[i]; });
    }
    return true;
  }

  // Publishes everything written since the last call, in order; returns how many messages that were.
  size_t publish() {
    const uint64_t end = tail_;
    for (uint64_t index = published_; index != end; ++index) {
      // Pairs with the consumer's acquire load of the same word.
      view_.slots[index & mask_].words[0].store(sequence_word(view_.epoch, index), std::memory_order_release);
    }
    const uint64_t count = end - published_;
    published_ = end;
    streams_ = count >= kPrefetch_slots / 2;
    view_.words->tail.store(end, std::memory_order_relaxed);
    return count;
  }

  // Whether a body of this size could be sent now; looks at the consumer's head again.
  bool has_room(size_t body_bytes);

  bool has_unpublished() const { return tail_ != published_; }
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

  // A stream takes them in bulk, because transfers that start together overlap (across dies 15 % more
  // messages than one by one); a single message takes one, because a bulk would delay it.
  void take_lines_ahead(uint64_t tail, uint64_t from, uint64_t to) {
    if (tail + to - head_ >= view_.slots_count) return;
    for (uint64_t index = tail + from; index < tail + to; ++index) {
      prefetch_for_write(&view_.slots[index & mask_]);
    }
  }

  template <typename WordAt>
  void write_slot(uint16_t type, size_t body_bytes, BodyPlace place, WordAt&& word_at) {
    const uint64_t tail = tail_;
    Slot& slot = view_.slots[tail & mask_];
    if (!streams_) {
      take_lines_ahead(tail, kPrefetch_slots, kPrefetch_slots + 1);
    } else if (tail % kPrefetch_slots == 0) {
      take_lines_ahead(tail, 2 * kPrefetch_slots, 3 * kPrefetch_slots);
    }
    const uint64_t meta = static_cast<uint32_t>(body_bytes) | static_cast<uint64_t>(type) << 32 |
                          static_cast<uint64_t>(place) << 48;
    slot.words[1].store(meta, std::memory_order_relaxed);
#pragma GCC unroll 6
    for (size_t i = 0; i < kInlineWords; ++i) slot.words[2 + i].store(word_at(i), std::memory_order_relaxed);
    if (view_.slot_crcs != nullptr && place == BodyPlace::kInline) [[unlikely]]
      write_crc(tail, {});
    tail_ = tail + 1;
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
  bool streams_ = false;  // the last publish() was of many messages
};

class RingConsumer {
 public:
  // Recovers: goes on from the stored head, so that what its predecessor had not finished handling comes
  // again.
  explicit RingConsumer(const RingView& view);

  bool has_message() const {
    return view_.slots[head_ & mask_].words[0].load(std::memory_order_acquire) ==
           sequence_word(view_.epoch, head_);
  }

  // Calls on_message(uint16_t type, std::span<const std::byte> body) for up to `messages_max` messages, in
  // order, and stores the head behind those that were handled; returns how many. `body` is a private copy,
  // valid during the call. A message that lies ends it: it stays at the front, and lie() tells.
  template <typename OnMessage>
  size_t drain(size_t messages_max, OnMessage&& on_message) {
    size_t handled = 0;
    for (; handled < messages_max; ++handled) {
      const Slot& slot = view_.slots[head_ & mask_];
      // Pairs with the producer's release store in publish().
      if (slot.words[0].load(std::memory_order_acquire) != sequence_word(view_.epoch, head_)) break;
      if (handled != 0) fetch_ahead();
      const uint64_t meta = slot.words[1].load(std::memory_order_relaxed);
      std::array<uint64_t, kInlineWords> words;
#pragma GCC unroll 6
      for (size_t i = 0; i < kInlineWords; ++i) words[i] = slot.words[2 + i].load(std::memory_order_relaxed);
      const auto body_bytes = static_cast<uint32_t>(meta);
      std::span<const std::byte> body = std::as_bytes(std::span(words)).first(body_bytes & 63);
      if (meta >> 48 != static_cast<uint64_t>(BodyPlace::kInline) || body_bytes > kInline_bytes)
          [[unlikely]] {
        if (!fetch_large(meta, words[0], body)) break;
      }
      if (view_.slot_crcs != nullptr && !crc_holds(meta, words, body)) [[unlikely]]
        break;
      on_message(static_cast<uint16_t>(meta >> 32), body);
      ++head_;
      if (handled % kHeadStride_messages == kHeadStride_messages - 1) store_head();
    }
    if (handled != 0) store_head();
    return handled;
  }

  // What the last drain found wrong with the message that it stopped at.
  const std::optional<Error>& lie() const {
    return lie_;
  }

  uint64_t head() const {
    return head_;
  }  // messages handled, since the memory's creation

 private:
  // Pairs with the acquire load in RingProducer::refresh_head: our reads of the slots and bodies are done.
  void store_head() {
    view_.words->head.store(head_, std::memory_order_release);
  }
  // Called from the second message of a drain on: then messages stream, and it pays to look at the tail (one
  // line transfer) and to fetch what is known to be published. A single message never waits for that.
  void fetch_ahead() {
    if (head_ >= tail_seen_) {
      tail_seen_ = std::min(view_.words->tail.load(std::memory_order_relaxed), head_ + view_.slots_count);
      const uint64_t end = std::min(tail_seen_, head_ + kPrefetch_slots);
      for (uint64_t index = head_ + 1; index < end; ++index) prefetch_for_read(&view_.slots[index & mask_]);
    }
    if (head_ + kPrefetch_slots < tail_seen_) {
      prefetch_for_read(&view_.slots[(head_ + kPrefetch_slots) & mask_]);
    }
  }
  bool fetch_large(uint64_t meta, uint64_t position, std::span<const std::byte>& body);
  bool crc_holds(uint64_t meta, const std::array<uint64_t, kInlineWords>& words,
                 std::span<const std::byte> body);

  RingView view_;
  uint64_t mask_;
  uint64_t head_ = 0;
  uint64_t tail_seen_ = 0;      // the producer's hint, which only prefetching believes
  std::vector<uint64_t> copy_;  // of the large body at hand
  std::optional<Error> lie_;
};

}  // namespace deepserve::ipc
