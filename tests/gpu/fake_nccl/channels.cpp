#include "tests/gpu/fake_nccl/channels.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace deepserve::fake_nccl {

void make_memory(char (&id)[128]) {
  const int fd = memfd_create("fake-nccl", MFD_CLOEXEC);  // open as long as the process lives
  if (fd < 0 || ftruncate(fd, sizeof(Memory)) != 0) std::abort();
  std::snprintf(id, sizeof id, "/proc/%d/fd/%d", getpid(), fd);
}

Memory* map_memory(const char (&id)[128]) {
  const int fd = open(id, O_RDWR | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* memory = mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return memory == MAP_FAILED ? nullptr : static_cast<Memory*>(memory);
}

bool Transfer::go_on() {
  while (bytes != 0) {
    const uint32_t sent = channel->sent.load(std::memory_order_acquire);
    const uint32_t taken = channel->taken.load(std::memory_order_acquire);
    if ((sent == taken) != sends) return false;
    const size_t piece = sends ? std::min(bytes, kPieceBytes) : channel->bytes;
    if (piece > bytes) std::abort();  // the sender and the receiver do not mean the same
    if (sends) {
      std::memcpy(channel->data, at, piece);
      channel->bytes = static_cast<uint32_t>(piece);
      channel->sent.store(sent + 1, std::memory_order_release);
    } else {
      std::memcpy(at, channel->data, piece);
      channel->taken.store(taken + 1, std::memory_order_release);
    }
    at += piece;
    bytes -= piece;
  }
  return true;
}

}  // namespace deepserve::fake_nccl
