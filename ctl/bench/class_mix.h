// Which share of the requests each service class has, and what that makes of a load. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::ctl::bench {

enum class ServiceClass : uint8_t { kVip, kNormal, kBatch, kCount };
inline constexpr size_t kClass_count = static_cast<size_t>(ServiceClass::kCount);

// A value for each class, in their order.
template <typename T>
using PerClass = std::array<T, kClass_count>;

inline size_t index_of(ServiceClass service_class) {
  return static_cast<size_t>(service_class);
}

std::string_view class_name(ServiceClass service_class);
// kUsage: there is no such class.
Result<ServiceClass> class_named(std::string_view name);

class ClassMix {
 public:
  // `shares`: "vip=0.3,normal=0.6,batch=0.1", which sum to 1 (within 0.001). `fixed`: a class with a share
  // whose rate does not scale with the load; empty: none. kUsage names what is wrong.
  static Result<ClassMix> parse(std::string_view shares, std::string_view fixed);

  // Requests/s of each class, `load` times `capacity_per_s` in all. A fixed class keeps its share of the
  // capacity itself and the others divide the rest by their shares. kUsage: the fixed class's rate alone is
  // more than that load.
  Result<PerClass<double>> rates_per_s(double capacity_per_s, double load) const;

  double share(ServiceClass service_class) const { return shares_[index_of(service_class)]; }
  // The class at `point` of [0, 1) when the shares lie end to end: a uniform draw gives the mix.
  ServiceClass class_at(double point) const;

 private:
  PerClass<double> shares_{};
  std::optional<ServiceClass> fixed_;
};

}  // namespace deepserve::ctl::bench
