#include "ipc/rank_group/group_memory.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <string>

#include "ipc/base/check.h"
#include "ipc/lane/crc32c.h"

namespace deepserve::ipc {
namespace {

constexpr uint64_t kPage_bytes = 4096;
constexpr uint64_t kWordsOffset = kGroupSeparation_bytes;  // the header has the first lines
static_assert(sizeof(GroupHeader) <= kWordsOffset);

uint64_t buffers_offset(uint32_t ranks) {
  return (kWordsOffset + ranks * sizeof(RankWords) + kPage_bytes - 1) / kPage_bytes * kPage_bytes;
}

uint64_t total_bytes_of(uint32_t ranks, uint32_t buffer_bytes) {
  return buffers_offset(ranks) + uint64_t{ranks} * 2 * buffer_bytes;
}

Result<void> check_shape(const GroupShape& shape) {
  if (shape.ranks < 2 || shape.ranks > kRanksMax) {
    return fail(Code::kInvalidRequest, "a rank group has from 2 to {} ranks, not {}", kRanksMax, shape.ranks);
  }
  if (!std::has_single_bit(shape.buffer_bytes) || shape.buffer_bytes < 4096 ||
      shape.buffer_bytes > (1u << 28)) {
    return fail(Code::kInvalidRequest,
                "a rank group's buffer_bytes must be a power of two from 4096 to 2^28, not {}",
                shape.buffer_bytes);
  }
  if (shape.generation == 0) return fail(Code::kInvalidRequest, "a rank group's generation must not be 0");
  return {};
}

uint32_t checksum_of(const GroupFacts& facts) {
  return crc32c(std::as_bytes(std::span(&facts, 1)));
}

template <typename... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> text, Args&&... args) {
  return fail(Code::kBadLane, "rank group: {}", fmt::format(text, std::forward<Args>(args)...));
}

Result<void> check_facts(const GroupFacts& facts, uint32_t checksum, size_t memory_bytes,
                         uint64_t generation_expected) {
  if (facts.magic != kGroupMagic) return refuse("the magic is {:#x}, not {:#x}", facts.magic, kGroupMagic);
  if (facts.abi_major != kGroupAbiMajor) {
    return refuse("ABI {}.{} is not {}.{}: the programs are of different builds", facts.abi_major,
                  facts.abi_minor, kGroupAbiMajor, kGroupAbiMinor);
  }
  if (checksum != checksum_of(facts)) return refuse("the header's checksum differs");
  if (const auto shape = check_shape({facts.ranks, facts.buffer_bytes, facts.generation}); !shape) {
    return refuse("{}", shape.error().message);
  }
  const uint64_t expected_bytes = total_bytes_of(facts.ranks, facts.buffer_bytes);
  if (memory_bytes != expected_bytes || facts.total_bytes != expected_bytes) {
    return refuse("the memory's size is {} bytes, not the {} of its {} ranks", memory_bytes, expected_bytes,
                  facts.ranks);
  }
  if (generation_expected != 0 && facts.generation != generation_expected) {
    return refuse("the generation is {}, not {}", facts.generation, generation_expected);
  }
  return {};
}

}  // namespace

Result<Fd> create_group_memory(const GroupShape& shape) {
  TRY(check_shape(shape));
  const uint64_t bytes = total_bytes_of(shape.ranks, shape.buffer_bytes);
  return create_sealed_memory("deepserve-ranks", bytes, [&](std::span<std::byte> memory) -> Result<void> {
    auto& header = *new (memory.data()) GroupHeader();
    header.facts.ranks = shape.ranks;
    header.facts.buffer_bytes = shape.buffer_bytes;
    header.facts.generation = shape.generation;
    header.facts.total_bytes = bytes;
    header.checksum = checksum_of(header.facts);
    for (uint32_t rank = 0; rank < shape.ranks; ++rank) {
      new (memory.data() + kWordsOffset + rank * sizeof(RankWords)) RankWords();
    }
    return {};
  });
}

Result<std::shared_ptr<GroupMemory>> GroupMemory::map(const Fd& memfd, uint64_t generation_expected) {
  TRY_ASSIGN(auto region, map_sealed_memory(memfd, "rank group"));
  const auto memory = bytes_of(region);
  if (memory.size() < sizeof(GroupHeader)) return refuse("{} bytes are too few", memory.size());
  GroupHeader header;
  std::memcpy(&header, memory.data(), sizeof header);
  TRY(check_facts(header.facts, header.checksum, memory.size(), generation_expected));
  return std::shared_ptr<GroupMemory>(new GroupMemory(std::move(region), header.facts));
}

RankWords& GroupMemory::words(uint32_t rank) const {
  CHECK(rank < facts_.ranks);
  return *reinterpret_cast<RankWords*>(bytes_of(region_).data() + kWordsOffset + rank * sizeof(RankWords));
}

std::span<std::byte> GroupMemory::buffer(uint32_t rank, uint32_t parity) const {
  CHECK(rank < facts_.ranks && parity < 2);
  const uint64_t offset = buffers_offset(facts_.ranks) + (uint64_t{rank} * 2 + parity) * facts_.buffer_bytes;
  return bytes_of(region_).subspan(offset, facts_.buffer_bytes);
}

void GroupMemory::record_failure(uint32_t rank, Code code, std::string_view text,
                                 int device_error) const noexcept {
  RankWords& words = this->words(rank);
  uint32_t none = 0;
  if (!words.failure_state.compare_exchange_strong(none, 1, std::memory_order_relaxed)) return;
  std::array<uint64_t, kFailureText_bytes / 8> copy{};
  std::memcpy(copy.data(), text.data(), std::min(text.size(), kFailureText_bytes - 1));
  for (size_t i = 0; i < copy.size(); ++i) words.failure_text[i].store(copy[i], std::memory_order_relaxed);
  words.failure_code.store(static_cast<uint32_t>(code), std::memory_order_relaxed);
  words.failure_device_error.store(device_error, std::memory_order_relaxed);
  words.failure_state.store(2, std::memory_order_release);
}

std::optional<Error> GroupMemory::failure(uint32_t rank) const {
  const RankWords& words = this->words(rank);
  if (words.failure_state.load(std::memory_order_acquire) != 2) return std::nullopt;
  std::array<uint64_t, kFailureText_bytes / 8> copy{};
  for (size_t i = 0; i < copy.size(); ++i) copy[i] = words.failure_text[i].load(std::memory_order_relaxed);
  const char* text = reinterpret_cast<const char*>(copy.data());
  Error error;
  for (size_t i = 0; i < kFailureText_bytes && text[i] != '\0'; ++i) {
    error.message += text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
  }
  const uint32_t code = words.failure_code.load(std::memory_order_relaxed);
  error.code = code < static_cast<uint32_t>(Code::kCount) ? static_cast<Code>(code) : Code::kInternal;
  if (error.code == Code::kDeviceFault)
    error.device_error = words.failure_device_error.load(std::memory_order_relaxed);
  return error;
}

}  // namespace deepserve::ipc
