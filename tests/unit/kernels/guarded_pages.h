// Memory whose neighbours may not be touched.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace deepserve::kernels {

// Readable bytes between two pages whose touch is a SIGSEGV.
class GuardedPages {
 public:
  GuardedPages() : all_(mmap(nullptr, 3 * kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    EXPECT_NE(all_, MAP_FAILED);
    EXPECT_EQ(mprotect(begin(), kBytes, PROT_READ | PROT_WRITE), 0);
  }
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;
  ~GuardedPages() { munmap(all_, 3 * kBytes); }

  uint8_t* begin() const { return static_cast<uint8_t*>(all_) + kBytes; }
  uint8_t* end() const { return begin() + kBytes; }

  static constexpr size_t kBytes = 1u << 17;

 private:
  void* all_;
};

}  // namespace deepserve::kernels
