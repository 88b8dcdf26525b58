// The file that a fake driver reads its answers from, each time it is asked. Lines "KEY VALUE"; the last line
// of a key counts, what is not there has no value.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fake_nvml {

class GpuFile {
 public:
  // Of FAKE_NVML_FILE; what cannot be read is empty.
  static GpuFile read();

  std::optional<std::string> text(const std::string& key) const;
  std::optional<unsigned long long> number(const std::string& key) const;
  // "xid GPU NUMBER" lines, in their order.
  struct Xid {
    unsigned gpu;
    unsigned long long number;
  };
  const std::vector<Xid>& xids() const { return xids_; }

 private:
  std::map<std::string, std::string> values_;
  std::vector<Xid> xids_;
};

}  // namespace fake_nvml
