#include "runner/model/gguf/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/unit/model/gguf_writer.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;
using testing::HasSubstr;

Result<Gguf> parse(const std::vector<uint8_t>& bytes) {
  return Gguf::parse(bytes, "m.gguf");
}

// Where `text` begins in a file, to overwrite what follows it.
size_t offset_of(const std::vector<uint8_t>& bytes, std::string_view text) {
  const auto found = std::search(bytes.begin(), bytes.end(), text.begin(), text.end());
  EXPECT_NE(found, bytes.end());
  return static_cast<size_t>(found - bytes.begin());
}
template <typename T>
void overwrite(std::vector<uint8_t>& bytes, size_t offset, T value) {
  ASSERT_LE(offset + sizeof value, bytes.size());
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

void expect_refused(const std::vector<uint8_t>& bytes, Code code, const std::vector<std::string>& words) {
  const auto parsed = parse(bytes);
  ASSERT_FALSE(parsed) << "expected a refusal naming " << words.front();
  EXPECT_EQ(parsed.error().code, code) << parsed.error().message;
  EXPECT_THAT(parsed.error().message, HasSubstr("m.gguf"));
  EXPECT_THAT(parsed.error().message, HasSubstr("offset "));
  for (const auto& word : words) EXPECT_THAT(parsed.error().message, HasSubstr(word));
}

GgufWriter small_file() {
  GgufWriter writer;
  writer.put_string("general.architecture", "llama");
  writer.put_u32("a.count", 7);
  writer.put_i32("a.negative", -7);
  writer.put_f32("a.number", 0.5f);
  writer.put_bool("a.flag", true);
  writer.put_strings("a.words", {"one", "", "three"});
  writer.put_floats("a.floats", {1.0f, -2.0f});
  writer.add_tensor("first.weight", WeightType::kF32, {3, 2}, std::vector<uint8_t>(24, 1));
  writer.add_tensor("second.weight", WeightType::kQ8_0, {64}, std::vector<uint8_t>(68, 2));
  return writer;
}

TEST(Gguf, GivesMetadataByKeyAndTensorsByName) {
  for (const uint32_t version : {2u, 3u}) {
    GgufWriter writer = small_file();
    writer.version = version;
    const auto bytes = writer.bytes();
    const auto file = parse(bytes);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(*file->find_unsigned("a.count"), 7u);
    EXPECT_EQ(*file->find_number("a.number"), 0.5);
    EXPECT_EQ(*file->find_bool("a.flag"), true);
    EXPECT_EQ(**file->find_strings("a.words"), (std::vector<std::string>{"one", "", "three"}));
    EXPECT_EQ(**file->find_floats("a.floats"), (std::vector<float>{1.0f, -2.0f}));
    EXPECT_EQ(*file->find_unsigned("a.missing"), std::nullopt);
    const StoredTensor* tensor = file->find_tensor("second.weight");
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->bytes.size(), 68u);
    EXPECT_EQ(tensor->bytes[67], 2);
    EXPECT_EQ(tensor->offset % 32, 0u);
    EXPECT_EQ(file->find_tensor("third.weight"), nullptr);
  }
}

TEST(Gguf, AValueOfAnotherTypeNamesKeyOffsetAndType) {
  const auto bytes = small_file().bytes();
  const auto file = parse(bytes);
  ASSERT_TRUE(file);
  for (const Error& error :
       {file->find_unsigned("a.negative").error(), file->find_unsigned("a.number").error(),
        file->find_number("a.count").error(), file->find_bool("a.count").error(),
        file->find_string("a.words").error(), file->find_strings("a.floats").error(),
        file->find_floats("a.words").error(), file->find_integers("a.words").error()}) {
    EXPECT_EQ(error.code, Code::kBadModelFile);
    EXPECT_THAT(error.message,
                testing::ContainsRegex("m\\.gguf: metadata key \"a\\..*\" at offset [0-9]+: "));
  }
}

