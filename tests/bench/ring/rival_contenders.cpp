#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <new>
#include <string>
#include <vector>

#include "ipc/base/check.h"
#include "ipc/base/fd.h"
#include "tests/bench/ring/contenders.h"
#include "tests/bench/ring/pair_of_processes.h"
#include "tests/bench/ring/round_trips.h"

namespace deepserve::bench {
namespace {

struct Item {
  std::array<uint64_t, 8> words;
};
static_assert(sizeof(Item) == 64);

constexpr uint64_t kDepth = 1024;
constexpr uint64_t kBatch = 64;
using SpscQueue = boost::lockfree::spsc_queue<Item, boost::lockfree::capacity<kDepth>>;

Item numbered(uint64_t number) {
  return {{number, 0, 0, 0, 0, 0, 0, number}};
}
void check_number(const Item& item, uint64_t number) {
  CHECK(item.words.front() == number && item.words.back() == number);
}

void read_whole(int fd, void* data, size_t bytes) {
  auto* at = static_cast<char*>(data);
  while (bytes != 0) {
    const ssize_t count = ::read(fd, at, bytes);
    CHECK(count > 0);
    at += count;
    bytes -= static_cast<size_t>(count);
  }
}

void write_whole(int fd, const void* data, size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes != 0) {
    const ssize_t count = ::write(fd, at, bytes);
    CHECK(count > 0);
    at += count;
    bytes -= static_cast<size_t>(count);
  }
}

std::shared_ptr<SpscQueue> shared_spsc_queue() {
  const auto memory = shared_memory(sizeof(SpscQueue) + 4096);
  auto* queue = new (memory.get()) SpscQueue;
  return {queue, [memory](SpscQueue* finished) { finished->~SpscQueue(); }};
}

}  // namespace

double one_way_message_queue(uint64_t messages) {
  namespace bip = boost::interprocess;
  const std::string name = "deepserve-ring-bench-" + std::to_string(::getpid());
  bip::message_queue::remove(name.c_str());
  bip::message_queue queue(bip::create_only, name.c_str(), kDepth, sizeof(Item));
  bip::message_queue::remove(name.c_str());  // both processes have it open
  const auto produce = [&] {
    for (uint64_t number = 0; number < messages; ++number) {
      const Item item = numbered(number);
      queue.send(&item, sizeof item, 0);
    }
  };
  const auto consume = [&] {
    for (uint64_t number = 0; number < messages; ++number) {
      Item item;
      bip::message_queue::size_type bytes = 0;
      unsigned int priority = 0;
      queue.receive(&item, sizeof item, bytes, priority);
      check_number(item, number);
    }
  };
  return static_cast<double>(messages) / run_pair(produce, consume);
}

double one_way_socket(uint64_t messages, uint64_t messages_per_write) {
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  const Fd writer(ends[0]);
  const Fd reader(ends[1]);
  const auto produce = [&] {
    std::vector<Item> items(messages_per_write);
    for (uint64_t number = 0; number < messages; number += messages_per_write) {
      for (uint64_t i = 0; i < messages_per_write; ++i) items[i] = numbered(number + i);
      write_whole(writer.get(), items.data(), items.size() * sizeof(Item));
    }
  };
  const auto consume = [&] {
    std::vector<Item> items(messages_per_write);
    for (uint64_t number = 0; number < messages; number += messages_per_write) {
      read_whole(reader.get(), items.data(), items.size() * sizeof(Item));
      for (uint64_t i = 0; i < messages_per_write; ++i) check_number(items[i], number + i);
    }
  };
  return static_cast<double>(messages) / run_pair(produce, consume);
}

double one_way_spsc(uint64_t messages) {
  const auto queue = shared_spsc_queue();
  const auto produce = [&] {
    for (uint64_t number = 0; number < messages; ++number) {
      const Item item = numbered(number);
      while (!queue->push(item)) relax_processor();
    }
  };
  const auto consume = [&] {
    for (uint64_t number = 0; number < messages; ++number) {
      Item item;
      while (!queue->pop(item)) relax_processor();
      check_number(item, number);
    }
  };
  return static_cast<double>(messages) / run_pair(produce, consume);
}

double one_way_spsc_batched(uint64_t messages) {
  const auto queue = shared_spsc_queue();
  const auto produce = [&] {
    std::array<Item, kBatch> items;
    for (uint64_t number = 0; number < messages; number += kBatch) {
      for (uint64_t i = 0; i < kBatch; ++i) items[i] = numbered(number + i);
      for (size_t sent = 0; sent < kBatch;) {
        const size_t count = queue->push(items.data() + sent, kBatch - sent);
        if (count == 0) relax_processor();
        sent += count;
      }
    }
  };
  const auto consume = [&] {
    std::array<Item, kBatch> items;
    for (uint64_t number = 0; number < messages;) {
      const size_t count = queue->pop(items.data(), kBatch);
      for (size_t i = 0; i < count; ++i) check_number(items[i], number++);
      if (count == 0) relax_processor();
    }
  };
  return static_cast<double>(messages) / run_pair(produce, consume);
}

double round_trip_cache_line(uint64_t trips) {
  const auto memory = shared_memory(4096);
  auto& word = *new (memory.get()) std::atomic<uint64_t>(0);
  const auto wait_for = [&word](uint64_t value) {
    while (word.load(std::memory_order_acquire) != value) relax_processor();
  };
  double trip_ns = 0;
  const auto answer = [&] {
    for (uint64_t number = 0; number < trips; ++number) {
      wait_for(2 * number + 1);
      word.store(2 * number + 2, std::memory_order_release);
    }
  };
  const auto ask = [&] {
    trip_ns = median_trip_ns(trips, [&](uint64_t number) {
      word.store(2 * number + 1, std::memory_order_release);
      wait_for(2 * number + 2);
    });
  };
  run_pair(answer, ask);
  return trip_ns;
}

}  // namespace deepserve::bench
