#include "runner/model/huggingface/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/unit/model/safetensors_writer.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;
using testing::HasSubstr;

std::string refusal(const std::vector<uint8_t>& file, Code code = Code::kBadModelFile) {
  const auto tensors = parse_safetensors(file, "m.safetensors");
  if (tensors) return "accepted";
  EXPECT_EQ(tensors.error().code, code) << tensors.error().message;
  EXPECT_THAT(tensors.error().message, HasSubstr("m.safetensors: "));
  return tensors.error().message;
}

// A file of one entry with that text, and 8 bytes of data.
std::vector<uint8_t> file_of_entry(std::string_view entry) {
  return safetensors_file(fmt::format(R"({{"a.weight":{}}})", entry), std::vector<uint8_t>(8));
}

TEST(Safetensors, TensorsAreFoundWithTheirBytes) {
  std::vector<NamedTensor> tensors = {
      {"b", WeightType::kF32, {2, 3}, std::vector<uint8_t>(24, 7)},
      {"a", WeightType::kBF16, {5}, std::vector<uint8_t>(10, 8)},
      {"scalar", WeightType::kF16, {}, std::vector<uint8_t>(2, 9)},
  };
  for (const size_t padding : {0, 1, 2, 3}) {
    const auto file = safetensors_file(tensors, padding);
    const auto parsed = parse_safetensors(file, "m.safetensors");
    ASSERT_TRUE(parsed) << parsed.error().message;
    ASSERT_EQ(parsed->size(), 3u);
    const StoredTensor& first = (*parsed)[0];
    EXPECT_EQ(first.name, "b");
    EXPECT_EQ(first.type, WeightType::kF32);
    EXPECT_EQ(first.dimensions, (std::array<uint64_t, 4>{3, 2, 1, 1}));
    EXPECT_EQ(shape_text(first), "3x2");
    EXPECT_EQ(first.elements, 6u);
    EXPECT_EQ(first.bytes.data(), file.data() + first.offset);
    EXPECT_TRUE(std::ranges::equal(first.bytes, tensors[0].bytes));
    EXPECT_EQ((*parsed)[1].name, "a");
    EXPECT_TRUE(std::ranges::equal((*parsed)[1].bytes, tensors[1].bytes));
    EXPECT_EQ((*parsed)[2].dimension_count, 0u);
    EXPECT_EQ((*parsed)[2].elements, 1u);
  }
}

TEST(Safetensors, TheHeadersLengthIsChecked) {
  EXPECT_THAT(refusal({}), HasSubstr("offset 0: the file ends inside"));
  EXPECT_THAT(refusal({1, 2, 3}), HasSubstr("offset 0: the file ends inside"));
  EXPECT_THAT(refusal(std::vector<uint8_t>(8, 0)), HasSubstr("offset 8"));
  EXPECT_THAT(refusal(std::vector<uint8_t>(64, 0xff)), HasSubstr("at most 100000000"));
  EXPECT_THAT(refusal({16, 0, 0, 0, 0, 0, 0, 0, '{', '}'}), HasSubstr("16 bytes reaches beyond"));
  EXPECT_THAT(refusal(safetensors_file(" {}", {})), HasSubstr("does not begin with '{'"));
  EXPECT_EQ(refusal(safetensors_file("{}", {})), "accepted");
}

TEST(Safetensors, AHeaderThatIsNoHeaderIsRefused) {
  EXPECT_THAT(refusal(safetensors_file("{\"a\":", {})), HasSubstr("header: offset 5"));
  EXPECT_THAT(refusal(safetensors_file("{\"a\":[]}", {})),
              HasSubstr("tensor \"a\": an array where an object"));
  EXPECT_THAT(refusal(safetensors_file("{\"__metadata__\":7}", {})), HasSubstr("__metadata__"));
  EXPECT_THAT(refusal(safetensors_file(R"({"":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                                       std::vector<uint8_t>(4))),
              HasSubstr("name is empty"));
}

TEST(Safetensors, HeaderBombsAreRefused) {
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "{\"a\":";
  EXPECT_THAT(refusal(safetensors_file(deep, {})), HasSubstr("(at most 4)"));
  std::string wide = "{\"__metadata__\":{\"a\":[0";
  while (wide.size() < 90'000'000) wide += ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0";
  EXPECT_THAT(refusal(safetensors_file(wide + "]}}", {})), HasSubstr("bytes of memory"));
  std::string many = "{";
  for (int i = 0; i <= 65'536; ++i) many += fmt::format("{}\"{}\":0", i == 0 ? "" : ",", i);
  EXPECT_THAT(refusal(safetensors_file(many + "}", {})), HasSubstr("65537 tensors"));
}

TEST(Safetensors, ATensorThatIsThereTwiceIsRefused) {
  const NamedTensor tensor{"a.weight", WeightType::kF32, {1}, std::vector<uint8_t>(4)};
  EXPECT_THAT(refusal(safetensors_file(std::vector{tensor, tensor})),
              HasSubstr("\"a.weight\" is there twice"));
}

TEST(Safetensors, MissingFieldsAreNamed) {
  EXPECT_THAT(refusal(file_of_entry(R"({"shape":[2],"data_offsets":[0,8]})")),
              HasSubstr("tensor \"a.weight\": dtype: it is missing"));
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F32","data_offsets":[0,8]})")),
              HasSubstr("shape: it is missing"));
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F32","shape":[2]})")),
              HasSubstr("data_offsets: it is missing"));
}