TEST(Gguf, EveryTruncationIsRefused) {
  const auto whole = small_file().bytes();
  ASSERT_TRUE(parse(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<uint8_t> part(whole.begin(),
                                    whole.begin() + static_cast<ptrdiff_t>(size));  // its own allocation
    const auto parsed = parse(part);
    ASSERT_FALSE(parsed) << "cut to " << size << " of " << whole.size();
    EXPECT_EQ(parsed.error().code, Code::kBadModelFile);
    EXPECT_THAT(parsed.error().message, HasSubstr("m.gguf: offset "));
  }
}

TEST(Gguf, WrongMagicVersionAndEndiannessAreTold) {
  auto bytes = small_file().bytes();
  overwrite<uint32_t>(bytes, 0, 0x46554746);
  expect_refused(bytes, Code::kBadModelFile, {"not a GGUF file"});
  for (const uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    bytes = small_file().bytes();
    overwrite(bytes, 4, version);
    expect_refused(bytes, Code::kNotSupported, {"GGUF version " + std::to_string(version)});
  }
  overwrite<uint32_t>(bytes, 4, 0x03000000);
  expect_refused(bytes, Code::kNotSupported, {"big-endian"});
}

TEST(Gguf, CountsBeyondTheFileAllocateNothing) {
  for (const uint64_t count : {uint64_t{1} << 60, ~uint64_t{0}, uint64_t{60'000}}) {
    auto bytes = small_file().bytes();
    overwrite(bytes, 8, count);
    expect_refused(bytes, Code::kBadModelFile, {std::to_string(count) + " tensors"});
    bytes = small_file().bytes();
    overwrite(bytes, 16, count);
    expect_refused(bytes, Code::kBadModelFile, {std::to_string(count) + " metadata entries"});
    bytes = small_file().bytes();
    overwrite(bytes, offset_of(bytes, "a.words") + 7 + 8, count);
    expect_refused(bytes, Code::kBadModelFile, {"a.words"});
    bytes = small_file().bytes();
    overwrite(bytes, offset_of(bytes, "a.floats") + 8 + 8, count);
    expect_refused(bytes, Code::kBadModelFile, {"a.floats"});
  }
}

TEST(Gguf, StringsBeyondTheFileAreRefused) {
  for (const uint64_t size : {uint64_t{1} << 60, ~uint64_t{0}, uint64_t{100'000}}) {
    auto bytes = small_file().bytes();
    overwrite(bytes, offset_of(bytes, "llama") - 8, size);
    expect_refused(bytes, Code::kBadModelFile, {"general.architecture", "reaches beyond"});
    bytes = small_file().bytes();
    overwrite(bytes, offset_of(bytes, "a.count") - 8, size);
    expect_refused(bytes, Code::kBadModelFile, {"a metadata key"});
    bytes = small_file().bytes();
    overwrite(bytes, offset_of(bytes, "second.weight") - 8, size);
    expect_refused(bytes, Code::kBadModelFile, {"a tensor's name"});
  }
}

TEST(Gguf, StringsThatGrowAfterParsingAreRefused) {
  for (const uint64_t size : {uint64_t{6}, uint64_t{1} << 40, UINT64_MAX}) {
    auto bytes = small_file().bytes();
    const auto parsed = parse(bytes);
    ASSERT_TRUE(parsed);
    overwrite(bytes, offset_of(bytes, "three") - sizeof size, size);
    const auto strings = parsed->find_strings("a.words");
    ASSERT_FALSE(strings) << size;
    EXPECT_EQ(strings.error().code, Code::kBadModelFile);
    EXPECT_THAT(strings.error().message, HasSubstr("changed while it was read"));
  }
}

TEST(Gguf, DuplicateKeysAndTensorsAreRefused) {
  GgufWriter keys = small_file();
  keys.put_u32("a.count", 8);
  expect_refused(keys.bytes(), Code::kBadModelFile, {"\"a.count\" is there twice"});
  GgufWriter tensors = small_file();
  tensors.add_tensor("first.weight", WeightType::kF32, {1}, {0, 0, 0, 0});
  expect_refused(tensors.bytes(), Code::kBadModelFile, {"\"first.weight\" is there twice"});
}

TEST(Gguf, OddMetadataTypesAreRefused) {
  GgufWriter unknown = small_file();
  unknown.put_raw("b.odd", 13, {0, 0, 0, 0});
  expect_refused(unknown.bytes(), Code::kBadModelFile, {"b.odd", "unknown type 13"});
  GgufWriter nested = small_file();
  nested.put_raw("b.nested", 9, {9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  expect_refused(nested.bytes(), Code::kBadModelFile, {"b.nested", "array of arrays"});
  GgufWriter elements = small_file();
  elements.begin_array("b.elements", 99, 0);
  expect_refused(elements.bytes(), Code::kBadModelFile, {"b.elements", "unknown type 99"});
  GgufWriter flag = small_file();
  flag.put_raw("b.flag", 7, {2});
  expect_refused(flag.bytes(), Code::kBadModelFile, {"b.flag", "bool of value 2"});
  GgufWriter empty = small_file();
  empty.put_u32("", 2);
  expect_refused(empty.bytes(), Code::kBadModelFile, {"key is empty"});
}

TEST(Gguf, AlignmentMustBeAPowerOfTwo) {
  for (const uint32_t alignment : {0u, 1u, 7u, 12u, 33u, 1u << 21, 0xffffffffu}) {
    GgufWriter writer = small_file();
    writer.put_u32("general.alignment", alignment);
    const auto parsed = parse(writer.bytes());
    ASSERT_FALSE(parsed) << alignment;
    EXPECT_THAT(parsed.error().message, HasSubstr("general.alignment"));
  }
  GgufWriter writer;
  writer.alignment = 64;
  writer.put_u32("general.alignment", 64);
  writer.add_tensor("first.weight", WeightType::kF32, {1}, {0, 0, 0, 0});
  writer.add_tensor("second.weight", WeightType::kF32, {1}, {0, 0, 0, 0});
  EXPECT_TRUE(parse(writer.bytes()));
}

TEST(Gguf, TensorPlacesAreChecked) {
  const auto refused = [](uint64_t offset, const std::string& word) {
    GgufWriter writer = small_file();
    writer.add_tensor_at("third.weight", 0, {8}, offset);
    expect_refused(writer.bytes(), Code::kBadModelFile, {"third.weight", word});
  };
  refused(4, "alignment");
  refused(0, "overlap");
  refused(32, "overlap");
  refused(96, "beyond the file's end");
  refused(uint64_t{1} << 60, "beyond the file's end");
  refused(~uint64_t{31}, "beyond the file's end");
}

TEST(Gguf, TensorShapesAreChecked) {
  const auto refused = [](const std::vector<uint64_t>& dimensions, uint32_t type, Code code,
                          const std::string& word) {
    GgufWriter writer = small_file();
    writer.add_tensor_at("third.weight", type, dimensions, 128);
    expect_refused(writer.bytes(), code, {"third.weight", word});
  };
  refused({}, 0, Code::kBadModelFile, "0 dimensions");
  refused({1, 1, 1, 1, 1}, 0, Code::kBadModelFile, "5 dimensions");
  refused({4, 0}, 0, Code::kBadModelFile, "dimension 1 is 0");
  refused({uint64_t{1} << 40, uint64_t{1} << 40}, 0, Code::kBadModelFile, "more than 64 bits");
  refused({uint64_t{1} << 62, 2}, 0, Code::kBadModelFile, "does not fit 64 bits");
  refused({33}, 8, Code::kBadModelFile, "whole blocks of 32 (Q8_0)");
  refused({128}, 12, Code::kBadModelFile, "whole blocks of 256 (Q4_K)");
  refused({256}, 16, Code::kNotSupported, "IQ2_XXS");
  refused({256}, 39, Code::kNotSupported, "MXFP4");
  refused({32}, 4, Code::kBadModelFile, "unknown type 4");
  refused({32}, 4'000'000'000, Code::kBadModelFile, "unknown type 4000000000");
}

TEST(Gguf, NamesOfHostileFilesAreShownPrintable) {
  GgufWriter writer = small_file();
  writer.put_raw(std::string("evil\x1b[31m\n\"") + std::string(300, 'x'), 99, {});
  const auto parsed = parse(writer.bytes());
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().message.find('\x1b'), std::string::npos);
  EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos);
  EXPECT_LT(parsed.error().message.size(), 200u);
}

}  // namespace
}  // namespace deepserve::runner
