#include "tests/bench/ring/pair_of_processes.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <vector>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::bench {
namespace {

std::vector<int> core_list() {
  static const std::vector<int> cores = [] {
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    std::vector<int> list;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) list.push_back(core);
    }
    return list;
  }();
  return cores;
}

void stay_on(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
}

void meet(std::atomic<uint32_t>& arrived) {
  arrived.fetch_add(1);
  while (arrived.load() < 2) relax_processor();
}

}  // namespace

int usable_cores() {
  return static_cast<int>(core_list().size());
}

std::shared_ptr<std::byte> shared_memory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return {static_cast<std::byte*>(memory), [bytes](std::byte* address) { munmap(address, bytes); }};
}

double run_pair(const std::function<void()>& in_child, const std::function<void()>& in_parent) {
  const auto memory = shared_memory(4096);
  auto& arrived = *new (memory.get()) std::atomic<uint32_t>(0);
  const auto cores = core_list();
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    stay_on(cores[1]);
    meet(arrived);
    in_child();
    _exit(0);
  }
  stay_on(cores[0]);
  meet(arrived);
  const uint64_t start_ns = monotonic_ns();
  in_parent();
  const uint64_t end_ns = monotonic_ns();
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return static_cast<double>(end_ns - start_ns) / 1e9;
}

}  // namespace deepserve::bench
