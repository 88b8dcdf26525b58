#include "daemon/config/toml_section.h"

#include <algorithm>

#include "daemon/config/units.h"

namespace deepserve::daemon {

std::string_view toml_type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

const toml::node* Section::take(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  return table_.get(key);
}

const toml::node* Section::require(std::string_view key) {
  const auto* node = take(key);
  if (node == nullptr) problem(nullptr, fmt::format("{} is missing", key_name(key)));
  return node;
}

void Section::problem(const toml::node* node, std::string message) {
  const auto& begin = (node == nullptr ? table_ : *node).source().begin;
  problems_.push_back({begin.line, begin.column, std::move(message)});
}

void Section::warning(const toml::node* node, std::string message) {
  problem(node, std::move(message));
  problems_.back().is_warning = true;
}

void Section::wrong_type(const toml::node& node, std::string_view key, std::string_view expected) {
  problem(&node, fmt::format("{}: expected {}, found {}", key_name(key), expected, toml_type_name(node)));
}

void Section::read(std::string_view key, std::string& out) {
  const auto* node = take(key);
  if (node == nullptr) return;
  if (const auto value = node->value_exact<std::string>()) {
    out = *value;
  } else {
    wrong_type(*node, key, "a string");
  }
}

void Section::read(std::string_view key, bool& out) {
  const auto* node = take(key);
  if (node == nullptr) return;
  if (const auto value = node->value_exact<bool>()) {
    out = *value;
  } else {
    wrong_type(*node, key, "true or false");
  }
}

void Section::read_integer(std::string_view key, uint64_t min, uint64_t max, uint64_t& out) {
  const auto* node = take(key);
  if (node == nullptr) return;
  const auto value = node->value_exact<int64_t>();
  if (!value) {
    wrong_type(*node, key, "an integer");
  } else if (*value < 0 || static_cast<uint64_t>(*value) < min || static_cast<uint64_t>(*value) > max) {
    problem(node, fmt::format("{}: {} is not within {} to {}", key_name(key), *value, min, max));
  } else {
    out = static_cast<uint64_t>(*value);
  }
}

void Section::read_integer(std::string_view key, uint64_t min, uint64_t max, uint32_t& out) {
  uint64_t wide = out;
  read_integer(key, min, max, wide);
  out = static_cast<uint32_t>(wide);
}

void Section::read_number(std::string_view key, double above, double max, double& out) {
  const auto* node = take(key);
  if (node == nullptr) return;
  const bool is_number = node->is_integer() || node->is_floating_point();
  if (!is_number) {
    wrong_type(*node, key, "a number");
  } else if (const double value = node->value<double>().value_or(0); !(value > above && value <= max)) {
    problem(node, fmt::format("{}: {} is not above {} and at most {}", key_name(key), value, above, max));
  } else {
    out = value;
  }
}

void Section::read_duration(std::string_view key, uint64_t min_ns, uint64_t max_ns, uint64_t& out_ns) {
  const auto* node = take(key);
  if (node == nullptr) return;
  const auto text = node->value_exact<std::string>();
  if (!text) return wrong_type(*node, key, "a duration like \"60s\"");
  const auto value = parse_duration_ns(*text);
  if (!value) return problem(node, fmt::format("{}: {}", key_name(key), value.error().message));
  if (*value < min_ns || *value > max_ns) {
    return problem(node, fmt::format("{}: {} is not within {} to {}", key_name(key), *text,
                                     duration_text(min_ns), duration_text(max_ns)));
  }
  out_ns = *value;
}

void Section::read_size(std::string_view key, uint64_t min_bytes, uint64_t max_bytes, uint64_t& out_bytes) {
  const auto* node = take(key);
  if (node == nullptr) return;
  const auto text = node->value_exact<std::string>();
  if (!text) return wrong_type(*node, key, "a size like \"8GiB\"");
  const auto value = parse_size_bytes(*text);
  if (!value) return problem(node, fmt::format("{}: {}", key_name(key), value.error().message));
  if (*value < min_bytes || *value > max_bytes) {
    return problem(node, fmt::format("{}: {} is not within {} to {}", key_name(key), *text,
                                     size_text(min_bytes), size_text(max_bytes)));
  }
  out_bytes = *value;
}

void Section::read_strings(std::string_view key, std::vector<std::string>& out) {
  const auto* node = take(key);
  if (node == nullptr) return;
  const auto* array = node->as_array();
  if (array == nullptr) return wrong_type(*node, key, "a list of strings");
  out.clear();
  for (const auto& item : *array) {
    if (const auto value = item.value_exact<std::string>()) {
      out.push_back(*value);
    } else {
      wrong_type(item, key, "a list of strings");
    }
  }
}

void Section::read_integers(std::string_view key, uint64_t max, std::vector<uint32_t>& out) {
  const auto* node = take(key);
  if (node == nullptr) return;
  const auto* array = node->as_array();
  if (array == nullptr) return wrong_type(*node, key, "a list of integers");
  out.clear();
  for (const auto& item : *array) {
    const auto value = item.value_exact<int64_t>();
    if (!value) {
      wrong_type(item, key, "a list of integers");
    } else if (*value < 0 || static_cast<uint64_t>(*value) > max) {
      problem(&item, fmt::format("{}: {} is not within 0 to {}", key_name(key), *value, max));
    } else {
      out.push_back(static_cast<uint32_t>(*value));
    }
  }
}

void Section::finish() {
  for (const auto& [key, node] : table_) {
    if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
    const auto& begin = key.source().begin;
    problems_.push_back(
        {begin.line, begin.column,
         fmt::format("unknown key '{}'; known here: {}", key_name(key.str()), fmt::join(known_, ", "))});
  }
}

}  // namespace deepserve::daemon
