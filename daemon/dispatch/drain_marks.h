// What an operator has drained: no new work goes there, what is there ends. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>

namespace deepserve::daemon {

class DrainMarks {
 public:
  void mark_host(bool drained) { host_ = drained; }
  void mark_model(uint32_t model, bool drained) { mark(models_, model, drained); }
  // A runner's mark stays from one life of its process to the next.
  void mark_runner(const std::string& id, bool drained) { mark(runners_, id, drained); }

  bool host() const { return host_; }
  bool model(uint32_t model) const { return models_.contains(model); }
  bool runner(const std::string& id) const { return runners_.contains(id); }
  // Whether a request for this model is taken at all.
  bool takes(uint32_t model) const { return !host_ && !models_.contains(model); }

 private:
  template <typename Set, typename Key>
  static void mark(Set& set, const Key& key, bool drained) {
    if (drained) {
      set.insert(key);
    } else {
      set.erase(key);
    }
  }

  bool host_ = false;
  std::unordered_set<uint32_t> models_;
  std::unordered_set<std::string> runners_;
};

}  // namespace deepserve::daemon
