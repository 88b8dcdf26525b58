// CHECK(condition): our own bug when it does not hold. Prints where and aborts, also in release builds.
#pragma once

namespace deepserve {

[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace deepserve

#define CHECK(condition)                                         \
  do {                                                           \
    if (!(condition)) [[unlikely]] {                             \
      ::deepserve::check_failed(#condition, __FILE__, __LINE__); \
    }                                                            \
  } while (false)
