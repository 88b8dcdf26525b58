#include "runner/model/huggingface/safetensors.h"

#include <algorithm>
#include <boost/json/value.hpp>
#include <cstring>

#include "runner/model/huggingface/json_document.h"

namespace deepserve::runner {
namespace {

namespace json = boost::json;
using kernels::WeightType;

constexpr uint64_t kLengthBytes = 8;

struct DtypeRow {
  std::string_view name;
  WeightType type;  // kCount: known by name only
};
constexpr DtypeRow kDtypes[] = {
    {"F32", WeightType::kF32},       {"F16", WeightType::kF16},       {"BF16", WeightType::kBF16},
    {"F64", WeightType::kCount},     {"I64", WeightType::kCount},     {"I32", WeightType::kCount},
    {"I16", WeightType::kCount},     {"I8", WeightType::kCount},      {"U64", WeightType::kCount},
    {"U32", WeightType::kCount},     {"U16", WeightType::kCount},     {"U8", WeightType::kCount},
    {"BOOL", WeightType::kCount},    {"C64", WeightType::kCount},     {"F8_E4M3", WeightType::kF8E4M3},
    {"F8_E5M2", WeightType::kCount}, {"F8_E8M0", WeightType::kCount}, {"F6_E2M3", WeightType::kCount},
    {"F6_E3M2", WeightType::kCount}, {"F4", WeightType::kCount},
};

class HeaderReader {
 public:
  HeaderReader(std::span<const uint8_t> file, const std::string& name) : file_(file), name_(name) {}

  Result<std::vector<StoredTensor>> read();

 private:
  Result<json::value> parse_header();
  Result<void> read_tensor(std::string_view name, const json::value& entry);
  Result<void> read_dtype(const JsonFields& fields, StoredTensor& tensor) const;
  Result<void> read_shape(const JsonFields& fields, StoredTensor& tensor) const;
  Result<void> read_place(const JsonFields& fields, StoredTensor& tensor) const;
  Result<void> check_layout();

