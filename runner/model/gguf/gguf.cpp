#include "runner/model/gguf/gguf.h"

#include <cstring>

#include "runner/model/gguf/gguf_reader.h"

namespace deepserve::runner {
namespace {

constexpr std::string_view kTypeNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                           "int32",  "float32", "bool",   "string", "array",
                                           "uint64", "int64",   "float64"};
static_assert(std::size(kTypeNames) == static_cast<size_t>(GgufType::kCount));

template <typename T>
T element_at(const GgufValue& value, uint64_t index) {
  T element;
  std::memcpy(&element, value.bytes.data() + index * sizeof element, sizeof element);
  return element;
}

// The integer at `index`; nullopt when the type is none, or the number does not fit 63 bits.
std::optional<int64_t> integer_at(const GgufValue& value, uint64_t index) {
  switch (value.element_type) {
    case GgufType::kUint8:
      return element_at<uint8_t>(value, index);
    case GgufType::kInt8:
      return element_at<int8_t>(value, index);
    case GgufType::kUint16:
      return element_at<uint16_t>(value, index);
    case GgufType::kInt16:
      return element_at<int16_t>(value, index);
    case GgufType::kUint32:
      return element_at<uint32_t>(value, index);
    case GgufType::kInt32:
      return element_at<int32_t>(value, index);
    case GgufType::kInt64:
      return element_at<int64_t>(value, index);
    case GgufType::kUint64: {
      const auto number = element_at<uint64_t>(value, index);
      if (number > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
      return static_cast<int64_t>(number);
    }
    default:
      return std::nullopt;
  }
}

std::string describe(const GgufValue& value) {
  if (value.type != GgufType::kArray) return std::string(gguf_type_name(value.type));
  return fmt::format("an array of {}", gguf_type_name(value.element_type));
}

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  return kTypeNames[static_cast<size_t>(type)];
}

Result<Gguf> Gguf::parse(std::span<const uint8_t> file, std::string name) {
  return GgufReader(file, std::move(name)).read();
}

const StoredTensor* Gguf::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

const GgufValue* Gguf::find_value(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

tl::unexpected<Error> Gguf::bad_value(std::string_view key, std::string_view text) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return fail(Code::kBadModelFile, "{}: metadata key \"{}\": {}", name_, key, text);
  return fail(Code::kBadModelFile, "{}: metadata key \"{}\" at offset {}: {}", name_, key, value->offset,
              text);
}

Result<std::optional<uint64_t>> Gguf::find_unsigned(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  const auto number = value->type == GgufType::kArray ? std::nullopt : integer_at(*value, 0);
  if (!number || *number < 0)
    return bad_value(key, fmt::format("{} where a count belongs", describe(*value)));
  return static_cast<uint64_t>(*number);
}

Result<std::optional<double>> Gguf::find_number(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->type == GgufType::kFloat32) return element_at<float>(*value, 0);
  if (value->type == GgufType::kFloat64) return element_at<double>(*value, 0);
  return bad_value(key, fmt::format("{} where a float belongs", describe(*value)));
}

Result<std::optional<bool>> Gguf::find_bool(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kBool)
    return bad_value(key, fmt::format("{} where a bool belongs", describe(*value)));
  return value->bytes[0] != 0;
}

Result<std::optional<std::string>> Gguf::find_string(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kString) {
    return bad_value(key, fmt::format("{} where a string belongs", describe(*value)));
  }
  const auto text = value->bytes.subspan(8);
  return std::string(reinterpret_cast<const char*>(text.data()), text.size());
}

Result<std::optional<std::vector<std::string>>> Gguf::find_strings(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kArray || value->element_type != GgufType::kString) {
    return bad_value(key, fmt::format("{} where an array of strings belongs", describe(*value)));
  }
  std::vector<std::string> strings;
  strings.reserve(value->count);
  auto rest = value->bytes;
  for (uint64_t i = 0; i < value->count; ++i) {
    uint64_t size = 0;
    if (rest.size() >= sizeof size) std::memcpy(&size, rest.data(), sizeof size);
    // The lengths were checked, but the file is mapped: who may write to it can change them since.
    if (rest.size() < sizeof size || size > rest.size() - sizeof size)
      return bad_value(key, "it changed while it was read");
    strings.emplace_back(reinterpret_cast<const char*>(rest.data()) + sizeof size, size);
    rest = rest.subspan(sizeof size + size);
  }
  return strings;
}

Result<std::optional<std::vector<float>>> Gguf::find_floats(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::kArray || value->element_type != GgufType::kFloat32) {
    return bad_value(key, fmt::format("{} where an array of float32 belongs", describe(*value)));
  }
  std::vector<float> numbers(value->count);
  if (!numbers.empty()) std::memcpy(numbers.data(), value->bytes.data(), value->bytes.size());
  return numbers;
}

Result<std::optional<std::vector<int64_t>>> Gguf::find_integers(std::string_view key) const {
  const GgufValue* value = find_value(key);
  if (value == nullptr) return std::nullopt;
  std::vector<int64_t> numbers;
  if (value->type != GgufType::kArray) {
    return bad_value(key, fmt::format("{} where an array of integers belongs", describe(*value)));
  }
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto number = integer_at(*value, i);
    if (!number)
      return bad_value(key, fmt::format("{} where an array of integers belongs", describe(*value)));
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace deepserve::runner
