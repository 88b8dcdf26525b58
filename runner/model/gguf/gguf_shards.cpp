#include "runner/model/gguf/gguf_shards.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

namespace deepserve::runner {
namespace {

constexpr size_t kDigits = 5;
constexpr std::string_view kEnding = ".gguf";
constexpr std::string_view kOf = "-of-";

// Takes five digits off the end of `name`.
std::optional<uint32_t> take_number(std::string_view& name) {
  if (name.size() < kDigits) return std::nullopt;
  const std::string_view digits = name.substr(name.size() - kDigits);
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  name.remove_suffix(kDigits);
  return number;
}

bool take_text(std::string_view& name, std::string_view text) {
  if (!name.ends_with(text)) return false;
  name.remove_suffix(text.size());
  return true;
}

}  // namespace

std::optional<GgufShardName> GgufShardName::parse(const std::filesystem::path& path) {
  const std::string whole = path.string();
  std::string_view name = whole;
  if (!take_text(name, kEnding)) return std::nullopt;
  const auto count = take_number(name);
  if (!count || !take_text(name, kOf)) return std::nullopt;
  const auto number = take_number(name);
  if (!number || !take_text(name, "-")) return std::nullopt;
  if (*number < 1 || *number > *count || *count > kShardsMax) return std::nullopt;
  return GgufShardName{std::filesystem::path(name), *number, *count};
}

std::filesystem::path GgufShardName::shard(uint32_t of_number) const {
  return fmt::format("{}-{:05}-of-{:05}{}", prefix.string(), of_number, count, kEnding);
}

}  // namespace deepserve::runner