  std::span<const uint8_t> file_;
  const std::string& name_;
  uint64_t data_begin_ = 0;
  std::vector<StoredTensor> tensors_;
};

Result<json::value> HeaderReader::parse_header() {
  if (file_.size() < kLengthBytes)
    return fail(Code::kBadModelFile, "{}: offset 0: the file ends inside the header's length", name_);
  uint64_t length = 0;
  std::memcpy(&length, file_.data(), sizeof length);
  if (length > SafetensorsLimits::kHeaderBytesMax) {
    return fail(Code::kBadModelFile, "{}: offset 0: a header of {} bytes, at most {} are allowed", name_,
                length, SafetensorsLimits::kHeaderBytesMax);
  }
  if (length > file_.size() - kLengthBytes) {
    return fail(Code::kBadModelFile, "{}: offset 0: a header of {} bytes reaches beyond the file's end",
                name_, length);
  }
  if (length == 0 || file_[kLengthBytes] != '{')
    return fail(Code::kBadModelFile, "{}: offset 8: the header does not begin with '{{'", name_);
  data_begin_ = kLengthBytes + length;
  const std::string_view text(reinterpret_cast<const char*>(file_.data()) + kLengthBytes, length);
  return parse_json(text, name_ + ": header",
                    {.text_bytes_max = SafetensorsLimits::kHeaderBytesMax,
                     .memory_bytes_max = SafetensorsLimits::kHeaderMemoryMax,
                     .depth_max = SafetensorsLimits::kHeaderDepthMax,
                     .refuse_repeated_keys = true});
}

Result<std::vector<StoredTensor>> HeaderReader::read() {
  TRY_ASSIGN(const json::value header, parse_header());
  const json::object& entries = header.get_object();  // it begins with '{'
  if (entries.size() > SafetensorsLimits::kTensorsMax) {
    return fail(Code::kBadModelFile, "{}: header: {} tensors, at most {} are allowed", name_, entries.size(),
                SafetensorsLimits::kTensorsMax);
  }
  tensors_.reserve(entries.size());
  for (const auto& [key, entry] : entries) {
    if (key == "__metadata__")
      TRY(JsonFields::of(entry, name_ + ": header: __metadata__"));
    else
      TRY(read_tensor(key, entry));
  }
  TRY(check_layout());
  return std::move(tensors_);
}

Result<void> HeaderReader::read_tensor(std::string_view name, const json::value& entry) {
  TRY_ASSIGN(const JsonFields fields,
             JsonFields::of(entry, fmt::format("{}: header: tensor \"{}\"", name_, printable(name))));
  if (name.empty()) return fail(Code::kBadModelFile, "{}: header: a tensor's name is empty", name_);
  StoredTensor tensor;
  tensor.name = name;
  TRY(read_dtype(fields, tensor));
  TRY(read_shape(fields, tensor));
  TRY(read_place(fields, tensor));
  tensors_.push_back(std::move(tensor));
  return {};
}

Result<void> HeaderReader::read_dtype(const JsonFields& fields, StoredTensor& tensor) const {
  TRY_ASSIGN(const auto dtype, fields.find_string("dtype"));
  if (!dtype) return fields.bad("dtype", "it is missing");
  const auto* row = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                 [&](const DtypeRow& candidate) { return candidate.name == *dtype; });
  if (row == std::end(kDtypes)) return fields.bad("dtype", fmt::format("unknown: \"{}\"", printable(*dtype)));
  if (row->type == WeightType::kCount) {
    return fail(Code::kNotSupported, "{}: dtype {} is not supported (F32, F16, BF16, F8_E4M3 are)",
                fields.where(), row->name);
  }
  tensor.type = row->type;
  return {};
}

Result<void> HeaderReader::read_shape(const JsonFields& fields, StoredTensor& tensor) const {
  const json::value* value = fields.find("shape");
  if (value == nullptr) return fields.bad("shape", "it is missing");
  const json::array* shape = value->if_array();
  if (shape == nullptr) return fields.bad("shape", describe_json(*value) + " where an array belongs");
  if (shape->size() > tensor.dimensions.size()) {
    return fields.bad("shape", fmt::format("{} dimensions, at most {} are allowed", shape->size(),
                                           tensor.dimensions.size()));
  }
  tensor.dimension_count = static_cast<uint32_t>(shape->size());
  tensor.elements = 1;
  for (size_t i = 0; i < shape->size(); ++i) {
    const int64_t* size = (*shape)[i].if_int64();
    if (size == nullptr || *size < 1) {
      return fields.bad("shape", fmt::format("{} where a size belongs", describe_json((*shape)[i])));
    }
    tensor.dimensions[shape->size() - 1 - i] =
        static_cast<uint64_t>(*size);  // the last one is a row's length
    if (__builtin_mul_overflow(tensor.elements, static_cast<uint64_t>(*size), &tensor.elements))
      return fields.bad("shape", "its dimensions multiply to more than 64 bits");
  }
  return {};
}

Result<void> HeaderReader::read_place(const JsonFields& fields, StoredTensor& tensor) const {
  const json::value* value = fields.find("data_offsets");
  if (value == nullptr) return fields.bad("data_offsets", "it is missing");
  const json::array* offsets = value->if_array();
  const bool pair = offsets != nullptr && offsets->size() == 2;
  const int64_t* begin = pair ? (*offsets)[0].if_int64() : nullptr;
  const int64_t* end = pair ? (*offsets)[1].if_int64() : nullptr;
  if (begin == nullptr || end == nullptr || *begin < 0 || *end < *begin)
    return fields.bad("data_offsets", "not two ascending offsets");
  const uint64_t data_bytes = file_.size() - data_begin_;
  if (static_cast<uint64_t>(*end) > data_bytes) {
    return fields.bad("data_offsets", fmt::format("[{}, {}] reaches beyond the file's end ({} bytes of data)",
                                                  *begin, *end, data_bytes));
  }
  uint64_t size_bytes = 0;
  const auto stated = static_cast<uint64_t>(*end - *begin);
  const uint64_t element_bytes = kernels::weight_format(tensor.type).block_bytes;
  if (__builtin_mul_overflow(tensor.elements, element_bytes, &size_bytes) || size_bytes != stated) {
    return fields.bad("data_offsets",
                      fmt::format("[{}, {}] is {} bytes, its shape {} in {} takes {}", *begin, *end, stated,
                                  shape_text(tensor), kernels::weight_format(tensor.type).name, size_bytes));
  }
  tensor.offset = data_begin_ + static_cast<uint64_t>(*begin);
  tensor.bytes = file_.subspan(tensor.offset, size_bytes);
  return {};
}

// No two tensors overlap, and no byte belongs to none.
Result<void> HeaderReader::check_layout() {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.offset < b.offset; });
  uint64_t end = data_begin_;
  const StoredTensor* before = nullptr;
  for (const StoredTensor& tensor : tensors_) {
    if (tensor.offset < end) {
      return fail(Code::kBadModelFile, "{}: offset {}: tensors \"{}\" and \"{}\" overlap", name_,
                  tensor.offset, printable(before->name), printable(tensor.name));
    }
    if (tensor.offset > end) {
      return fail(Code::kBadModelFile, "{}: offset {}: {} bytes before tensor \"{}\" belong to no tensor",
                  name_, end, tensor.offset - end, printable(tensor.name));
    }
    end += tensor.bytes.size();
    before = &tensor;
  }
  if (end == file_.size()) return {};
  return fail(Code::kBadModelFile, "{}: offset {}: {} bytes at the file's end belong to no tensor", name_,
              end, file_.size() - end);
}

}  // namespace

Result<std::vector<StoredTensor>> parse_safetensors(std::span<const uint8_t> file, const std::string& name) {
  return HeaderReader(file, name).read();
}

}  // namespace deepserve::runner
