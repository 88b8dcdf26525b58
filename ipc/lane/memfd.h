// One direction's memory: a sealed memfd, and a mapping of it with typed access to its parts.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstdint>
#include <memory>
#include <span>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"
#include "ipc/lane/layout.h"
#include "ipc/lane/process_identity.h"

namespace deepserve::ipc {

// A new memfd (MFD_CLOEXEC), laid out, then sealed against shrinking, growing and further seals.
Result<Fd> create_direction(const LaneSizes& sizes, uint32_t features, Direction direction, uint64_t epoch);

// A mapped and checked direction. The mapping lives as long as this; the descriptor is not kept.
class MappedDirection {
 public:
  // Seals, size and header are checked (check_header). kBadLane naming what differs.
  static Result<std::shared_ptr<MappedDirection>> map(const Fd& memfd, Direction direction,
                                                      uint64_t epoch_expected);

  const HeaderFacts& facts() const { return facts_; }  // this process's own copy
  Header& header() const { return *part<Header>(facts_.offsets.header); }
  RingWords& ring_words() const { return *part<RingWords>(facts_.offsets.ring_words); }
  GaugesMemory& gauges() const { return *part<GaugesMemory>(facts_.offsets.gauges); }
  Slot* slots() const { return part<Slot>(facts_.offsets.slots); }
  // nullptr without kFeatureSlotCrc.
  std::atomic<uint32_t>* slot_crcs() const {
    return facts_.offsets.slot_crcs == 0 ? nullptr : part<std::atomic<uint32_t>>(facts_.offsets.slot_crcs);
  }
  std::atomic<uint64_t>* body_words() const { return part<std::atomic<uint64_t>>(facts_.offsets.bodies); }
  std::span<std::byte> memory() const {
    return {static_cast<std::byte*>(region_.get_address()), region_.get_size()};
  }

  // Who writes this direction, as its header says.
  ProcessIdentity owner() const;
  void set_owner(const ProcessIdentity& owner) const;

 private:
  MappedDirection(boost::interprocess::mapped_region region, const HeaderFacts& facts)
      : region_(std::move(region)), facts_(facts) {}

  template <typename T>
  T* part(uint64_t offset) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(region_.get_address()) + offset);
  }

  boost::interprocess::mapped_region region_;
  HeaderFacts facts_;
};

}  // namespace deepserve::ipc
