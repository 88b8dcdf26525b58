#include "daemon/admission/class_usage.h"

#include <algorithm>
#include <cmath>

namespace deepserve::daemon {
namespace {

double age_s(uint64_t then_ns, uint64_t now_ns) {
  return static_cast<double>(now_ns - std::min(now_ns, then_ns)) * 1e-9;
}

}  // namespace

void ClassUsage::add(ipc::Class service_class, double cost, uint64_t now_ns) {
  auto& one = classes_[static_cast<size_t>(service_class)];
  one.weight = one.weight * std::exp(-age_s(one.added_ns, now_ns) / kFading_s) + cost;
  one.added_ns = std::max(one.added_ns, now_ns);
  one.seen = true;
}

double ClassUsage::per_second(ipc::Class service_class, uint64_t now_ns) const {
  const auto& one = classes_[static_cast<size_t>(service_class)];
  return one.weight * std::exp(-age_s(one.added_ns, now_ns) / kFading_s) / kFading_s;
}

bool ClassUsage::seen_within(ipc::Class service_class, double seconds, uint64_t now_ns) const {
  const auto& one = classes_[static_cast<size_t>(service_class)];
  return one.seen && age_s(one.added_ns, now_ns) <= seconds;
}

}  // namespace deepserve::daemon
