// Little-endian, length-prefixed encoding of plain values: what message bodies are made of.
//
// ByteReader trusts nothing: every read is bounds-checked, and after the first read past the end it returns
// zeros and empty ranges and ok() is false, so a decoder checks once at its end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace deepserve {

static_assert(std::endian::native == std::endian::little, "the lane's encoding is the host's own byte order");

class ByteWriter {
 public:
  explicit ByteWriter(std::vector<std::byte>& out) : out_(out) {}

  template <typename T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void put(T value) { append(&value, sizeof value); }
  void put_string(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    append(text.data(), text.size());
  }
  template <typename T>
  requires std::is_arithmetic_v<T>
  void put_array(std::span<const T> values) {
    put(static_cast<uint32_t>(values.size()));
    append(values.data(), values.size_bytes());
  }

 private:
  void append(const void* data, size_t size) {
    const size_t old_size = out_.size();
    out_.resize(old_size + size);
    if (size != 0) std::memcpy(out_.data() + old_size, data, size);
  }

  std::vector<std::byte>& out_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T> T get() {
    T value{};
    const auto part = take(sizeof value);
    if (part.size() == sizeof value) std::memcpy(&value, part.data(), sizeof value);
    return value;
  }
  std::string get_string() {
    const auto part = take(get<uint32_t>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  template <typename T>
  requires std::is_arithmetic_v<T> std::vector<T> get_array() {
    const uint64_t count = get<uint32_t>();
    const auto part = take(count * sizeof(T));
    std::vector<T> values(part.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), part.data(), part.size());
    return values;
  }
  // A count of items that follow, each of at least `item_bytes_min`; 0 when they cannot be there.
  uint32_t get_count(size_t item_bytes_min) {
    const uint32_t count = get<uint32_t>();
    if (static_cast<uint64_t>(count) * item_bytes_min > bytes_.size()) ok_ = false;
    return ok_ ? count : 0;
  }

  // What was read cannot be: everything from here on fails.
  void refuse() { ok_ = false; }
  bool ok() const { return ok_; }
  // True when everything was read and nothing was missing.
  bool done() const { return ok_ && bytes_.empty(); }

 private:
  std::span<const std::byte> take(uint64_t size) {
    if (!ok_ || size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const auto part = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return part;
  }

  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

}  // namespace deepserve
