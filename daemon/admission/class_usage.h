// How much of a model's runners each class has used of late: GPU-seconds a second. Pure.
#pragma once

#include <array>
#include <cstdint>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

class ClassUsage {
 public:
  static constexpr double kFading_s = 5.0;
  static constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);

  void add(ipc::Class service_class, double cost, uint64_t now_ns);
  double per_second(ipc::Class service_class, uint64_t now_ns) const;
  // Work of this class came within the last so many seconds.
  bool seen_within(ipc::Class service_class, double seconds, uint64_t now_ns) const;

 private:
  struct One {
    double weight = 0;
    uint64_t added_ns = 0;
    bool seen = false;
  };
  std::array<One, kClasses> classes_{};
};

}  // namespace deepserve::daemon
