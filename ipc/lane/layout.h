// The shared-memory ABI of one direction of a lane (DESIGN 5): every type that lies in the memfd, and where.
//
// A direction's memory is laid out once, at creation, by boost::interprocess::managed_external_buffer, and
// nothing is allocated in it later. Where the parts lie is a pure function of the sizes and features
// (offsets_of): who attaches computes it again for itself and compares, and never reads the allocator's own
// records, which a peer could forge.
//
// Every word that both processes touch after creation is a lock-free std::atomic; its comment names its
// partner. A change of anything here, or of a body's shape in ipc/wire/messages.h, raises kAbiMajor.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/base/result.h"
#include "ipc/lane/gauges.h"
#include "ipc/lane/lane.h"

namespace deepserve::ipc {

inline constexpr uint64_t kLaneMagic = 0x314e'414c'5653'5044;  // "DPSVLAN1" in memory
inline constexpr uint16_t kAbiMajor = 3;                       // another one is refused
inline constexpr uint16_t kAbiMinor = 2;                       // an older one knows less
inline constexpr uint16_t kAbiMinorOfUnheard = 2;              // the first that knows ResumedChoice::unheard

inline constexpr size_t kCacheLine_bytes = 64;
inline constexpr size_t kSeparation_bytes = 128;  // the adjacent-line prefetcher fetches lines in pairs
inline constexpr uint64_t kEpochBits = 24;
inline constexpr uint64_t kIndexBits = 40;

enum class Direction : uint32_t { kToRunner = 1, kToDaemon = 2 };
std::string_view direction_name(Direction direction);

// Feature bits. A slot's CRC-32C (over its sequence word, its other words and its body) costs time and is for
// tests and debugging; its words lie beside the slots, so that a slot keeps its 48 bytes inline.
inline constexpr uint32_t kFeatureSlotCrc = 1u << 0;
inline constexpr uint32_t kFeaturesKnown = kFeatureSlotCrc;

// Byte offsets from the start of the mapping.
struct Offsets {
  uint64_t header = 0;
  uint64_t ring_words = 0;
  uint64_t slots = 0;
  uint64_t slot_crcs = 0;  // 0 without kFeatureSlotCrc
  uint64_t bodies = 0;
  uint64_t gauges = 0;
  uint64_t total_bytes = 0;

  bool operator==(const Offsets&) const = default;
};

// What never changes after creation; the header's checksum covers all of it.
struct HeaderFacts {
  uint64_t magic = kLaneMagic;
  uint16_t abi_major = kAbiMajor;
  uint16_t abi_minor = kAbiMinor;
  uint32_t features = 0;
  uint32_t direction = 0;
  uint32_t slots = 0;
  uint32_t body_bytes = 0;
  uint32_t reserved = 0;
  uint64_t epoch = 0;
  Offsets offsets;
  std::array<char, 32> build_id{};  // information: never compared
};
static_assert(sizeof(HeaderFacts) == 8 + 8 + 16 + 8 + sizeof(Offsets) + 32,
              "the checksum must not cover padding");

struct Header {
  HeaderFacts facts;
  uint32_t checksum = 0;  // CRC-32C of facts
  uint32_t reserved = 0;
  // The process that writes this direction. Stored by who attaches as its writer; read by a survivor,
  // relaxed: the pair is a hint for people and for supervision, nothing is published by it.
  std::atomic<uint64_t> owner_pid{0};
  std::atomic<uint64_t> owner_start_ticks{0};
};

// One message. Word 0 is the sequence word, epoch << 40 | (index + 1): stored with release by the producer's
// publish(), loaded with acquire by the consumer, and nothing else publishes a message. Word 1 is
// length | type << 32 | place << 48. Words 2..7 are the body, or word 2 is its position in the byte ring.
// They are relaxed: word 0 orders them, and the consumer's head orders their re-use.
struct alignas(kCacheLine_bytes) Slot {
  std::array<std::atomic<uint64_t>, 8> words{};
};
static_assert(sizeof(Slot) == kCacheLine_bytes);
inline constexpr size_t kInlineWords = 6;
inline constexpr size_t kInline_bytes = kInlineWords * 8;

enum class BodyPlace : uint16_t { kInline = 0, kByteRing = 1 };

// The words beside the slots, apart from each other so that no side's stores take the other side's line away.
struct RingWords {
  // Stored (release) by the consumer after it handled messages; loaded (acquire) by the producer before it
  // writes into slots and bodies again, and by a new consumer (acquire) to go on from.
  alignas(kSeparation_bytes) std::atomic<uint64_t> head{0};
  // A hint for people: the producer's tail, relaxed. Its truth is in the slots' sequence words.
  alignas(kSeparation_bytes) std::atomic<uint64_t> tail{0};
  // 1: the consumer is about to sleep. Stored by the consumer, then a full fence, then the slot is looked at
  // again; pairs with the producer's full fence between publishing and exchanging this word.
  alignas(kSeparation_bytes) std::atomic<uint32_t> armed{0};
  // 1: the producer is about to sleep with messages that found no room. Stored by the producer, then a full
  // fence, then the head is looked at again; pairs with the consumer's full fence between storing the head
  // and exchanging.
  alignas(kSeparation_bytes) std::atomic<uint32_t> starved{0};
};

inline constexpr size_t kGaugesWords = sizeof(Gauges) / 8;
inline constexpr size_t kDeathCauseWords = sizeof(DeathCause) / 8;
static_assert(sizeof(Gauges) % 8 == 0 && sizeof(DeathCause) % 8 == 0);

// What the writer of a direction tells without a message (ipc/lane/gauges_page.h has the protocol).
struct alignas(kSeparation_bytes) GaugesMemory {
  std::atomic<uint64_t> version{0};  // odd: being written
  std::array<std::atomic<uint64_t>, kGaugesWords> gauges{};
  alignas(kSeparation_bytes) std::atomic<uint64_t> steps{0};
  std::atomic<uint64_t> bytes_loaded{0};
  alignas(kSeparation_bytes) std::atomic<uint64_t> death_state{0};  // 0 none, 1 being written, 2 written
  std::array<std::atomic<uint64_t>, kDeathCauseWords> death{};
};

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);
static_assert(sizeof(std::atomic<uint64_t>) == 8 && sizeof(std::atomic<uint32_t>) == 4);

// slots: a power of two in [2, 2^20]; body_bytes: a power of two in [4096, 2^30]. kInvalidRequest naming the
// field.
Result<void> check_sizes(const LaneSizes& sizes);

// Where the parts lie, for sizes that check_sizes accepts. Runs the layout in private memory of the same
// size.
Result<Offsets> offsets_of(const LaneSizes& sizes, uint32_t features);

// The header lies at the same offset for all sizes, so that it can be found before they are known.
Result<uint64_t> header_offset();

uint32_t checksum_of(const HeaderFacts& facts);

// Lays out `memory` (zero bytes, page aligned, of the size that offsets_of gives) and fills in the header.
Result<void> lay_out(std::span<std::byte> memory, const LaneSizes& sizes, uint32_t features,
                     Direction direction, uint64_t epoch);

// Compares the header of a mapped direction with what this process expects; `epoch_expected` 0 takes any.
// Returns a private copy. kBadLane naming what differs.
Result<HeaderFacts> check_header(std::span<const std::byte> memory, Direction direction,
                                 uint64_t epoch_expected);

}  // namespace deepserve::ipc
