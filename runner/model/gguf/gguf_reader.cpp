#include "runner/model/gguf/gguf_reader.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace deepserve::runner {
namespace {

using kernels::WeightType;

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMetadataEntryBytesMin = 8 + 4 + 1;
constexpr uint64_t kTensorEntryBytesMin = 8 + 4 + 8 + 4 + 8;

struct TensorTypeRow {
  uint32_t number;  // ggml's
  std::string_view name;
  WeightType type;  // kCount: known by name only
};
constexpr TensorTypeRow kTensorTypes[] = {
    {0, "F32", WeightType::kF32},        {1, "F16", WeightType::kF16},
    {2, "Q4_0", WeightType::kQ4_0},      {3, "Q4_1", WeightType::kQ4_1},
    {6, "Q5_0", WeightType::kQ5_0},      {7, "Q5_1", WeightType::kQ5_1},
    {8, "Q8_0", WeightType::kQ8_0},      {9, "Q8_1", WeightType::kCount},
    {10, "Q2_K", WeightType::kQ2K},      {11, "Q3_K", WeightType::kQ3K},
    {12, "Q4_K", WeightType::kQ4K},      {13, "Q5_K", WeightType::kQ5K},
    {14, "Q6_K", WeightType::kQ6K},      {15, "Q8_K", WeightType::kCount},
    {16, "IQ2_XXS", WeightType::kCount}, {17, "IQ2_XS", WeightType::kCount},
    {18, "IQ3_XXS", WeightType::kCount}, {19, "IQ1_S", WeightType::kCount},
    {20, "IQ4_NL", WeightType::kIQ4NL},  {21, "IQ3_S", WeightType::kCount},
    {22, "IQ2_S", WeightType::kCount},   {23, "IQ4_XS", WeightType::kIQ4XS},
    {24, "I8", WeightType::kCount},      {25, "I16", WeightType::kCount},
    {26, "I32", WeightType::kCount},     {27, "I64", WeightType::kCount},
    {28, "F64", WeightType::kCount},     {29, "IQ1_M", WeightType::kCount},
    {30, "BF16", WeightType::kBF16},     {34, "TQ1_0", WeightType::kCount},
    {35, "TQ2_0", WeightType::kCount},   {39, "MXFP4", WeightType::kCount},
};

const TensorTypeRow* find_tensor_type(uint32_t number) {
  for (const TensorTypeRow& row : kTensorTypes) {
    if (row.number == number) return &row;
  }
  return nullptr;
}

// Bytes of one element of a fixed-size type; 0 for strings and arrays.
uint64_t element_bytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

GgufReader::GgufReader(std::span<const uint8_t> file, std::string name) : file_(file) {
  gguf_.name_ = std::move(name);
}

template <typename T>
Result<T> GgufReader::number(std::string_view what) {
  if (left() < sizeof(T)) return bad(position_, "the file ends inside {}", what);
  T value;
  std::memcpy(&value, file_.data() + position_, sizeof value);
  position_ += sizeof value;
  return value;
}

Result<std::string_view> GgufReader::string(std::string_view what, uint64_t bytes_max) {
  const uint64_t begin = position_;
  TRY_ASSIGN(const uint64_t size, number<uint64_t>(what));
  if (size > left()) return bad(begin, "{}: a string of {} bytes reaches beyond the file's end", what, size);
  if (size > bytes_max)
    return bad(begin, "{}: a string of {} bytes, at most {} are allowed", what, size, bytes_max);
  const std::string_view text(reinterpret_cast<const char*>(file_.data()) + position_, size);
  position_ += size;
  return text;
}

Result<Gguf> GgufReader::read() {
  TRY(read_header());
  for (uint64_t i = 0; i < metadata_count_; ++i) TRY(read_metadata_entry());
  TRY(read_alignment());
  gguf_.tensors_.reserve(tensor_count_);
  places_.reserve(tensor_count_);
  for (uint64_t i = 0; i < tensor_count_; ++i) TRY(read_tensor_entry());
  TRY(place_tensors());
  TRY(check_overlaps());
  return std::move(gguf_);
}

Result<void> GgufReader::read_header() {
  TRY_ASSIGN(const uint32_t magic, number<uint32_t>("the magic number"));
  if (magic != kMagic) return bad(0, "not a GGUF file: it begins with {:08x}", magic);
  TRY_ASSIGN(const uint32_t version, number<uint32_t>("the version"));
  if (version == 0x02000000 || version == 0x03000000) {
    return fail(Code::kNotSupported, "{}: offset 4: a big-endian GGUF file is not supported", gguf_.name_);
  }
  if (version != 2 && version != 3) {
    return fail(Code::kNotSupported, "{}: offset 4: GGUF version {} is not supported (2 and 3 are)",
                gguf_.name_, version);
  }
  TRY_ASSIGN(tensor_count_, number<uint64_t>("the tensor count"));
  TRY_ASSIGN(metadata_count_, number<uint64_t>("the metadata count"));
  if (tensor_count_ > GgufLimits::kTensorsMax || tensor_count_ > left() / kTensorEntryBytesMin) {
    return bad(8, "{} tensors cannot be in a file of {} bytes (limit {})", tensor_count_, file_.size(),
               GgufLimits::kTensorsMax);
  }
  if (metadata_count_ > GgufLimits::kMetadataMax || metadata_count_ > left() / kMetadataEntryBytesMin) {
    return bad(16, "{} metadata entries cannot be in a file of {} bytes (limit {})", metadata_count_,
               file_.size(), GgufLimits::kMetadataMax);
  }
  return {};
}

Result<void> GgufReader::read_metadata_entry() {
  const uint64_t begin = position_;
  TRY_ASSIGN(const std::string_view key, string("a metadata key", GgufLimits::kNameBytesMax));
  if (key.empty()) return bad(begin, "a metadata key is empty");
  TRY_ASSIGN(GgufValue value, read_value(key));
  if (!gguf_.metadata_.emplace(std::string(key), value).second) {
    return bad(begin, "metadata key \"{}\" is there twice", printable(key));
  }
  return {};
}

Result<GgufValue> GgufReader::read_value(std::string_view key) {
  const std::string what = fmt::format("metadata key \"{}\"", printable(key));
  GgufValue value;
  const uint64_t type_offset = position_;
  TRY_ASSIGN(const uint32_t type, number<uint32_t>(what));
  if (type >= static_cast<uint32_t>(GgufType::kCount))
    return bad(type_offset, "{} has unknown type {}", what, type);
  value.type = value.element_type = static_cast<GgufType>(type);
  if (value.type == GgufType::kArray) {
    TRY_ASSIGN(const uint32_t element_type, number<uint32_t>(what));
    if (element_type >= static_cast<uint32_t>(GgufType::kCount)) {
      return bad(type_offset, "{} is an array of unknown type {}", what, element_type);
    }
    value.element_type = static_cast<GgufType>(element_type);
    if (value.element_type == GgufType::kArray) return bad(type_offset, "{} is an array of arrays", what);
    TRY_ASSIGN(value.count, number<uint64_t>(what));
  }
  value.offset = position_;
  TRY(skip_elements(key, value.element_type, value.count));
  value.bytes = file_.subspan(value.offset, position_ - value.offset);
  return value;
}

Result<void> GgufReader::skip_elements(std::string_view key, GgufType type, uint64_t count) {
  const uint64_t begin = position_;
  const uint64_t size_min = type == GgufType::kString ? 8 : element_bytes(type);
  if (count > left() / size_min) {
    return bad(begin, "metadata key \"{}\": {} values of type {} reach beyond the file's end", printable(key),
               count, gguf_type_name(type));
  }
  if (type == GgufType::kString) {
    const std::string what = fmt::format("metadata key \"{}\"", printable(key));
    for (uint64_t i = 0; i < count; ++i) TRY(string(what, file_.size()));
    return {};
  }
  if (type == GgufType::kBool) {
    const auto values = file_.subspan(begin, count);
    const auto wrong = std::find_if(values.begin(), values.end(), [](uint8_t value) { return value > 1; });
    if (wrong != values.end()) {
      return bad(begin + static_cast<uint64_t>(wrong - values.begin()),
                 "metadata key \"{}\" is a bool of value {}", printable(key), *wrong);
    }
  }
  position_ += count * size_min;
  return {};
}

Result<void> GgufReader::read_alignment() {
  TRY_ASSIGN(const auto stated, gguf_.find_unsigned("general.alignment"));
  if (!stated) return {};
  if (*stated < 8 || *stated > GgufLimits::kAlignmentMax || (*stated & (*stated - 1)) != 0) {
    return gguf_.bad_value("general.alignment", fmt::format("{} is not a power of two from 8 to {}", *stated,
                                                            GgufLimits::kAlignmentMax));
  }
  alignment_ = *stated;
  return {};
}

Result<void> GgufReader::read_tensor_entry() {
  StoredTensor tensor;
  TensorPlace place;
  place.header_offset = position_;
  TRY_ASSIGN(const std::string_view name, string("a tensor's name", GgufLimits::kNameBytesMax));
  if (name.empty()) return bad(place.header_offset, "a tensor's name is empty");
  tensor.name = name;
  TRY(read_tensor_shape(tensor));
  TRY(read_tensor_type(tensor, place));
  TRY_ASSIGN(place.relative_offset, number<uint64_t>(fmt::format("tensor \"{}\"", printable(name))));
  if (place.relative_offset % alignment_ != 0) {
    return bad(place.header_offset,
               "tensor \"{}\": its data's offset {} is not a multiple of the alignment {}", printable(name),
               place.relative_offset, alignment_);
  }
  if (!gguf_.tensor_index_.emplace(tensor.name, gguf_.tensors_.size()).second) {
    return bad(place.header_offset, "tensor \"{}\" is there twice", printable(name));
  }
  gguf_.tensors_.push_back(std::move(tensor));
  places_.push_back(place);
  return {};
}

Result<void> GgufReader::read_tensor_shape(StoredTensor& tensor) {
  const std::string what = fmt::format("tensor \"{}\"", printable(tensor.name));
  const uint64_t begin = position_;
  TRY_ASSIGN(tensor.dimension_count, number<uint32_t>(what));
  if (tensor.dimension_count < 1 || tensor.dimension_count > tensor.dimensions.size()) {
    return bad(begin, "{} has {} dimensions (1 to {} are allowed)", what, tensor.dimension_count,
               tensor.dimensions.size());
  }
  tensor.elements = 1;
  for (uint32_t i = 0; i < tensor.dimension_count; ++i) {
    TRY_ASSIGN(tensor.dimensions[i], number<uint64_t>(what));
    if (tensor.dimensions[i] == 0) return bad(begin, "{}: dimension {} is 0", what, i);
    if (__builtin_mul_overflow(tensor.elements, tensor.dimensions[i], &tensor.elements)) {
      return bad(begin, "{}: its dimensions multiply to more than 64 bits", what);
    }
  }
  return {};
}

Result<void> GgufReader::read_tensor_type(StoredTensor& tensor, TensorPlace& place) {
  const std::string what = fmt::format("tensor \"{}\"", printable(tensor.name));
  const uint64_t begin = position_;
  TRY_ASSIGN(const uint32_t type, number<uint32_t>(what));
  const TensorTypeRow* row = find_tensor_type(type);
  if (row == nullptr) return bad(begin, "{} has unknown type {}", what, type);
  if (row->type == WeightType::kCount) {
    return fail(Code::kNotSupported, "{}: offset {}: {} has type {}, which is not supported", gguf_.name_,
                begin, what, row->name);
  }
  tensor.type = row->type;
  const kernels::WeightFormat& format = kernels::weight_format(tensor.type);
  if (tensor.dimensions[0] % format.block_elements != 0) {
    return bad(begin, "{}: rows of {} elements are not whole blocks of {} ({})", what, tensor.dimensions[0],
               format.block_elements, row->name);
  }
  if (__builtin_mul_overflow(tensor.elements / format.block_elements, format.block_bytes,
                             &place.size_bytes)) {
    return bad(begin, "{}: its size does not fit 64 bits", what);
  }
  return {};
}

Result<void> GgufReader::place_tensors() {
  const uint64_t padding = (alignment_ - position_ % alignment_) % alignment_;
  if (!gguf_.tensors_.empty() && padding > left())
    return bad(position_, "the file ends before its tensors' data");
  const uint64_t data_begin = position_ + std::min(padding, left());
  const uint64_t data_bytes = file_.size() - data_begin;
  for (size_t i = 0; i < gguf_.tensors_.size(); ++i) {
    StoredTensor& tensor = gguf_.tensors_[i];
    const TensorPlace& place = places_[i];
    if (place.relative_offset > data_bytes || place.size_bytes > data_bytes - place.relative_offset) {
      return bad(place.header_offset, "tensor \"{}\": {} bytes at data offset {} reach beyond the file's end",
                 printable(tensor.name), place.size_bytes, place.relative_offset);
    }
    tensor.offset = data_begin + place.relative_offset;
    tensor.bytes = file_.subspan(tensor.offset, place.size_bytes);
  }
  return {};
}

Result<void> GgufReader::check_overlaps() const {
  std::vector<size_t> order(gguf_.tensors_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return gguf_.tensors_[a].offset < gguf_.tensors_[b].offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const StoredTensor& before = gguf_.tensors_[order[i - 1]];
    const StoredTensor& tensor = gguf_.tensors_[order[i]];
    if (before.offset + before.bytes.size() > tensor.offset) {
      return bad(tensor.offset, "tensors \"{}\" and \"{}\" overlap", printable(before.name),
                 printable(tensor.name));
    }
  }
  return {};
}

}  // namespace deepserve::runner
