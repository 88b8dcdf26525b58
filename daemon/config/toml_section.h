// One table of the configuration file, read key by key; every wrong type, range or unknown key becomes a
// problem with its place. Included only inside config/: toml++ is dear to compile.
#pragma once

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.h"

namespace deepserve::daemon {

class Section {
 public:
  // `name` is how messages call it: "server", "model \"tiny\"". All three must outlive the section.
  Section(const toml::table& table, std::string name, ConfigProblems& problems)
      : table_(table), name_(std::move(name)), problems_(problems) {}

  // The node of `key`, now known; nullptr when the file does not have it.
  const toml::node* take(std::string_view key);
  // Reports that a key must be there.
  const toml::node* require(std::string_view key);

  // Each leaves `out` alone when the key is absent, and reports when it is of another type or out of range.
  void read(std::string_view key, std::string& out);
  void read(std::string_view key, bool& out);
  void read_integer(std::string_view key, uint64_t min, uint64_t max, uint64_t& out);
  void read_integer(std::string_view key, uint64_t min, uint64_t max, uint32_t& out);
  void read_number(std::string_view key, double above, double max, double& out);
  void read_duration(std::string_view key, uint64_t min_ns, uint64_t max_ns, uint64_t& out_ns);
  void read_size(std::string_view key, uint64_t min_bytes, uint64_t max_bytes, uint64_t& out_bytes);
  void read_strings(std::string_view key, std::vector<std::string>& out);
  void read_integers(std::string_view key, uint64_t max, std::vector<uint32_t>& out);

  // Reports a problem at `node`, or at the table itself when it is null.
  void problem(const toml::node* node, std::string message);
  // The same of what could not be checked: the file is valid with it.
  void warning(const toml::node* node, std::string message);
  // Reports every key that nobody took.
  void finish();

  const std::string& name() const { return name_; }

 private:
  std::string key_name(std::string_view key) const {
    return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
  }
  void wrong_type(const toml::node& node, std::string_view key, std::string_view expected);

  const toml::table& table_;
  std::string name_;
  ConfigProblems& problems_;
  std::vector<std::string> known_;
};

std::string_view toml_type_name(const toml::node& node);

}  // namespace deepserve::daemon
