#include "runner/model/stored_tensor.h"

#include <fmt/format.h>

namespace deepserve::runner {

std::string shape_text(const StoredTensor& tensor) {
  if (tensor.dimension_count == 0) return "a single number";
  std::string text;
  for (uint32_t i = 0; i < tensor.dimension_count; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : "x", tensor.dimensions[i]);
  return text;
}

std::string printable(std::string_view text) {
  constexpr size_t kShown = 64;
  std::string shown;
  for (const char c : text.substr(0, kShown)) shown += c >= ' ' && c <= '~' && c != '"' ? c : '?';
  if (text.size() > kShown) shown += "...";
  return shown;
}

}  // namespace deepserve::runner