TEST(Safetensors, DtypesThatAreNotSupportedAreNamed) {
  EXPECT_THAT(
      refusal(file_of_entry(R"({"dtype":"F8_E5M2","shape":[8],"data_offsets":[0,8]})"), Code::kNotSupported),
      HasSubstr("tensor \"a.weight\": dtype F8_E5M2 is not supported"));
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"Q9","shape":[8],"data_offsets":[0,8]})")),
              HasSubstr("dtype: unknown: \"Q9\""));
}

TEST(Safetensors, ADtypeOrShapeThatLiesIsRefused) {
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F16","shape":[2],"data_offsets":[0,8]})")),
              HasSubstr("[0, 8] is 8 bytes, its shape 2 in F16 takes 4"));
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})")),
              HasSubstr("takes 12"));
  EXPECT_THAT(
      refusal(file_of_entry(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]})")),
      HasSubstr("more than 64 bits"));
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]})")),
              HasSubstr("data_offsets"));
  for (const char* shape : {"[-2]", "[0]", "[2.0]", "[\"2\"]", "7", "[18446744073709551615]", "[[2]]"}) {
    EXPECT_THAT(
        refusal(file_of_entry(fmt::format(R"({{"dtype":"F32","shape":{},"data_offsets":[0,8]}})", shape))),
        HasSubstr("shape: "))
        << shape;
  }
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[0,8]})")),
              HasSubstr("5 dimensions"));
}

TEST(Safetensors, OffsetsOutsideOfTheFileAreRefused) {
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[4,12]})")),
              HasSubstr("[4, 12] reaches beyond the file's end (8 bytes of data)"));
  for (const char* offsets :
       {"[8,0]", "[-8,0]", "[0]", "[0,4,8]", "[0,8.0]", "null", "{}", "[0,18446744073709551615]"}) {
    EXPECT_THAT(
        refusal(file_of_entry(fmt::format(R"({{"dtype":"F32","shape":[2],"data_offsets":{}}})", offsets))),
        HasSubstr("data_offsets: "))
        << offsets;
  }
}

TEST(Safetensors, OverlapsAndHolesAreRefusedWithTheirOffset) {
  const auto two = [](const char* a, const char* b) {
    return safetensors_file(fmt::format(R"({{"a":{{"dtype":"F32","shape":[2],"data_offsets":{}}},
                                            "b":{{"dtype":"F32","shape":[2],"data_offsets":{}}}}})",
                                        a, b),
                            std::vector<uint8_t>(16));
  };
  EXPECT_EQ(refusal(two("[8,16]", "[0,8]")), "accepted");
  EXPECT_THAT(refusal(two("[0,8]", "[4,12]")), HasSubstr("tensors \"a\" and \"b\" overlap"));
  EXPECT_THAT(refusal(two("[0,8]", "[0,8]")), HasSubstr("overlap"));
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})")),
              HasSubstr("4 bytes before tensor \"a.weight\" belong to no tensor"));
  EXPECT_THAT(refusal(file_of_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})")),
              HasSubstr("4 bytes at the file's end belong to no tensor"));
}

TEST(Safetensors, RandomDamageNeverCrashes) {
  const uint32_t seed = 11;
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  const auto whole = safetensors_file(
      std::vector<NamedTensor>{{"model.a", WeightType::kF32, {2, 3}, std::vector<uint8_t>(24, 7)},
                               {"model.b", WeightType::kBF16, {5}, std::vector<uint8_t>(10, 8)}});
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = whole;
    for (int damage = 0; damage < 1 + round % 3; ++damage) {
      const size_t at = random() % bytes.size();
      if (random() % 4 == 0)
        bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at));
      else
        bytes[at] = random() % 2 == 0 ? static_cast<uint8_t>(random()) : "0123456789[]{},:\""[random() % 17];
    }
    if (!parse_safetensors(bytes, "m")) ++refused;
  }
  EXPECT_GT(refused, 10'000);
}

}  // namespace
}  // namespace deepserve::runner
