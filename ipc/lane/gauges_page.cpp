#include "ipc/lane/gauges_page.h"

#include <bit>

namespace deepserve::ipc {
namespace {

constexpr int kReadAttempts = 16;
enum DeathState : uint64_t { kNoDeath = 0, kDeathBeingWritten = 1, kDeathWritten = 2 };

template <typename T, size_t Words>
void store_words(std::array<std::atomic<uint64_t>, Words>& words, const T& value) {
  const auto plain = std::bit_cast<std::array<uint64_t, Words>>(value);
  for (size_t i = 0; i < Words; ++i) words[i].store(plain[i], std::memory_order_relaxed);
}

template <typename T, size_t Words>
T load_words(const std::array<std::atomic<uint64_t>, Words>& words) {
  std::array<uint64_t, Words> plain;
  for (size_t i = 0; i < Words; ++i) plain[i] = words[i].load(std::memory_order_relaxed);
  return std::bit_cast<T>(plain);
}

}  // namespace

GaugesWriter::GaugesWriter(GaugesMemory& memory) : memory_(memory) {
  const uint64_t version = memory_.version.load(std::memory_order_relaxed);
  if (version % 2 != 0) publish(Gauges{});
  memory_.death_state.store(kNoDeath, std::memory_order_relaxed);
}

void GaugesWriter::publish(const Gauges& gauges) {
  const uint64_t odd = memory_.version.load(std::memory_order_relaxed) | 1;
  memory_.version.store(odd, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);  // pairs with the reader's acquire fence
  store_words(memory_.gauges, gauges);
  memory_.version.store(odd + 1, std::memory_order_release);  // pairs with the reader's first load
}

void GaugesWriter::record_death(const DeathCause& cause) noexcept {
  uint64_t expected = kNoDeath;
  if (!memory_.death_state.compare_exchange_strong(expected, kDeathBeingWritten, std::memory_order_relaxed))
    return;
  store_words(memory_.death, cause);
  memory_.death_state.store(kDeathWritten, std::memory_order_release);  // pairs with death_cause()
}

Gauges GaugesReader::read() const {
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    const uint64_t before = memory_.version.load(std::memory_order_acquire);
    if (before % 2 != 0) continue;
    const auto copy = load_words<Gauges>(memory_.gauges);
    std::atomic_thread_fence(std::memory_order_acquire);  // pairs with the writer's release fence
    if (memory_.version.load(std::memory_order_relaxed) != before) continue;
    last_ = copy;
    break;
  }
  return last_;
}

Progress GaugesReader::progress() const {
  return {.steps = memory_.steps.load(std::memory_order_relaxed),
          .bytes_loaded = memory_.bytes_loaded.load(std::memory_order_relaxed)};
}

DeathCause GaugesReader::death_cause() const {
  if (memory_.death_state.load(std::memory_order_acquire) != kDeathWritten) return {};
  auto cause = load_words<DeathCause>(memory_.death);
  cause.text.back() = '\0';
  return cause;
}

}  // namespace deepserve::ipc
