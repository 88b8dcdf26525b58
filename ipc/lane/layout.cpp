#include "ipc/lane/layout.h"

#include <bit>
#include <boost/interprocess/anonymous_shared_memory.hpp>
#include <boost/interprocess/managed_external_buffer.hpp>
#include <cstring>
#include <new>

#include "ipc/lane/crc32c.h"

namespace deepserve::ipc {
namespace {

namespace bip = boost::interprocess;

constexpr size_t kPage_bytes = 4096;
// The allocator's own records at the front, and what aligning each part may leave unused.
constexpr uint64_t kLayoutSlack_bytes = 8 * kPage_bytes;

uint64_t round_up(uint64_t bytes) {
  return (bytes + kPage_bytes - 1) / kPage_bytes * kPage_bytes;
}

uint64_t total_bytes_of(const LaneSizes& sizes, uint32_t features) {
  const uint64_t crcs = (features & kFeatureSlotCrc) != 0 ? sizes.slots * sizeof(uint32_t) : 0;
  return round_up(sizeof(Header) + sizeof(RingWords) + sizeof(GaugesMemory) + sizes.slots * sizeof(Slot) +
                  crcs + sizes.body_bytes + kLayoutSlack_bytes);
}

// The one place that decides where things lie. The header comes first: its offset must not depend on the
// sizes.
Result<Offsets> allocate_parts(std::span<std::byte> memory, const LaneSizes& sizes, uint32_t features) {
  try {
    bip::managed_external_buffer segment(bip::create_only, memory.data(), memory.size());
    const auto place = [&](uint64_t bytes, size_t alignment) {
      auto* part = static_cast<std::byte*>(segment.allocate_aligned(bytes, alignment));
      return static_cast<uint64_t>(part - memory.data());
    };
    Offsets offsets{.total_bytes = memory.size()};
    offsets.header = place(sizeof(Header), kSeparation_bytes);
    offsets.ring_words = place(sizeof(RingWords), kSeparation_bytes);
    offsets.gauges = place(sizeof(GaugesMemory), kSeparation_bytes);
    offsets.slots = place(sizes.slots * sizeof(Slot), kPage_bytes);
    if ((features & kFeatureSlotCrc) != 0) {
      offsets.slot_crcs = place(sizes.slots * sizeof(uint32_t), kSeparation_bytes);
    }
    offsets.bodies = place(sizes.body_bytes, kPage_bytes);
    return offsets;
  } catch (const std::exception& error) {
    return fail(Code::kInternal, "the lane's layout does not fit its memory: {}", error.what());
  }
}

template <typename T>
void construct_at_offset(std::span<std::byte> memory, uint64_t offset, uint64_t count = 1) {
  for (uint64_t i = 0; i < count; ++i) new (memory.data() + offset + i * sizeof(T)) T();
}

template <typename... Args>
tl::unexpected<Error> refuse(Direction direction, fmt::format_string<Args...> text, Args&&... args) {
  return fail(Code::kBadLane, "lane {}: {}", direction_name(direction),
              fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace

std::string_view direction_name(Direction direction) {
  switch (direction) {
    case Direction::kToRunner:
      return "to the runner";
    case Direction::kToDaemon:
      return "to the daemon";
  }
  return "of no direction";
}

Result<void> check_sizes(const LaneSizes& sizes) {
  if (!std::has_single_bit(sizes.slots) || sizes.slots < 2 || sizes.slots > (1u << 20)) {
    return fail(Code::kInvalidRequest, "a lane's slots must be a power of two from 2 to 2^20, not {}",
                sizes.slots);
  }
  if (!std::has_single_bit(sizes.body_bytes) || sizes.body_bytes < 4096 || sizes.body_bytes > (1u << 30)) {
    return fail(Code::kInvalidRequest, "a lane's body_bytes must be a power of two from 4096 to 2^30, not {}",
                sizes.body_bytes);
  }
  return {};
}

Result<Offsets> offsets_of(const LaneSizes& sizes, uint32_t features) {
  TRY(check_sizes(sizes));
  try {
    bip::mapped_region scratch = bip::anonymous_shared_memory(total_bytes_of(sizes, features));
    return allocate_parts({static_cast<std::byte*>(scratch.get_address()), scratch.get_size()}, sizes,
                          features);
  } catch (const std::exception& error) {
    return fail(Code::kOutOfMemory, "mapping memory to compute a lane's layout: {}", error.what());
  }
}

Result<uint64_t> header_offset() {
  TRY_ASSIGN(const Offsets smallest, offsets_of(LaneSizes{.slots = 2, .body_bytes = 4096}, 0));
  return smallest.header;
}

uint32_t checksum_of(const HeaderFacts& facts) {
  return crc32c(std::as_bytes(std::span(&facts, 1)));
}

Result<void> lay_out(std::span<std::byte> memory, const LaneSizes& sizes, uint32_t features,
                     Direction direction, uint64_t epoch) {
  if (epoch == 0 || epoch >= (1ull << kEpochBits)) {
    return fail(Code::kInvalidRequest, "a lane's epoch must be from 1 to 2^24 - 1, not {}", epoch);
  }
  TRY_ASSIGN(const Offsets offsets, allocate_parts(memory, sizes, features));
  construct_at_offset<Header>(memory, offsets.header);
  construct_at_offset<RingWords>(memory, offsets.ring_words);
  construct_at_offset<GaugesMemory>(memory, offsets.gauges);
  construct_at_offset<Slot>(memory, offsets.slots, sizes.slots);
  if (offsets.slot_crcs != 0) {
    construct_at_offset<std::atomic<uint32_t>>(memory, offsets.slot_crcs, sizes.slots);
  }
  // The bodies' words stay as they are: fresh zero pages, untouched until they are used.
  auto& header = *reinterpret_cast<Header*>(memory.data() + offsets.header);
  header.facts.features = features;
  header.facts.direction = static_cast<uint32_t>(direction);
  header.facts.slots = sizes.slots;
  header.facts.body_bytes = sizes.body_bytes;
  header.facts.epoch = epoch;
  header.facts.offsets = offsets;
  std::strncpy(header.facts.build_id.data(), DEEPSERVE_VERSION, header.facts.build_id.size() - 1);
  header.checksum = checksum_of(header.facts);
  return {};
}

Result<HeaderFacts> check_header(std::span<const std::byte> memory, Direction direction,
                                 uint64_t epoch_expected) {
  TRY_ASSIGN(const uint64_t offset, header_offset());
  if (memory.size() < offset + sizeof(Header))
    return refuse(direction, "{} bytes are too few", memory.size());
  HeaderFacts facts;
  uint32_t checksum = 0;
  std::memcpy(&facts, memory.data() + offset, sizeof facts);
  std::memcpy(&checksum, memory.data() + offset + offsetof(Header, checksum), sizeof checksum);
  if (facts.magic != kLaneMagic)
    return refuse(direction, "the magic is {:#x}, not {:#x}", facts.magic, kLaneMagic);
  if (facts.abi_major != kAbiMajor) {
    return refuse(direction, "ABI {}.{} is not {}.{}: the programs are of different builds", facts.abi_major,
                  facts.abi_minor, kAbiMajor, kAbiMinor);
  }
  if (checksum != checksum_of(facts)) return refuse(direction, "the header's checksum differs");
  if (facts.direction != static_cast<uint32_t>(direction)) {
    return refuse(direction, "the memory is of direction {}: descriptors are swapped", facts.direction);
  }
  if ((facts.features & ~kFeaturesKnown) != 0)
    return refuse(direction, "unknown features {:#x}", facts.features);
  const LaneSizes sizes{.slots = facts.slots, .body_bytes = facts.body_bytes};
  if (const auto sizes_hold = check_sizes(sizes); !sizes_hold) {
    return refuse(direction, "{}", sizes_hold.error().message);
  }
  if (memory.size() != total_bytes_of(sizes, facts.features)) {
    return refuse(direction, "the memory's size is {} bytes, not the {} of its {} slots and {} body bytes",
                  memory.size(), total_bytes_of(sizes, facts.features), sizes.slots, sizes.body_bytes);
  }
  TRY_ASSIGN(const Offsets expected, offsets_of(sizes, facts.features));
  if (facts.offsets != expected)
    return refuse(direction, "its parts lie elsewhere than in this build's layout");
  if (facts.epoch == 0 || facts.epoch >= (1ull << kEpochBits) ||
      (epoch_expected != 0 && facts.epoch != epoch_expected)) {
    return refuse(direction, "the epoch is {}, not {}", facts.epoch, epoch_expected);
  }
  return facts;
}

}  // namespace deepserve::ipc
