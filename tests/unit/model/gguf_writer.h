// Writes GGUF files for tests: right ones, and, through the raw setters, wrong ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cpu/weight_format.h"

namespace deepserve::runner {

class GgufWriter {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;

  void put_u32(std::string_view key, uint32_t value) { key_and_type(key, 4), number(metadata_, value); }
  void put_i32(std::string_view key, int32_t value) { key_and_type(key, 5), number(metadata_, value); }
  void put_u64(std::string_view key, uint64_t value) { key_and_type(key, 10), number(metadata_, value); }
  void put_f32(std::string_view key, float value) { key_and_type(key, 6), number(metadata_, value); }
  void put_bool(std::string_view key, bool value) { key_and_type(key, 7), number<uint8_t>(metadata_, value); }
  void put_string(std::string_view key, std::string_view value) {
    key_and_type(key, 8), text(metadata_, value);
  }
  void put_strings(std::string_view key, const std::vector<std::string>& values) {
    begin_array(key, 8, values.size());
    for (const auto& value : values) text(metadata_, value);
  }
  void put_floats(std::string_view key, const std::vector<float>& values) {
    begin_array(key, 6, values.size());
    for (const float value : values) number(metadata_, value);
  }
  void put_integers(std::string_view key, const std::vector<int32_t>& values) {
    begin_array(key, 5, values.size());
    for (const int32_t value : values) number(metadata_, value);
  }
  // A key with any type number and payload.
  void put_raw(std::string_view key, uint32_t type, const std::vector<uint8_t>& payload) {
    key_and_type(key, type);
    metadata_.insert(metadata_.end(), payload.begin(), payload.end());
  }
  void begin_array(std::string_view key, uint32_t element_type, uint64_t count) {
    key_and_type(key, 9);
    number(metadata_, element_type);
    number(metadata_, count);
  }

  // `type`: ggml's number. Data is placed after the tensors before it, aligned.
  void add_tensor(std::string_view name, uint32_t type, const std::vector<uint64_t>& dimensions,
                  const std::vector<uint8_t>& bytes) {
    while (data_.size() % alignment != 0) data_.push_back(0);
    add_tensor_at(name, type, dimensions, data_.size());
    data_.insert(data_.end(), bytes.begin(), bytes.end());
  }
  void add_tensor(std::string_view name, kernels::WeightType type, const std::vector<uint64_t>& dimensions,
                  const std::vector<uint8_t>& bytes) {
    constexpr uint32_t kNumbers[] = {0, 1, 30, 2, 3, 6, 7, 8, 20, 10, 11, 12, 13, 14, 23};
    static_assert(std::size(kNumbers) == static_cast<size_t>(kernels::WeightType::kF8E4M3));
    add_tensor(name, kNumbers[static_cast<size_t>(type)], dimensions, bytes);
  }
  // A tensor entry whose offset is whatever the test says; no data is added.
  void add_tensor_at(std::string_view name, uint32_t type, const std::vector<uint64_t>& dimensions,
                     uint64_t offset) {
    ++tensor_count_;
    text(tensors_, name);
    number(tensors_, static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t dimension : dimensions) number(tensors_, dimension);
    number(tensors_, type);
    number(tensors_, offset);
  }

  std::vector<uint8_t> bytes() const {
    std::vector<uint8_t> file = {'G', 'G', 'U', 'F'};
    number(file, version);
    number(file, tensor_count_);
    number(file, metadata_count_);
    file.insert(file.end(), metadata_.begin(), metadata_.end());
    file.insert(file.end(), tensors_.begin(), tensors_.end());
    if (tensor_count_ != 0) {
      while (file.size() % alignment != 0) file.push_back(0);
    }
    file.insert(file.end(), data_.begin(), data_.end());
    return file;
  }

 private:
  template <typename T>
  static void number(std::vector<uint8_t>& to, T value) {
    const size_t old_size = to.size();
    to.resize(old_size + sizeof value);
    std::memcpy(to.data() + old_size, &value, sizeof value);
  }
  static void text(std::vector<uint8_t>& to, std::string_view value) {
    number(to, static_cast<uint64_t>(value.size()));
    to.insert(to.end(), value.begin(), value.end());
  }
  void key_and_type(std::string_view key, uint32_t type) {
    ++metadata_count_;
    text(metadata_, key);
    number(metadata_, type);
  }

  uint64_t tensor_count_ = 0;
  uint64_t metadata_count_ = 0;
  std::vector<uint8_t> metadata_, tensors_, data_;
};

}  // namespace deepserve::runner
